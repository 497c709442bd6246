"""``hologram-bridge doctor``: what it finds of a bridge that is well, and of what can go wrong with it."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.doctor import box, broker, checks, configuration, modem, store
from bridge.doctor import cloud as cloud_check
from bridge.doctor.context import Context
from bridge.doctor.finding import Finding
from bridge.doctor.fixes import stop
from bridge.errors import WHO_MAY
from bridge.settings import load
from bridge.sim.modem.net import CLOUD_ADDRESS
from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually, free_port
from tests.harness.bridge import PROGRAM
from tests.harness.modem import SimModem
from tests.harness.process import ROOT

NAMES = {
    "configuration", "permissions", "credentials", "bridge", "broker", "session", "cloud", "modem",
    "serial port", "pppd", "ModemManager", "clock", "disk", "write speed", "outbox", "inbound port",
    "allow list", "budget", "memory",
}  # fmt: skip


class Report:
    """What the command said as JSON, and how it ended."""

    def __init__(self, bridge: BridgeProcess) -> None:
        done = bridge.run("doctor", "--json")
        self.code, self.aside = done.returncode, done.stderr
        said = json.loads(done.stdout)
        self.findings: dict[str, dict[str, Any]] = {each["name"]: each for each in said["findings"]}
        self.failed = {name for name, each in self.findings.items() if each["state"] == "fail"}
        assert said["fail"] == len(self.failed)
        assert self.code in (1 if self.failed else 0, 78)
        for each in self.findings.values():
            assert set(each) == {"name", "state", "finding", "fix"}
            assert each["fix"] or each["state"] in ("ok", "skipped"), each

    def __getitem__(self, name: str) -> tuple[str, str]:
        """Return state and finding."""
        return self.findings[name]["state"], self.findings[name]["finding"]


def context(bridge: BridgeProcess, **folders: Path) -> Context:
    """Return what the checks look at, with folders that stand for the machine's."""
    bridge.write_config()
    return Context(load(bridge.config, {}), **folders)


