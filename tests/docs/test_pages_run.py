"""The pages' commands, scripts and pieces of configuration, run as they stand but for ports and paths."""

import contextlib
import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import __version__
from bridge.core.link import Phase, judge
from bridge.core.messages import Channel, State
from bridge.core.modem import Facts, Wifi
from bridge.daemon.configure import CAPABILITIES
from bridge.flow.health.summary import Summary
from bridge.flow.sms.reports import unreadable_fields
from bridge.protocol.api import commands
from bridge.protocol.api.status import status
from tests.docs.pages import BLOCKS, FACES, PYTHON, SHELL, Block, page, quoted
from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually, free_port
from tests.harness.modem import SimModem
from tests.harness.process import ROOT

_BOX = "tests/box/test_install.py"
_FIRST = f"{_BOX}::test_a_first_installation_starts_nothing_and_says_what_to_do"
_BY_SOURCE = f"{_BOX}::test_it_is_replaced_by_and_replaces_an_installation_from_source"
_STARTED = f"{_BOX}::test_with_a_key_it_runs_as_a_user_of_its_own"
_LIVES = f"{_BOX}::test_it_lives_on_without_the_broker_and_comes_back_when_killed"
_OWN = "tests/docs/test_pages_run.py::test_the_sdk_goes_into_an_environment_of_its_own"
_DESK = "tests/e2e/test_remote.py::test_the_desk_signs_and_sends"
_PACKAGE = "sudo apt install ./dist/hologram-bridge_0.1.0+py3.11_arm64.deb"

ELSEWHERE = {
    "make demo": "tests/demo/test_demo.py::test_a_terminal_gets_the_live_view_and_ctrl_c_ends_it",
    "make node-red": (
        "tests/node_red/test_demo.py::test_it_prints_an_address_that_works_and_leaves_nothing_behind"
    ),
    "make test": ".ci/run",
    "hologram-bridge remote send --host 127.0.0.1 --port 4010 --key-file kitchen.key status": _DESK,
    "hologram-bridge remote sign --key-file kitchen.key reconnect": _DESK,
    "make docs": ".ci/run",
    "make tables": "tests/docs/test_pages.py::test_the_made_tables_are_up_to_date",
    "sudo apt-get update && sudo apt-get install -y git make": _BY_SOURCE,
    "git clone ADDRESS hologram-bridge": _BY_SOURCE,
    "cd hologram-bridge": _BY_SOURCE,
    "sudo make install": _BY_SOURCE,
    (
        "sudo cp config/mosquitto/hologram-bridge.conf /etc/mosquitto/conf.d/ "
        "&& sudo systemctl restart mosquitto"
    ): _STARTED,
    "sudo nano /etc/hologram-bridge/bridge.hjson": _STARTED,
    "sudo systemctl enable --now hologram-bridge": _STARTED,
    "sudo systemctl restart hologram-bridge": _STARTED,
    "sudo systemctl restart mosquitto": _STARTED,
    "sudo systemctl mask --now hologram-timestamps": _STARTED,
    "make deb ARCH=arm64": f"{_BOX}::test_an_upgrade_keeps_what_there_is",
    _PACKAGE: _FIRST,
    f"{_PACKAGE} mosquitto-": _FIRST,
    "python3 -m venv my-env": _OWN,
    "my-env/bin/pip install ./hologram-bridge": _OWN,
}
"""Lines that need root, an installed system or minutes, and where what they do is tested instead."""

ON_THEIR_OWN = {
    "docs/collect.md": "tests/collect/test_page.py::test_the_lines_of_the_page_work",
    "docs/container.md": "tests/container/test_moving.py::test_the_lines_of_the_page_lose_and_repeat_nothing",
    "docs/sensors.md": "tests/docs/test_sensors_page.py::test_a_sensor_sends_from_the_local_network",
}
"""Pages whose lines build on each other and need a machine of their own, and the test that follows them."""