def listening(port: int) -> socket.socket:
    """Hold a TCP port."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", port))
    sock.listen()
    return sock


# -- a bridge that is well -------------------------------------------------------------------------------


def test_a_bridge_that_runs_is_looked_at_and_not_disturbed(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """All is found well; the cloud gets no message, and the bridge has nothing to say of it."""
    cloud.start()
    port = free_port()
    bridge.configure(inbound={"enabled": True, "host": "127.0.0.1", "port": port})
    bridge.start()
    eventually(lambda: bridge.queue("stats")["inbound"]["listening"] == ["tcp", "udp"], what="it listens")
    said = bridge.said()
    found = Report(bridge)
    assert set(found.findings) - {"power"} == NAMES
    # Whether this machine's own mosquitto is set well is none of this test's business.
    assert found.failed <= {"session"}
    for name in ("configuration", "permissions", "credentials", "bridge", "broker", "cloud", "outbox"):
        assert found[name][0] == "ok", found[name]
    assert re.fullmatch(rf"runs \(process {bridge.pid}\) for \d+ s, state ok", found["bridge"][1])
    assert "kept" in found["session"][1]
    assert found["outbox"][1] == "0 messages, 0 bytes"
    assert found["inbound port"][1] == f"the bridge listens on 127.0.0.1:{port} (tcp, udp)"
    assert found["modem"][0] == "skipped"
    assert f"one TCP handshake with 127.0.0.1:{cloud.port}" in found.aside
    assert "abcd1234" not in json.dumps(found.findings)
    assert list(cloud.arrived) == []
    assert bridge.said() == said
    client.publish("hologram/out/a", "x", user={"id": "after"})
    assert client.wait_result("after")["state"] == "delivered"


def test_a_person_reads_aligned_lines(bridge: BridgeProcess) -> None:
    """State, name and finding stand in columns; a fix stands below; no colours where no terminal is.

    The last line shows this bridge live, by its own configuration.
    """
    done = bridge.run("doctor")
    assert done.returncode == 1  # the cloud is down
    assert "\033" not in done.stdout
    *lines, last = done.stdout.splitlines()
    assert last == f"to see it live: sudo hologram-bridge watch -c {bridge.config}"
    shape = re.compile(
        r"(ok     |warn   |fail   |skipped) .{14} \S|        one TCP handshake|\s{23}(-> )?\S|\s{26}\S"
    )
    assert [line for line in lines if not shape.match(line)] == []
    (at,) = [number for number, line in enumerate(lines) if line.startswith("fail    cloud")]
    assert lines[at - 1].strip().startswith("one TCP handshake")
    assert lines[at + 1].strip().startswith("-> ")


def test_a_bridge_that_does_not_run_is_read_from_its_file(bridge: BridgeProcess, client: Client) -> None:
    """What waits is found, the file is whole, and stays byte for byte what it was."""
    bridge.start()
    for number in range(3):
        client.publish("hologram/out/a", b"12345", user={"id": str(number)})
    client.wait_for(lambda: len(client.events("message.queued")) == 3)
    bridge.stop()
    before = bridge.store.read_bytes()
    found = Report(bridge)
    assert found["bridge"][0] == "warn"
    assert found["outbox"][0] == "ok"
    assert re.fullmatch(r"3 messages, 15 bytes, the oldest for \d+ s; intact", found["outbox"][1])
    assert bridge.store.read_bytes() == before
    bridge.start()  # nothing holds it


# -- the configuration -----------------------------------------------------------------------------------


def test_a_bad_configuration_is_a_finding_for_each_mistake(bridge: BridgeProcess) -> None:
    """Each mistake is named, nothing else is looked at, and the exit code says so; so for a missing file."""
    bridge.configure(cloud={"port": "many"}, mqtt={"keepalive": 0})
    for options in ((), ("--json",)):
        done = bridge.run("doctor", *options)
        assert done.returncode == 78
        assert "cloud.port" in done.stdout
        assert "mqtt.keepalive" in done.stdout
        assert "Traceback" not in done.stderr
    assert {each["name"] for each in json.loads(done.stdout)["findings"]} == {"configuration"}
    missing = [sys.executable, "-m", "bridge", "doctor", "-c", "/nonexistent/bridge.hjson"]
    done = subprocess.run(missing, capture_output=True, text=True, check=False)
    assert (done.returncode, "there is no such file" in done.stdout) == (78, True)


@pytest.mark.parametrize(
    ("mode", "state"), [(0o600, "ok"), (0o640, "ok"), (0o644, "warn"), (0o660, "fail"), (0o666, "fail")]
)
def test_who_may_read_the_credentials(bridge: BridgeProcess, mode: int, state: str) -> None:
    """Others than root and the bridge may not read the file, and only its owner may write it."""
    bridge.write_config()
    bridge.config.chmod(mode)
    found = configuration.permissions(Context(load(bridge.config, {})))
    assert found.state == state
    assert f"{mode:04o}" in found.finding


@pytest.mark.root
def test_the_installed_configuration_is_roots_and_the_service_may_read_it(
    bridge: BridgeProcess, tmp_path: Path
) -> None:
    """The unit that dials as root acts on nobody else's file; a private file elsewhere is its owner's."""
    bridge.write_config()
    installed = tmp_path / "etc" / "hologram-bridge" / "bridge.hjson"
    installed.parent.mkdir(parents=True)
    installed.write_text(bridge.config.read_text())
    for path, state in ((bridge.config, "ok"), (installed, "fail")):
        path.chmod(0o640)
        os.chown(path, 12345, 12345)
        found = configuration.permissions(Context(load(path, {}), etc=tmp_path / "etc"))
        assert found.state == state
    assert "root does not own it" in found.finding
    assert found.fix == f"sudo chown root:hologram {installed} && sudo chmod 640 {installed}"


def test_what_the_service_takes_from_its_environment_is_told(
    bridge: BridgeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command lacks what systemd gives the service: how to look with it is said, and no value is."""
    whole = context(bridge, etc=tmp_path)
    assert configuration.environment(whole) is None
    (tmp_path / "default").mkdir()
    file = tmp_path / "default" / "hologram-bridge"
    file.write_text("# words=1\nHOLOGRAM_BRIDGE__MQTT__PASSWORD=secret-word\nTZ=UTC\n")
    file.chmod(0o644)
    found = configuration.environment(whole)
    assert found
    assert (found.state, found.fix) == ("warn", f"sudo chmod 600 {file}")
    file.chmod(0o600)
    found = configuration.environment(whole)
    assert found
    assert found.state == "warn"
    assert "gets HOLOGRAM_BRIDGE__MQTT__PASSWORD from" in found.finding
    assert "secret-word" not in found.finding
    assert f"-p EnvironmentFile={file} hologram-bridge doctor" in str(found.fix)
    (broken,) = checks.unreadable("credentials: no device key is given", tmp_path)
    assert str(found.fix) in str(broken.fix)
    monkeypatch.setenv("HOLOGRAM_BRIDGE__MQTT__PASSWORD", "secret-word")
    found = configuration.environment(whole)
    assert found
    assert found.state == "ok"