SYSTEMS = {
    "ip route show table 10176",
    "ls /dev/serial/by-id",
    "lsusb",
    "git pull",
    "git rev-parse --short HEAD",
    "git checkout THAT",
    "git checkout main",
    "sudo systemctl stop hologram-bridge",
    "sudo systemctl start hologram-bridge",
    "sudo mkdir -p /var/lib/hologram-bridge/newer",
    "sudo sh -c 'mv /var/lib/hologram-bridge/outbox.db* /var/lib/hologram-bridge/newer/'",
    "sudo cp /etc/hologram-bridge/bridge.hjson /root/bridge.hjson",
    (
        "sudo systemd-run --unit=way-back --on-active=30min sh -c 'cp /root/bridge.hjson "
        "/etc/hologram-bridge/bridge.hjson; systemctl restart hologram-bridge'"
    ),
    "sudo systemctl stop way-back.timer",
    (
        "sudo systemd-run -q --pipe --wait -p EnvironmentFile=/etc/default/hologram-bridge "
        "hologram-bridge check-config"
    ),
    "systemctl list-timers",
    "sudo ss -tunp",
    "cat /sys/class/net/ppp0/statistics/rx_bytes /sys/class/net/ppp0/statistics/tx_bytes",
    "ssh -L 1880:127.0.0.1:1880 pi@raspberrypi.local",
    "ssh -t pi@raspberrypi.local hologram-bridge watch",
    "journalctl -u hologram-bridge -u hologram-ppp -n 50 --no-pager",
}
"""Lines of the system's own programs, which need what a test has not: USB, systemd, a clone, other boxes."""


def _copying(port: int) -> list[str]:
    """Return the lines by which a broker copies topics that exist, as their page has them."""
    (piece,) = (
        block.text for block in BLOCKS if (block.language, block.page) == ("conf", "docs/existing-topics.md")
    )
    assert piece.count(":1883\n") == 1
    return piece.replace(":1883\n", f":{port}\n").splitlines()