@pytest.mark.parametrize(
    ("allow", "state", "part"),
    [
        (["10.176.0.0/16", "10.254.0.0/16", "127.0.0.0/8"], "ok", "none of them a local"),
        (["127.0.0.0/8"], "warn", "10.176.0.0/16, 10.254.0.0/16"),
        (["10.0.0.0/8"], None, "10."),
    ],
)
def test_the_allow_list_lets_the_cloud_in(
    bridge: BridgeProcess, allow: list[str], state: str | None, part: str
) -> None:
    """Without the carrier's networks nothing the cloud sends would be taken."""
    bridge.configure(inbound={"enabled": True, "allow": allow})
    found = configuration.allow_list(context(bridge))
    if state:
        assert (found.state, part in found.finding) == (state, True)
    assert "are refused" not in found.finding or state == "warn"


def test_an_open_allow_list_is_told_with_the_networks_that_it_opens(bridge: BridgeProcess) -> None:
    """Each local network from which messages may come in then is named with its interface."""
    bridge.configure(inbound={"enabled": True, "allow": ["0.0.0.0/0"]})
    found = configuration.allow_list(context(bridge))
    local = [(name, network) for name, network in configuration.local_networks() if not network.is_loopback]
    assert found.state == ("warn" if local else "ok")
    assert all(f"{network} on {name}" in found.finding for name, network in local)


KEEPS = "persistence true\n"
SHIPPED = ROOT / "config/mosquitto/hologram-bridge.conf"


@pytest.mark.parametrize(
    ("interface", "bounds", "state"),
    [("", {}, "ok"), ("cellular", {}, "warn"), ("cellular", {"day": "1MB"}, "warn"),
     ("cellular", {"sms_month": 80}, "ok"), ("", {"sms_day": 5}, "ok")],
)  # fmt: skip
def test_a_sim_without_a_bound_of_sms_is_told(
    bridge: BridgeProcess, interface: str, bounds: dict[str, Any], state: str
) -> None:
    """Hologram pauses it at its own limit, data included."""
    bridge.configure(network={"interface": interface}, budget=bounds)
    found = configuration.budget(context(bridge))
    assert found.state == state
    assert ("pauses a SIM" in found.finding) == ("sms" not in str(bounds))


# -- the broker ------------------------------------------------------------------------------------------


def test_a_broker_that_is_not_there(bridge: BridgeProcess, mosquitto: Mosquitto) -> None:
    """It is said with its address, and how to start it."""
    mosquitto.stop()
    found = Report(bridge)
    assert found["broker"] == ("fail", f"no broker at 127.0.0.1:{mosquitto.port}: Connection refused")
    assert "systemctl start mosquitto" in found.findings["broker"]["fix"]
    assert found["session"][0] == "skipped"


def test_a_broker_that_refuses_the_password(keeper: Keeper, tmp_path: Path, cloud: Cloud) -> None:
    """The keys to check are named, and the password is not."""
    guarded = Mosquitto(keeper, tmp_path / "guarded", users={"box": "right-word"})
    guarded.start()
    bridge = BridgeProcess(keeper, tmp_path / "bridge", guarded, cloud.port)
    bridge.configure(mqtt={"username": "box", "password": "wrong-word"})
    found = Report(bridge)
    assert found["broker"][0] == "fail"
    assert "mqtt.password" in found.findings["broker"]["fix"]
    assert "wrong-word" not in json.dumps(found.findings) + found.aside
    bridge.configure(mqtt={"password": "right-word"})
    assert Report(bridge)["broker"][0] == "ok"


@pytest.mark.parametrize(
    ("protocol", "text", "state", "part"),
    [
        (5, f"{KEEPS}max_queued_messages 0\nautosave_on_changes true\n", "ok", "saved after every change"),
        ("3.1.1", f"{KEEPS}max_queued_messages 0\n", "warn", "every 1800 s"),
        (5, f"{KEEPS}autosave_on_changes true\n", "warn", "messages beyond 1000"),
        (5, KEEPS + SHIPPED.read_text(), "ok", "saved after every change"),
        (5, "# persistence true\n", "fail", "lost at a restart"),
        ("3.1.1", None, "ok", "cannot be read"),
    ],
)
def test_what_the_broker_keeps(
    bridge: BridgeProcess, tmp_path: Path, protocol: object, text: str | None, state: str, part: str
) -> None:
    """A session survives a reconnection; its configuration says what survives a restart and a power cut."""
    bridge.configure(mqtt={"protocol": protocol})
    folder = tmp_path / "etc" / "mosquitto"
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "conf.d").mkdir()
        (folder / "mosquitto.conf").write_text(f"include_dir {folder}/conf.d\n")
        (folder / "conf.d" / "ours.conf").write_text(text)
    first, session = broker.broker(context(bridge, etc=tmp_path / "etc"))
    assert first.state == "ok"
    assert (session.name, session.state) == ("session", state)
    assert part in session.finding
    restart = "sudo systemctl restart mosquitto"
    if session.state == "fail":
        assert session.fix == f"set persistence true in {folder}/mosquitto.conf, then: {restart}"
    elif session.state == "warn":
        assert session.fix == f"sudo cp {SHIPPED} {folder}/conf.d/ && {restart}"


@pytest.mark.parametrize(
    ("line", "username", "part"),
    [
        ("per_listener_settings true", "bridge", "while the bridge is away"),
        ("per_listener_settings false", "bridge", None),
        ("acl_file /etc/mosquitto/acl", None, "over a restart"),
        ("acl_file /etc/mosquitto/acl", "bridge", None),
    ],
)
def test_a_broker_that_drops_what_comes_for_an_absent_client(
    bridge: BridgeProcess, tmp_path: Path, line: str, username: str | None, part: str | None
) -> None:
    """Two of Mosquitto's settings do that, though the session itself is kept."""
    bridge.configure(mqtt={"username": username, "password": username and "word"})
    folder = tmp_path / "etc" / "mosquitto"
    folder.mkdir(parents=True)
    (folder / "mosquitto.conf").write_text(f"{line}\n{KEEPS}{SHIPPED.read_text()}")
    session = list(broker.broker(context(bridge, etc=tmp_path / "etc")))[1]
    assert session.state == ("warn" if part else "ok")
    assert (part or "saved after every change") in session.finding


def test_a_broker_with_rules_of_its_own_keeps_them(bridge: BridgeProcess, tmp_path: Path) -> None:
    """Where our file is in place, with a person's rules in it, the doctor never copies another over it."""
    folder = tmp_path / "etc" / "mosquitto"
    (folder / "conf.d").mkdir(parents=True)
    (folder / "mosquitto.conf").write_text(f"persistence true\ninclude_dir {folder}/conf.d\n")
    ours = folder / "conf.d" / SHIPPED.name
    ours.write_text(SHIPPED.read_text().replace("autosave_on_changes true", "autosave_on_changes false"))
    session = list(broker.broker(context(bridge, etc=tmp_path / "etc")))[1]
    assert session.state == "warn"
    wanted = "autosave_on_changes true and autosave_interval 1"
    assert session.fix == f"set {wanted} in {ours}, then: sudo systemctl restart mosquitto"


class Forgetful:
    """A broker that takes everybody and keeps nothing: MQTT 5.0, section 3.2, by hand."""

    def __init__(self, expiry: int | None) -> None:
        properties = b"" if expiry is None else b"\x11" + expiry.to_bytes(4, "big")
        body = b"\x00\x00" + bytes([len(properties)]) + properties
        self._connack = b"\x20" + bytes([len(body)]) + body
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """Ends when the socket is closed."""
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(self._connack)
                connection.settimeout(5)
                connection.recv(4096)

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join(10)


@pytest.mark.parametrize(("expiry", "part"), [(None, "had forgotten the session"), (0, "for 0 s only")])
def test_a_broker_that_keeps_no_session(bridge: BridgeProcess, expiry: int | None, part: str) -> None:
    """Whether it says so or just forgets: what is published while the bridge is away would be lost."""
    forgetful = Forgetful(expiry)
    bridge.configure(mqtt={"port": forgetful.port})
    first, session = broker.broker(context(bridge))
    forgetful.close()
    assert (first.state, session.state) == ("ok", "fail")
    assert part in session.finding