class Desk:
    """A shell whose words reach a private broker, bridge, modem and cloud."""

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        self.folder = folder
        self.broker = Mosquitto(keeper, folder / "mosquitto")
        self.broker.lines = ("max_queued_messages 0", *_copying(self.broker.port))
        self.cloud = Cloud(keeper, folder / "cloud")
        self.modem = SimModem(keeper, folder / "modem", "bg96")
        self.bridge = BridgeProcess(keeper, folder / "bridge", self.broker, self.cloud.port)
        self.inbound = free_port()
        self.client = Client(self.broker.port, "hologram/#")
        # A Unix socket's path holds 107 bytes, a test's folder may be longer.
        self.short = Path(tempfile.mkdtemp(prefix="desk-"))
        self._started: list[subprocess.Popen[str]] = []
        self._variables: dict[str, str] = {}

    def start(self) -> None:
        """Start all of it."""
        self.broker.start()
        self.cloud.start()
        self.modem.start("--registration", "0", "--sim-delay", "0", "--cloud", f"127.0.0.1:{self.cloud.port}")
        self.bridge.configure(
            inbound={"enabled": True, "host": "127.0.0.1", "port": self.inbound},
            network={
                "interface": "cellular-bg96",
                "device": [str(self.modem.at), str(self.modem.dial)],
                "scope": "hologram",
            },
            control={"path": str(self.short / "bridge")},
            budget={"month": "20MB"},
            prices={"mb": 0.4, "sms": 0.19},
        )
        self._write_programs()
        self.client.connect()
        self.bridge.start()
        self.client.wait_for(
            lambda: self.client.state("hologram/network/status").get("registration") == "roaming",
            20,
            what="the modem is in a network",
        )

    def _write_programs(self) -> None:
        """Stand-ins by the names that users type: the same programs, told where this desk's things are."""
        python = shlex.quote(sys.executable)
        config = shlex.quote(str(self.bridge.config))
        self._program("sudo", 'exec "$@"')
        for name in ("mosquitto_pub", "mosquitto_sub", "mosquitto_rr"):
            self._program(name, f'exec /usr/bin/{name} -h 127.0.0.1 -p {self.broker.port} "$@"')
        self._program(
            "hologram-bridge",
            f'case "$1 $2" in simulate*|unpack*|"remote key") ;; *) set -- "$@" -c {config};; esac\n'
            f'exec {python} -m bridge "$@"',
        )
        for name, module in FACES.items():
            self._program(
                name,
                f'case "${{0##*/}} $*" in *--via*|hologram\\ [!v]*) set -- "$@" -c {config};; esac\n'
                f'exec {python} -m {module} "$@"',
            )

    def _program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def environment(self) -> dict[str, str]:
        """Where programs are, and where the SDK finds the cloud."""
        return {
            **os.environ,
            **self._variables,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "HOLOGRAM_SDK_CLOUD": f"127.0.0.1:{self.cloud.port}",
            "HOLOGRAM_SDK_OUTBOX": str(self.folder / "sdk.db"),
        }

    def popen(self, line: str) -> subprocess.Popen[str]:
        """Start a line in a shell, and in its place where it is one command."""
        command = line if line.startswith(("while ", "(")) else f"exec {line}"
        process = subprocess.Popen(
            ["/bin/bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )
        self._started.append(process)
        return process

    def assign(self, line: str) -> None:
        """Give a variable its value, for the lines that come after it."""
        name, _, value = line.partition("=")
        self._variables[name] = subprocess.check_output(["/bin/bash", "-c", f"echo -n {value}"], text=True)

    def results(self) -> list[dict[str, object]]:
        """Return results of messages to the cloud, one at least."""
        self.client.publish("hologram/out/sample", "1")
        return self.client.wait_for(
            lambda: [each for each in self.client.results() if each["channel"] == "cloud"], 20
        )

    def said(self) -> set[str]:
        """Return the descriptions of all results so far."""
        return {result["description"] for result in self.client.results()}

    def health(self) -> object:
        """Return its health once it knows the cloud."""
        self.results()
        return self.bridge.queue("stats")

    def close(self) -> None:
        """End every line that still runs."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        self.client.close()
        shutil.rmtree(self.short)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """All of it, running."""
    keeper = Keeper()
    desk = Desk(keeper, tmp_path_factory.mktemp("desk"))
    try:
        desk.start()
        yield desk
    finally:
        desk.close()
        keeper.close()


class Reader:
    """Reads what a line says while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.text = ""
        self._process = process
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.text += line

    def end(self) -> None:
        """End the line as Ctrl-C does not: by SIGTERM; read the rest."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
        self._thread.join(10)


def _substituted(desk: Desk, line: str) -> str:
    """Return a line with this desk's ports and paths."""
    if line.startswith("hologram_receive"):
        line = line.replace("4010", str(free_port())).replace("--timeout 20", "--timeout 0.3")
    line = line.replace("simulate cloud", "simulate cloud --port 0").replace(
        "-h broker.lan -p 8883 -u viewer -P … ", ""
    )
    line = re.sub(r"(hologram-bridge watch) -[hc] .*", r"\1", line)
    line = line.replace("/etc/cron.d/", "/tmp/").replace("/etc/default/", "/tmp/")
    line = line.replace("127.0.0.1:9999", f"127.0.0.1:{desk.cloud.port}")
    return line.replace("--port 4010", f"--port {desk.inbound}").replace("/tmp/", f"{desk.short}/")


def _nudge(desk: Desk, line: str) -> None:
    """Make happen what a line waits for."""
    if "hologram/in/sms" in line:
        desk.modem.tell("sms", from_="+15557654321", text="pump on")
    elif "hologram/in" in line:
        with socket.create_connection(("127.0.0.1", desk.inbound), timeout=5) as connection:
            connection.sendall(b"from the cloud")
    elif "hologram/out/z/#" in line:
        desk.client.publish("zigbee2mqtt/nudge", "21.5")
    elif "hologram/result" in line:
        desk.client.publish("hologram/out/nudge", "1")


def _says(desk: Desk, line: str, reader: Reader) -> None:
    """Wait until a line that goes on has said something, and end it."""
    try:
        for _ in range(40):
            _nudge(desk, line)  # again: it may have subscribed after the last one
            with contextlib.suppress(AssertionError):
                eventually(lambda: reader.text, 0.5)
                return
        pytest.fail(f"nothing came of: {line}")
    finally:
        reader.end()


def _goes_on(line: str) -> bool:
    return (
        "simulate cloud" in line
        or line.endswith("hologram-bridge watch")
        or (line.startswith("mosquitto_sub") and not re.search(r" -C \d| -E\b", line))
    )


_CHANNELS = {
    "hologram/sms": "sms",
    "hologram/network/set": "network",
    "hologram/queue/set": "queue",
    "hologram/budget/set": "budget",
    "hologram/quote": "quote",
}


def _published(desk: Desk, line: str) -> None:
    """Run a line that publishes a command; its result has to come, and to be good."""
    channel = next((name for topic, name in _CHANNELS.items() if topic in line), "cloud")

    def results() -> list[str]:
        told = desk.client.results()
        return [
            one["state"] for one in told if one["channel"] == channel and "nudge" not in str(one["topics"])
        ]

    before = len(results())
    _run(desk, line)
    state = desk.client.wait_for(lambda: results()[before:], 30, what=f"the result of: {line}")[-1]
    # Whether a call succeeds depends on what this machine has.
    good = {"network": ("done", "failed"), "queue": ("done",), "budget": ("done",), "quote": ("done",)}.get(
        channel, ("delivered",)
    )
    good = ("rejected",) if "Kitchen sensor" in line else good
    assert state in good, f"{line}: {state}"


def _run(desk: Desk, line: str) -> None:
    process = desk.popen(line)
    said, _ = process.communicate(timeout=120)
    # What the doctor finds depends on the machine, but what it looks at here is well.
    good = (0, 1) if "doctor" in line else (0,)
    assert process.returncode in good, f"{line} ended with {process.returncode}: {said}"
    assert "doctor" not in line or re.search(r"^ok +broker .*^ok +cloud ", said, re.DOTALL | re.MULTILINE), (
        said
    )


@pytest.mark.parametrize("name", sorted({block.page for block in SHELL} - set(ON_THEIR_OWN)))
def test_the_command_lines_work(desk: Desk, name: str) -> None:
    """Each line of a page as it stands, but for ports and paths; what it publishes ends well."""
    failed: list[str] = []
    background: list[tuple[str, Reader]] = []
    for block in SHELL:
        if block.page == name:
            try:
                _run_block(desk, block, background)
            except AssertionError as error:
                failed.append(f"under {block.where!r}: {error}")
    for line, reader in background:
        try:
            _says(desk, line, reader)
        except AssertionError as error:
            failed.append(f"{line}: {error}")
    assert not failed, "\n\n".join(failed)


def _steps(block: Block) -> Iterator[str]:
    """Yield the lines; of two that are joined by ``&&`` each, unless both together are tested elsewhere."""
    for line in block.lines:
        yield from [line] if line in ELSEWHERE else line.split(" && ")


def _run_block(desk: Desk, block: Block, background: list[tuple[str, Reader]]) -> None:
    """Run a block's lines; what later blocks of the page need goes on in the ``background``."""
    for typed in _steps(block):
        if typed in ELSEWHERE or typed in SYSTEMS:
            continue
        line = _substituted(desk, typed)
        if re.match(r"[A-Z]+=", line):
            desk.assign(line)
        elif "simulate modem" in line:
            background.append((line, Reader(desk.popen(line))))
            eventually((desk.short / "modem").exists, 20, what="the second modem is ready")
        elif _goes_on(line):
            _says(desk, line, Reader(desk.popen(line)))
        elif line.startswith(("mosquitto_pub", "mosquitto_rr")):
            _published(desk, line)
        else:
            _run(desk, line)


def test_every_line_is_run_here_or_tested_elsewhere() -> None:
    """What is listed as tested elsewhere is on a page, and its test exists."""
    typed = {line for block in SHELL for line in _steps(block)}
    assert set(ELSEWHERE) | SYSTEMS <= typed
    assert set(ON_THEIR_OWN) <= {block.page for block in SHELL}
    for place in [*ELSEWHERE.values(), *ON_THEIR_OWN.values()]:
        path, _, name = place.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text() if name else (ROOT / path).exists(), place


def test_a_message_is_what_the_pages_show(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """The result in the reference is the real one, and the bytes that it counts are those of the cost."""
    (sample,) = (json.loads(text) for text in page("reference/results").texts("json", "Reference: results"))
    cloud.start()
    bridge.start()
    client.publish("hologram/out/sensors/kitchen", '{"temperature":21.5}')
    (real,) = client.wait_results(1)
    assert list(sample) == list(real)
    fixed = ("channel", "to", "topics", "state", "code", "description", "attempts")
    assert [sample[key] for key in fixed] == [real[key] for key in fixed]
    told = re.search(r"a message of 20 bytes with one topic \| (\d+) \| (\d+) \|", page("cost").text)
    assert told
    assert int(told[1]) == sample["bytes_up"] + sample["bytes_down"]
    timestamps = int(Path("/proc/sys/net/ipv4/tcp_timestamps").read_text())
    # On a busy machine an acknowledgement may go in a packet of its own, or two.
    assert 0 <= real["bytes_up"] + real["bytes_down"] - int(told[2 if timestamps else 1]) <= 110


def _fields(said: str) -> list[str]:
    """Return the first word of each line, but of those that are indented."""
    return [line.split()[0] for line in said.splitlines() if line[:1].strip()]


def _said(desk: Desk, line: str) -> str:
    return desk.popen(line).communicate(timeout=30)[0]


def test_shown_output_is_of_this_version(desk: Desk) -> None:
    """The first words of each line, in their order; of a line for a program its keys."""
    desk.results()
    (stats, listed), (info,) = (page("control").texts("text", where) for where in ("The queue", "The modem"))
    for shown, line in ((stats, "hologram-bridge queue stats"), (info, "hologram-bridge modem info")):
        assert _fields(shown) == _fields(_said(desk, line))
    _run(desk, "mosquitto_rr -q 1 -t hologram/queue/set -m pause -e reply/pause -W 20")
    try:
        desk.client.publish("hologram/out/sensors/kitchen", "21.5")
        eventually(lambda: "nothing" not in _said(desk, "hologram-bridge queue list"), 20)
        assert _said(desk, "hologram-bridge queue list").split()[2:] == listed.split()[2:]
    finally:
        _run(desk, "mosquitto_rr -q 1 -t hologram/queue/set -m resume -e reply/resume -W 20")
    (shown,) = page("receive").texts("text", "Receive messages from the cloud")
    process = desk.popen("mosquitto_sub -V 5 -q 1 -t hologram/in -F '%P %p' -C 1 -W 60")
    while process.poll() is None:
        _nudge(desk, "hologram/in")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
    assert process.stdout is not None
    keys = r"(?:^| )([a-z_]+):"
    assert re.findall(keys, process.stdout.read()) == re.findall(keys, shown)


def test_the_sign_of_life_is_the_line_that_works() -> None:
    """What cron gets is what the page tries before."""
    lines = (block.lines for block in SHELL if block.page == "docs/silence.md")
    (tried,), (written,) = (each for each in lines if "alive" in each[0])
    assert f" nobody {tried}'" in written


def test_a_box_gets_its_key_by_the_environment(tmp_path: Path) -> None:
    """The line of the page, in force over the shipped configuration, which has no key."""
    (line,) = (line for block in SHELL for line in block.lines if line.startswith("echo 'HOLOGRAM_BRIDGE__"))
    name, _, value = line.split("'")[1].partition("=")
    command = [sys.executable, "-m", "bridge", "check-config", "-c", str(ROOT / "config/bridge.hjson")]
    for environment, code in ((dict(os.environ), 78), ({**os.environ, name: value}, 0)):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, check=False, timeout=30,
            env={**environment, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == code, done.stderr


# -- JSON ------------------------------------------------------------------------------------------------

SAMPLES = [(block, json.loads(block.text)) for block in BLOCKS if block.language == "json"]


def _command_topic(sample: dict[str, object]) -> str:
    if "data" in sample or "data_base64" in sample:
        return "send"
    if "to" in sample:
        return "sms"
    if "command" not in sample:
        return "budget/set"
    return "queue/set" if sample["command"] in commands.QUEUE_COMMANDS else "network/set"


def _fits(sample: object, real: object) -> bool:
    """Whether both have the same keys and kinds; what one of them does not know fits."""
    if isinstance(sample, dict) and isinstance(real, dict):
        known = set(sample) == set(real) or set(sample) <= {each.value for each in Channel}
        return known and all(_fits(value, real[key]) for key, value in sample.items())
    if isinstance(sample, list) and isinstance(real, list):
        return all(_fits(sample[0], each) for each in real)
    return None in (sample, real) or isinstance(real, type(sample)) or isinstance(sample, type(real))


def _is_said(desk: Desk, description: str) -> bool:
    """Whether the bridge describes a result so."""
    if refused := re.match(r"topic: '(.*?)' is not allowed", description):
        desk.client.publish(f"hologram/out/{refused[1]}", "1")
        return desk.client.wait_for(lambda: description in desk.said())
    if description in desk.said():
        return True
    source = "".join(path.read_text() for path in (ROOT / "bridge/flow").rglob("*.py"))
    return f'"{description}"' in source


@pytest.mark.parametrize(("block", "sample"), SAMPLES, ids=lambda each: getattr(each, "page", ""))
def test_samples_of_json_are_of_this_version(desk: Desk, block: Block, sample: dict[str, object]) -> None:
    """A command is taken; a report has the keys of the real one, in its order, and states that exist."""
    real: object
    if "event_type" in sample:
        lines = page("reference/events").text.splitlines()
        rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
        (told,) = (quoted(told) for events, told in rows if f"`{sample['event_type']}`" in events)
        assert set(sample) - {"event_type", "at"} <= told
        source = "".join(path.read_text() for path in (ROOT / "bridge").rglob("*.py"))
        for key in {"description", "status", "reason"} & set(sample):
            assert str(sample[key]).rpartition(": ")[2] in source, sample[key]
    elif "attempts" in sample:
        (real, *_) = desk.results()
        more = {"tcp": ["answer"], "udp": ["answer"], "quote": ["segments", "cost"]}
        assert list(sample) == [*real, *more.get(str(sample["channel"]), [])]
        State(str(sample["state"]))
        Channel(str(sample["channel"]))
        assert _is_said(desk, str(sample["description"]))
    elif "code_name" in sample:
        real = status(judge(Phase.CONNECTED, None, None), interface="cellular", facts=Facts(), wifi=Wifi())
        assert [*sample, "wifi"] == list(real)
        assert list(sample["signal"]) == list(real["signal"])  # type: ignore[call-overload]
        shown = next(text for text in page("reference/status").inline if text.startswith('{"ssid"'))
        assert re.findall(r'"(\w+)"', shown) == list(real["wifi"])
    elif "oldest" in sample:
        assert list(sample) == [each.name for each in dataclasses.fields(Summary)]
    elif "queue" in sample:
        assert _fits(sample, desk.health())
    elif "months" in sample:
        assert _fits(sample, desk.client.json("hologram/bridge/usage")[-1])
    elif "capabilities" in sample:
        assert (sample["version"], sample["capabilities"]) == (__version__, list(CAPABILITIES))
        real = desk.client.json("hologram/bridge/info")[-1]["configuration"]
        assert set(sample["configuration"]) <= set(real)  # type: ignore[call-overload]
    elif "from" in sample:
        fields = unreadable_fields("id", "pdu", "error", 0)
        assert list(sample) == [key for key in fields if key not in ("error", "pdu")]
    else:
        commands.parse(_command_topic(sample), block.text.encode())


# -- the rest --------------------------------------------------------------------------------------------


SCRIPTS = [block for block in PYTHON if block.page != "docs/batches.md"]
"""Those that send; tests/docs/test_batches_page.py runs the one that receives."""


@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: block.page)
def test_scripts_run(cloud: Cloud, tmp_path: Path, block: Block) -> None:
    """Against the simulated cloud."""
    cloud.start()
    assert "The message has been sent successfully." in _script(
        sys.executable, block, cloud, tmp_path, str(ROOT)
    )


def _script(python: str, block: Block, cloud: Cloud, folder: Path, path: str) -> str:
    script = folder / "script.py"
    script.write_text(block.text)
    environment = {**os.environ, "PYTHONPATH": path, "HOLOGRAM_SDK_CLOUD": f"127.0.0.1:{cloud.port}"}
    done = subprocess.run(
        [python, script], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_sdk_goes_into_an_environment_of_its_own(cloud: Cloud, tmp_path: Path) -> None:
    """By the two lines of its page, from a folder of that name; the script of the page runs in it."""
    cloud.start()
    source = tmp_path / "hologram-bridge"
    shutil.copytree(ROOT / "bridge", source / "bridge", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    (block,) = (each for each in SHELL if each.page == "docs/sdk.md")
    for line in block.lines:
        subprocess.run(["/bin/bash", "-c", line], cwd=tmp_path, check=True, timeout=300)
    (script,) = (each for each in PYTHON if each.page == "docs/sdk.md")
    said = _script(str(tmp_path / "my-env/bin/python"), script, cloud, tmp_path, "")
    assert "The message has been sent successfully." in said


def test_mosquitto_copies_topics_that_exist(keeper: Keeper, tmp_path: Path) -> None:
    """By the piece of configuration on their page: one level, byte for byte, without the retain flag."""
    broker = Mosquitto(keeper, tmp_path / "mosquitto")
    broker.lines = tuple(_copying(broker.port))
    broker.start()
    # While it subscribes it may get a message both live and as the retained copy.
    eventually(
        lambda: re.search(r"connected from \S+ as \S+\.zigbee", broker.said()), 20, what="it subscribes"
    )
    with Client(broker.port, "hologram/#").connect() as client:
        for topic in ("zigbee2mqtt/bridge/state", "zigbee2mqtt/kitchen"):
            client.publish(topic, '{"temperature":21.5}', retain=True)
        client.wait_for(lambda: client.messages("hologram/out/z/kitchen"), 20)
        (copy,) = client.messages("hologram/out/z/kitchen")
        assert (copy.payload, copy.retain) == (b'{"temperature":21.5}', False)
        assert client.topics() == ["hologram/out/z/kitchen"]