def test_a_broker_that_names_its_clients_itself(keeper: Keeper, tmp_path: Path, cloud: Cloud) -> None:
    """The bridge's two sessions would be one, and the check's would be it too: that one is not ended."""
    lines = ("use_username_as_clientid true",)
    renaming = Mosquitto(keeper, tmp_path / "renaming", users={"box": "word"}, lines=lines)
    renaming.start()
    bridge = BridgeProcess(keeper, tmp_path / "bridge", renaming, cloud.port)
    bridge.configure(mqtt={"username": "box", "password": "word"})
    bridge.start(wait=False)
    eventually(lambda: "connected to the broker" in bridge.said(), what="it is taken")
    bridge.kill()
    for _ in range(2):  # had the first removed the session, the second would find none
        found = Report(bridge)
        assert found["broker"][0] == "fail"
        assert "use_username_as_clientid" in found.findings["broker"]["fix"]
        assert found["session"][0] == "skipped"


# -- the daemon, its outbox and its port -----------------------------------------------------------------


def test_a_daemon_that_hangs_is_found_out(bridge: BridgeProcess) -> None:
    """It holds everything and answers nothing: the doctor does not wait for it for long."""
    bridge.start()
    os.kill(bridge.pid, signal.SIGSTOP)
    try:
        found = Report(bridge)
    finally:
        os.kill(bridge.pid, signal.SIGCONT)
    assert found["bridge"] == ("fail", f"process {bridge.pid} does not answer")
    assert found["outbox"][0] == "skipped"


def test_held_credentials_and_a_dead_cloud_are_told(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """What the bridge learned of its destinations is in the outbox's finding."""
    cloud.start("--devicekey", "other123")
    bridge.start()
    client.publish("hologram/out/a", "x")
    client.wait_for(lambda: client.events("cloud.auth_failed"))
    found = Report(bridge)
    assert found["outbox"][0] == "fail"
    assert "the cloud: held" in found["outbox"][1]
    assert found["bridge"][0] == "warn"
    assert "auth_failed" in found["bridge"][1]
    assert found["cloud"][0] == "ok"


def test_the_cloud_is_the_bridges_alone_to_reach_without_ppp(
    keeper: Keeper, tmp_path: Path, bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """The machine knows no way there and is well: idle on demand, then with the modem's sockets as the link.

    The simulated modem alone knows where the cloud is. A link that cannot be had is a failure.
    """
    cloud.start()
    sim = SimModem(keeper, tmp_path / "modem")
    sim.start("--registration", "0.3", "--boot", "0.3", "--cloud", f"127.0.0.1:{cloud.port}")
    modem = {"interface": "cellular-nova-u201", "device": [str(sim.at), str(sim.dial)]}
    bridge.configure(
        cloud={"host": CLOUD_ADDRESS, "port": 9999}, network={**modem, "autoconnect": "on_demand"}
    )
    bridge.start()
    status = "hologram/network/status"
    client.wait_for(lambda: client.state(status).get("registration") == "roaming", 20)
    found = Report(bridge)
    idle = "the link is disconnected; the bridge reports of the cloud: nothing sent yet"
    assert found["cloud"] == ("skipped", idle)
    assert "TCP handshake" not in found.aside
    client.publish("hologram/out/a", "x", user={"id": "a"})
    assert client.wait_result("a", 60)["state"] == "delivered"
    carried = "the modem's own sockets carry the messages; the bridge reports of the cloud: up"
    assert cloud_check.cloud(context(bridge)) == ("cloud", "skipped", carried, None)
    sim.tell("sim", state="absent")
    client.wait_for(lambda: client.state(status).get("state") == "error", 20)
    found = Report(bridge)
    assert found["cloud"][0] == "fail"
    assert re.match("there is no link: .*SIM", found["cloud"][1])
    # Where messages take the machine's own network, whatever the link does, that is looked at.
    bridge.configure(network={"scope": "hologram"}, cloud={"host": "127.0.0.1", "port": cloud.port})
    assert cloud_check.cloud(context(bridge)).state == "ok"
    # Where they take the modem alone, that network says nothing.
    bridge.configure(network={"scope": "bridge"})
    assert cloud_check.cloud(context(bridge)).state == "fail"
    bridge.stop()
    assert cloud_check.cloud(context(bridge)).state == "skipped"


def test_an_outbox_of_a_newer_version_is_not_called_damaged(bridge: BridgeProcess) -> None:
    """After a downgrade the bridge does not start: what helps is the newer one. The file is left alone."""
    bridge.start()
    bridge.stop()
    with closing(sqlite3.connect(bridge.store)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = bridge.store.read_bytes()
    found = store.outbox(context(bridge))
    assert found.state == "fail"
    assert "newer version" in found.finding
    assert "install that version again" in str(found.fix)
    assert bridge.store.read_bytes() == before


def test_a_damaged_outbox_is_told_and_left_as_it_is(bridge: BridgeProcess, client: Client) -> None:
    """It is for the bridge to mend; the doctor changes nothing."""
    bridge.start()
    for number in range(50):
        client.publish("hologram/out/a", b"x" * 2000, user={"id": str(number)}, wait=False)
    client.wait_for(lambda: len(client.events("message.queued")) == 50)
    bridge.stop()
    content = bytearray(bridge.store.read_bytes())
    for page in range(6, len(content) // 4096):
        content[page * 4096 : page * 4096 + 2048] = b"\xaa" * 2048
    bridge.store.write_bytes(content)
    found = store.outbox(context(bridge))
    assert found.state == "fail"
    assert "damaged" in found.finding or "malformed" in found.finding
    assert bridge.store.read_bytes() == content


def test_what_is_no_file_keeps_nobody_waiting(bridge: BridgeProcess) -> None:
    """A named pipe in the place of the outbox, or of the configuration, is named by all who would open it."""
    bridge.store.parent.mkdir(parents=True)
    os.mkfifo(bridge.store)
    for command in (["doctor"], ["run"], ["queue", "list"]):
        done = bridge.run(*command, timeout=120)
        assert done.returncode == 1
        assert "is a named pipe" in " ".join((done.stdout + done.stderr).split())
        assert "Traceback" not in done.stderr
    pipe = bridge.folder / "pipe.hjson"
    os.mkfifo(pipe)
    command = [*PROGRAM, "check-config", "-c", str(pipe)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 78
    assert "it is a named pipe, not a file" in done.stderr


@pytest.mark.root
def test_root_does_not_follow_what_the_bridges_user_has_put_there(bridge: BridgeProcess) -> None:
    """In the folder of the outbox its owner acts: no link of his makes root open or make a file elsewhere."""
    elsewhere = bridge.store.parent.parent / "roots"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "file").write_text("root's")
    folder = bridge.store.parent
    folder.mkdir(parents=True, exist_ok=True)
    bridge.store.symlink_to(elsewhere / "file")
    bridge.store.with_name(f"{bridge.store.name}.lock").symlink_to(elsewhere / "made")
    os.chown(folder, 12345, 12345)
    found = store.outbox(context(bridge))
    assert [each.name for each in elsewhere.iterdir()] == ["file"]
    assert found.state == "fail"
    assert "Permission denied" in found.finding


def test_a_port_that_another_program_has(bridge: BridgeProcess) -> None:
    """The inbound port is taken: the program that has it is named."""
    port = free_port()
    bridge.configure(inbound={"enabled": True, "host": "127.0.0.1", "port": port})
    assert store.inbound(context(bridge)).state == "ok"
    with listening(port):
        found = store.inbound(context(bridge))
    assert found.state == "fail"
    assert f"127.0.0.1:{port} cannot be used: Address already in use (tcp)" in found.finding
    assert f"(process {os.getpid()}) holds it" in str(found.fix)


# -- the modem -------------------------------------------------------------------------------------------


def modem_findings(context: Context) -> dict[str, Finding]:
    return {each.name: each for each in modem.modem(context)}


@contextmanager
def holding(path: Path) -> Iterator[int]:
    """Have another process hold a port; gives its id."""
    script = (
        "import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.stdin.close()
            process.wait(10)


def test_who_holds_the_modems_port(keeper: Keeper, tmp_path: Path, bridge: BridgeProcess) -> None:
    """Nobody; another program, which is named; the bridge, which is as it should be."""
    sim = SimModem(keeper, tmp_path / "modem")
    sim.start("--registration", "0.3", "--boot", "0.3")
    device = [str(sim.at), str(sim.dial)]
    bridge.configure(network={"interface": "cellular-nova-u201", "device": device})
    found = modem_findings(context(bridge))
    assert found["modem"].state == "ok"
    # The simulated modem itself holds the other end of its ports, under no name of theirs.
    assert "held by nobody" in found["serial port"].finding
    with holding(sim.at) as pid:
        taken = modem_findings(context(bridge))["serial port"]
    assert taken.state == "fail"
    assert f"(process {pid})" in taken.finding
    assert taken.fix == stop(pid, Path("/proc"))
    bridge.start()
    eventually(lambda: "the modem is at" in bridge.said(), what="the bridge has it")
    held = modem_findings(context(bridge))
    assert held["serial port"].state == "ok"
    assert held["serial port"].finding.endswith("held by the bridge")
    assert "the bridge reports: " in held["modem"].finding


def test_a_modem_that_is_not_there(bridge: BridgeProcess, tmp_path: Path) -> None:
    """The USB ids that were looked for, or the devices that were given, are named."""
    bridge.configure(network={"interface": "cellular-nova-r410", "device": "/dev/serial/by-id/none"})
    found = modem_findings(context(bridge))
    assert found["modem"][1:3] == ("fail", "/dev/serial/by-id/none is not there")
    assert found["serial port"].state == "skipped"
    bridge.configure(network={"interface": "cellular-nova-r410", "device": None})
    (tmp_path / "proc" / "4711").mkdir(parents=True)
    (tmp_path / "proc" / "4711" / "comm").write_text("ModemManager\n")
    found = modem_findings(context(bridge, sys=tmp_path, proc=tmp_path / "proc"))
    assert "05c6:90b2" in found["modem"].finding
    assert found["ModemManager"][1:] == ("skipped", "it runs; there is no modem to check", None)


@pytest.mark.parametrize(
    ("noted", "kept_away"),
    [("E:ID_MM_DEVICE_IGNORE=1\n", True), ("E:ID_MM_PORT_IGNORE=1\n", True), ("", False)],
)
def test_modem_manager_has_to_leave_the_port_alone(
    bridge: BridgeProcess, tmp_path: Path, noted: str, kept_away: bool
) -> None:
    """It runs: what udev has noted of the port tells whether it keeps its hands off."""
    process = tmp_path / "proc" / "4711"
    process.mkdir(parents=True)
    (process / "comm").write_text("ModemManager\n")
    number = Path("/dev/null").stat().st_rdev
    notes = tmp_path / "run" / "udev" / "data" / f"c{os.major(number)}:{os.minor(number)}"
    notes.parent.mkdir(parents=True)
    notes.write_text("E:ID_BUS=usb\n" + noted)
    (process / "fd").mkdir()
    (process / "fd" / "7").symlink_to("/dev/null")  # it had taken the modem before it was told not to
    bridge.configure(network={"interface": "cellular-nova-u201", "device": "/dev/null"})
    found = modem_findings(context(bridge, proc=tmp_path / "proc", run=tmp_path / "run"))
    assert found["ModemManager"].state == ("ok" if kept_away else "warn")
    assert found["serial port"].state == "fail"
    ends = "restart ModemManager" if kept_away else "disable --now ModemManager"
    assert str(found["serial port"].fix).startswith(f"sudo systemctl {ends}")


def test_a_process_is_ended_by_its_service_where_it_has_one(tmp_path: Path) -> None:
    """A service would start it again; what belongs to a login or to nothing is ended itself."""
    for pid, place in (
        (1, "0::/system.slice/gpsd.service"),
        (2, "12:pids:/system.slice/system-getty.slice/getty@ttyUSB0.service"),
        (3, "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope"),
        (4, "0::/system.slice/$(reboot).service"),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(f"{place}\n")
    assert stop(1, tmp_path) == "sudo systemctl stop gpsd.service"
    assert stop(2, tmp_path) == "sudo systemctl stop getty@ttyUSB0.service"
    assert [stop(pid, tmp_path) for pid in (3, 4, 5)] == [f"sudo kill {pid}" for pid in (3, 4, 5)]


PPP = ("usr/sbin/pppd", "dev/ppp")
UNIT = ("run/systemd/system/.", "usr/lib/systemd/system/hologram-ppp.service")
POLKIT = ("usr/lib/polkit-1/polkitd",)


@pytest.mark.parametrize(
    ("there", "state", "fix"),
    [
        ((), "fail", "sudo apt install ppp"),
        (PPP[:1], "fail", "sudo modprobe ppp_async"),
        (PPP + UNIT, "fail", "sudo apt install polkitd"),
        (PPP + UNIT[1:], "fail", "run it as root"),
        (PPP + UNIT + POLKIT, "ok", None),
    ],
)
def test_what_ppp_needs(
    bridge: BridgeProcess, tmp_path: Path, there: tuple[str, ...], state: str, fix: str | None
) -> None:
    """Installed, what is missing for the unit to dial is named one after the other, each with its command."""
    for name in there:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    bridge.configure(network={"interface": "cellular-e303", "device": "/dev/null"})
    folders = {name: tmp_path / name for name in ("usr", "dev", "run", "etc")}
    found = modem_findings(context(bridge, **folders))["pppd"]
    assert (found.state, found.fix) == (state, fix)


def test_a_configuration_that_may_not_be_read_is_none_to_correct() -> None:
    """Who may read it is said, and not that something in it is wrong."""
    line = f"/etc/hologram-bridge/bridge.hjson: cannot be read (Permission denied); {WHO_MAY}"
    (found,) = checks.unreadable(line)
    assert (found.state, found.fix) == ("fail", "use sudo, or a user of the group hologram")
    assert found.finding == "/etc/hologram-bridge/bridge.hjson: cannot be read (Permission denied)"


# -- the machine -----------------------------------------------------------------------------------------


def test_a_disk_that_is_smaller_than_the_outbox_may_become(bridge: BridgeProcess) -> None:
    """There is room now, and it is said that it will not do."""
    bridge.store.parent.mkdir(parents=True)
    assert box.disk(context(bridge)).state == "ok"
    bridge.configure(store={"max_bytes": "900TB"})
    found = box.disk(context(bridge))
    assert (found.state, "store.max_bytes" in str(found.fix)) == ("warn", True)
    assert list(bridge.store.parent.iterdir()) == []


def test_how_long_it_takes_to_make_something_durable(bridge: BridgeProcess) -> None:
    """It is measured where the outbox is, and nothing stays there."""
    bridge.store.parent.mkdir(parents=True)
    found = box.speed(context(bridge))
    assert re.fullmatch(r"\d+\.\d ms until a small write is durable", found.finding)
    assert list(bridge.store.parent.iterdir()) == []


def test_little_memory_is_told(bridge: BridgeProcess, tmp_path: Path) -> None:
    """What is available counts, not what is free."""
    (tmp_path / "meminfo").write_text("MemTotal: 512000 kB\nMemFree: 4000 kB\nMemAvailable: 300000 kB\n")
    assert box.memory(context(bridge, proc=tmp_path)).state == "ok"
    (tmp_path / "meminfo").write_text("MemTotal: 512000 kB\nMemFree: 4000 kB\nMemAvailable: 20000 kB\n")
    found = box.memory(context(bridge, proc=tmp_path))
    assert (found.state, found.finding) == ("warn", "20 MB of 524 MB available")


CLOCK = "lib/systemd/ntp-units.d/50-chrony.list"


@pytest.mark.parametrize(
    ("there", "fix"),
    [
        ({}, "sudo apt install systemd-timesyncd"),
        ({CLOCK: "chrony.service\n"}, "sudo apt install systemd-timesyncd"),  # left behind, without the unit
        (
            {CLOCK: "chrony.service\n", "lib/systemd/system/chrony.service": ""},
            "sudo timedatectl set-ntp true, which starts chrony.service; timedatectl shows the outcome",
        ),
        (
            {"lib/systemd/system/ntpsec.service": ""},
            "sudo systemctl enable --now ntpsec.service; systemctl status ntpsec.service shows the outcome",
        ),
    ],
    ids=["nothing", "removed", "chrony", "ntpd"],
)
def test_a_clock_that_was_never_set(
    bridge: BridgeProcess, tmp_path: Path, there: dict[str, str], fix: str
) -> None:
    """In 1970 the time is wrong for certain, and what sets it here is named."""
    usr = tmp_path / "usr"
    for name, text in there.items():
        (usr / name).parent.mkdir(parents=True, exist_ok=True)
        (usr / name).write_text(text)
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    bridge.write_config()
    script = (
        "import sys; from pathlib import Path; from bridge.doctor import box; "
        "from bridge.doctor.context import Context; from bridge.settings import load; "
        "print(*box.clock(Context(load(Path(sys.argv[1])), usr=Path(sys.argv[2])))[1:], sep=chr(10))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(bridge.config), str(usr)],
        env={**os.environ, "LD_PRELOAD": str(library), "FAKETIME": "1970-01-02 00:00:00", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=True,
    )
    state, seen, advice = done.stdout.splitlines()
    assert (state, advice) == ("fail", fix)
    assert seen.startswith("the time here is 1970-01-02")
