"""Commands from the desk to a running bridge: by port 4010, by a modem's own sockets, and by SMS."""

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.flow.remote.commands import STOPPED
from bridge.protocol.remote import derive, sign
from tests.harness import BridgeProcess, Client, Cloud, Keeper, eventually, free_port
from tests.harness.modem import SimModem

KEY = "correct horse battery staple"
PHONE = "+15551234567"
ALLOWED = [
    "status", "reconnect", "reset", "flush", "pause", "resume", "restart", "restart_box", "log", "get", "set",
    "unset", "confirm",
]  # fmt: skip
FLOOD = 100_000

HOST = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.1"
"""The own network of this test process: its port 4010 is nobody else's."""


class Desk:
    """Signs commands with counters that grow, and brings them to the doors of a bridge."""

    def __init__(self, port: int = 4010, host: str = HOST, key: str = KEY) -> None:
        self.host, self.port, self._key = host, port, key
        self.counter = time.time_ns() // 1_000_000

    def line(self, command: str) -> str:
        self.counter += 1
        return sign(self._key, self.counter, command)

    def send(self, data: str | bytes, port: int | None = None) -> str | None:
        """Send a line; return the answer, None where the connection is reset or closed without one."""
        host = self.host if port is None else "127.0.0.1"
        line = data if isinstance(data, bytes) else data.encode() + b"\n"
        try:
            with socket.create_connection((host, port or self.port), 30) as connection:
                connection.sendall(line)
                with connection.makefile("rb") as answer:
                    return answer.read().decode().removesuffix("\n") or None
        except ConnectionResetError:
            return None

    def ask(self, command: str) -> str | None:
        return self.send(self.line(command))


class Rig:
    """A broker, a cloud, a modem with sockets of its own, and a bridge with all doors open."""

    def __init__(
        self, keeper: Keeper, folder: Path, bridge: BridgeProcess, cloud: Cloud, client: Client
    ) -> None:
        self.bridge, self.client, self.desk = bridge, client, Desk()
        self.modem = SimModem(keeper, folder / "modem", "nova-u201")
        self.modem_port = free_port()
        self._cloud = cloud

    def start(self) -> None:
        self.bridge.configure(
            remote={"key": KEY, "senders": [PHONE], "allow": ALLOWED},
            inbound={"enabled": True, "host": HOST, "port": 4010, "timeout": 2},
            sms={"via": "modem"},
            network={
                "interface": "cellular-nova-u201",
                "device": [str(self.modem.at), str(self.modem.dial)],
                "poll": 1,
            },
        )
        self._cloud.start()
        quick = ("--registration", "0.3", "--boot", "0.3", "--sim-delay", "0.1")
        self.modem.start(*quick, "--inbound-port", str(self.modem_port))
        self.bridge.start()
        self.wait_connected()

    def wait_connected(self) -> None:
        """Wait until the link is up and the modem's sockets listen, in whatever order."""
        status = "hologram/network/status"
        eventually(lambda: self.modem.state()["listening"].get("4010"), 40, what="the modem listens")
        self.client.wait_for(
            lambda: self.client.state(status).get("state") == "connected", 40, "the link is up"
        )

    def since_restart(self) -> str:
        """Return what the bridge has said since a command restarted it."""
        return self.bridge.said().partition("INFO:bridge:restarting")[2]

    def own(self, command: str) -> str | None:
        """Command by the machine's own network."""
        return self.desk.ask(command)

    def by_modem(self, command: str) -> str | None:
        """Command by the modem's own sockets."""
        self.wait_connected()
        return self.desk.send(self.desk.line(command), self.modem_port)

    def by_sms(self, command: str) -> str | None:
        """Command by SMS."""
        before = len(self.modem.sms)
        self.modem.tell("sms", from_=PHONE, text=self.desk.line(command))
        eventually(lambda: len(self.modem.sms) > before, 60, what=f"{command} is answered by SMS")
        (answer,) = self.modem.sms[before:]
        assert (answer["to"], answer["part"]) == (PHONE, None)
        return str(answer["text"])

    def told(self, command: str) -> list[dict[str, Any]]:
        """Return what was told of a command."""
        return [each for each in self.client.events("remote.command") if each["command"] == command]

    def outcomes(self) -> list[str]:
        """Return how all commands ended that were told."""
        return [each["outcome"] for each in self.client.events("remote.command")]

    def wait_told(self, command: str) -> dict[str, Any]:
        """Wait until the outcome of the only command of that name is told."""
        (told,) = self.client.wait_for(lambda: self.told(command), 60, f"the outcome of {command}")
        return dict(told)


@pytest.fixture
def rig(keeper: Keeper, tmp_path: Path, bridge: BridgeProcess, cloud: Cloud, client: Client) -> Rig:
    """All of it, not started yet."""
    return Rig(keeper, tmp_path, bridge, cloud, client)


def check_commands(rig: Rig, door: str, ask: Callable[[str], str | None]) -> None:
    """Give every command but the restart by one door."""
    by_sms = door == "sms"
    state = ask("status") or ""
    assert state.startswith("ok status: state=ok link=connected")
    assert ask("pause") == "ok pause: sending is paused"
    assert (ask("status") or "").startswith("ok status: state=paused")
    assert ask("flush") == "error flush: sending is paused, so nothing is tried: resume first"
    assert ask("resume") == "ok resume: sending goes on"
    assert ask("flush") == "ok flush: everything is tried now"
    assert "command from" in (ask("log 3") or "")
    assert ask("get network.apn") == "ok get: network.apn=hologram"
    assert ask("get remote.key") == "ok get: remote.key=***"
    assert (ask("set log.level=debug") or "").startswith("ok set: log.level is changed")
    assert ask("confirm") == "ok confirm: confirmed: log.level"
    assert (ask("unset log.level") or "").startswith("ok unset: ")
    assert ask("confirm") == "ok confirm: confirmed: log.level"
    assert (ask("set mqtt.host=x") or "").startswith("error set: not to be changed from afar")
    assert (ask("status now") or "").startswith("error status: it takes nothing after it")
    assert (ask("restart_box") or "").startswith("error restart_box: ")
    began = "it begins"
    assert (ask("reconnect") or "").startswith(f"ok reconnect: {'connected' if by_sms else began}")
    told = rig.wait_told("reconnect")
    assert set(told) == {"event_type", "at", "door", "peer", "command", "outcome", "description"}
    assert (told["door"], told["outcome"]) == ("sms" if by_sms else "tcp", "ok")
    assert told["description"].startswith("connected")
    rig.wait_connected()
    assert (ask("reset") or "").startswith(f"ok reset: {'' if by_sms else began}")
    assert rig.wait_told("reset")["outcome"] == "ok"
    rig.wait_connected()


def restart(rig: Rig, ask: Callable[[str], str | None]) -> str:
    """Restart the bridge, and wait until it is back in the same process."""
    number = rig.bridge.pid
    answer = ask("restart") or ""
    eventually(lambda: rig.since_restart().count("the link is up") > 0, 40, what="bridge and link are back")
    assert rig.bridge.pid == number
    rig.wait_connected()
    return answer


@pytest.mark.slow  # it takes the link down and up eight times
@pytest.mark.parametrize("door", ["own network", "modem's sockets", "sms"])
def test_each_command_over_each_door(rig: Rig, door: str) -> None:
    """Each is answered with its outcome, told by an event, and published nowhere."""
    ask = {"own network": rig.own, "modem's sockets": rig.by_modem, "sms": rig.by_sms}[door]
    rig.start()
    check_commands(rig, door, ask)
    answer = "the bridge has restarted" if door == "sms" else "the bridge restarts"
    assert restart(rig, ask) == f"ok restart: {answer}"
    assert rig.wait_told("restart")["outcome"] == "ok"
    assert (ask("status") or "").startswith("ok status")
    assert [topic for topic in rig.client.topics() if topic.startswith("hologram/in")] == []
    assert KEY not in rig.bridge.said()


# -- what does nothing -----------------------------------------------------------------------------------


@pytest.fixture
def box(bridge: BridgeProcess, client: Client) -> BridgeProcess:
    """A bridge without a modem, its port open; ``client`` listens."""
    assert client.connected
    bridge.configure(
        remote={"key": KEY, "allow": ["status", "pause", "resume", "flush", "reconnect", "restart", "log"]},
        inbound={"enabled": True, "host": HOST, "port": 4010, "timeout": 1},
    )
    bridge.start()
    listening(bridge)
    return bridge


def listening(bridge: BridgeProcess) -> None:
    eventually(lambda: bridge.queue("stats")["inbound"]["listening"] == ["tcp", "udp"], what="it listens")


def test_a_line_does_its_work_once(box: BridgeProcess, client: Client) -> None:
    """A replay does nothing: at once, after a restart, after a kill, after a store from before it."""
    desk = Desk()
    line = desk.line("pause")
    old = {file.name: file.read_bytes() for file in box.store.parent.glob("outbox.db*") if file.is_file()}
    assert desk.send(line) == "ok pause: sending is paused"
    assert desk.ask("resume") == "ok resume: sending goes on"
    assert desk.send(line) is None
    assert (desk.ask("restart"), box.running) == ("ok restart: the bridge restarts", True)
    eventually(lambda: box.said().count(" started; ") == 2, 20, what="it is back")
    listening(box)
    assert desk.send(line) is None
    box.kill()
    box.start()
    listening(box)
    assert desk.send(line) is None
    box.kill()
    for file in box.store.parent.glob("outbox.db*"):
        if file.suffix != ".counter":
            file.unlink()
    for name, content in old.items():
        (box.store.parent / name).write_bytes(content)
    box.start()
    listening(box)
    assert desk.send(line) is None
    assert (desk.ask("status") or "").startswith("ok status: state=ok")
    assert client.messages("hologram/in") == []


def counted(bridge: BridgeProcess) -> int:
    """Return the largest counter in the file beside the store."""
    with contextlib.suppress(FileNotFoundError):
        return int(bridge.store.with_name("outbox.db.counter").read_text())
    return 0


def kill_when(bridge: BridgeProcess, line: str, moment: Callable[[str], object]) -> tuple[str, str]:
    """Send ``line``, kill the bridge at a moment; return our address, and the answer if any.

    ``moment`` takes our address.
    """
    answer = ""
    with socket.create_connection((HOST, 4010), 30) as peer:
        name = "{}:{}".format(*peer.getsockname())
        peer.sendall(line.encode() + b"\n")
        while not moment(name):
            pass  # no sleep: between two moments are a few milliseconds
        bridge.kill()
        with contextlib.suppress(ConnectionResetError):
            answer = peer.recv(1000).decode().strip()
    return name, answer


def check_kill(box: BridgeProcess, client: Client, desk: Desk, moment: Callable[[str], object]) -> str:
    """Kill the bridge while it has a command, start it again, replay the line; return what was seen."""
    line = desk.line("pause")
    name, answer = kill_when(box, line, moment)
    box.start()
    listening(box)
    done = box.queue("stats")["queue"]["paused"]
    again = desk.send(line)
    assert again is None or (answer, done) == ("", False), "nothing had come of it"
    if again:
        return "again"
    told = client.wait_for(lambda: outcomes(client, name), what="an outcome is told")
    assert done or (answer, told) == ("", ["error"]), "what is told is true"
    return "answered" if answer else told[0]


def outcomes(client: Client, peer: str) -> list[str]:
    """Return how the command of ``peer`` ended, each time that it was told."""
    return [each["outcome"] for each in client.events("remote.command") if each["peer"] == peer]


@pytest.mark.slow  # it starts the bridge 10 times
def test_a_kill_at_any_moment_of_a_command(box: BridgeProcess, client: Client) -> None:
    """It is carried out once at most, its replay does nothing, and what is told of it is true."""
    desk, chance, seen = Desk(), random.Random(18), list[str]()

    def at_random(_name: str) -> bool:
        time.sleep(chance.uniform(0, 0.02))  # the moment itself: nothing is waited for
        return True

    for moment in (at_random, lambda _: counted(box) == desk.counter, partial(outcomes, client)):
        for _ in range(3):
            seen.append(check_kill(box, client, desk, moment))
            assert desk.ask("resume") == "ok resume: sending goes on"
    assert "error" in seen, "no kill was between the acceptance and the outcome"


@pytest.mark.slow  # it takes the link up twice
def test_what_a_kill_cuts_off_is_answered_by_sms(rig: Rig) -> None:
    """Once, by the next start. The modem may have the SMS still, and it is a replay then."""
    rig.start()
    line = rig.desk.line("reconnect")
    rig.modem.tell("sms", from_=PHONE, text=line)
    eventually(lambda: counted(rig.bridge) > 0, 60, what="it is accepted")
    rig.bridge.kill()
    rig.bridge.start()
    eventually(lambda: rig.modem.sms, 60, what="it is answered")
    rig.wait_connected()
    rig.modem.tell("sms", from_=PHONE, text=line)
    rig.client.wait_for(lambda: "refused" in rig.outcomes(), 60, "the replay is told")
    assert (rig.by_sms("status") or "").startswith("ok status: state=ok")
    assert [each["text"] for each in rig.modem.sms[:-1]] == [f"error reconnect: {STOPPED}"]
    assert [each for each in rig.outcomes() if each != "refused"] == ["error", "ok"]


def test_what_a_peer_may_send_beside_a_line(box: BridgeProcess, client: Client) -> None:
    """Ends of all kinds, bytes after it, UDP, another box's key; ordinary bytes go on as before."""
    desk, there = Desk(), Desk(key=derive(KEY.encode(), "there"))
    assert there.ask("status") is None
    line = desk.line("status")
    assert desk.send(f"{line}\nmore".encode()) is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(line.encode(), (HOST, 4010))
    client.wait_for(lambda: len(client.events("remote.command")) >= 2, what="refusals are told")
    assert (desk.send(line.encode() + b"\r\n") or "").startswith("ok status")
    with socket.create_connection((HOST, 4010), 30) as half:
        half.sendall(desk.line("status").encode())
        half.shutdown(socket.SHUT_WR)
        assert half.recv(100).startswith(b"ok status")
    with socket.create_connection((HOST, 4010), 30) as silent:
        silent.sendall(desk.line("status").encode())
        assert silent.recv(100).startswith(b"ok status"), "inbound.timeout ends it"
    for ordinary in (b"hb1", b"hb2 1 status", b" hb1 ", b"HB1 ", b"x\nhb1 "):
        with socket.create_connection((HOST, 4010), 30) as sender:
            sender.sendall(ordinary)
            sender.shutdown(socket.SHUT_WR)
            assert sender.recv(1) == b""
    client.wait_for(lambda: len(client.messages("hologram/in")) >= 5, what="all ordinary ones came")
    assert [each.payload for each in client.messages("hologram/in")] == [
        b"hb1",
        b"hb2 1 status",
        b" hb1 ",
        b"HB1 ",
        b"x\nhb1 ",
    ]


def test_a_number_of_any_length_is_an_argument(box: BridgeProcess) -> None:
    """Python converts no more than 4300 digits [sys.int_info]."""
    desk = Desk()
    for number in ("0", "101", "-1", "1.5", "9" * 5000):
        assert (desk.ask(f"log {number}") or "").startswith("error log: give a number of lines, 1 to 100")
    assert (desk.ask("status") or "").startswith("ok status: ")
    assert box.running


def test_the_link_is_kept_where_nothing_is_managed(box: BridgeProcess) -> None:
    """What cannot be done is an error on the same connection, not a promise."""
    assert box.running
    assert Desk().ask("reconnect") == "error reconnect: no network interface is managed here"


def test_the_desk_signs_and_sends(box: BridgeProcess, tmp_path: Path) -> None:
    """By the commands alone: a key for the box, a line, an answer, and what a refusal says."""
    master, key = tmp_path / "master", tmp_path / "key"
    master.write_text("a master key of enough length\r\n")
    made = box_command("remote", "key", "--master", str(master), "kitchen")
    assert made.stdout.strip() == derive(b"a master key of enough length", "kitchen")
    key.write_text(KEY + "\n")
    send = ("remote", "send", "--host", HOST, "--key-file", str(key))
    done = box_command(*send, "status")
    assert (done.returncode, done.stdout.startswith("ok status: state=ok"), done.stderr) == (0, True, "")
    done = box_command(*send, "--counter", "1", "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "refused without an answer" in done.stderr
    line = box_command("remote", "sign", "--key-file", str(key), "pause").stdout.strip()
    pushed = box_command("simulate", "push", "--host", HOST, line)
    assert pushed.stdout.splitlines()[0] == "ok pause: sending is paused"
    again = box_command("simulate", "push", "--host", HOST, line)
    assert (again.returncode, "reset" in again.stderr) == (1, True)
    assert KEY not in box.said()


def box_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the desk."""
    command = [sys.executable, "-m", "bridge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow  # 100,000 connections
def test_a_flood_of_wrong_lines_changes_nothing(box: BridgeProcess, client: Client) -> None:
    """Random and mutated lines: none accepted or published; memory and disk flat, ordinary messages there."""
    desk, chance = Desk(), random.Random(18)
    assert (desk.ask("status") or "").startswith("ok")
    line = desk.line("pause").encode()
    flood(100, line, chance)
    client.wait_for(lambda: client.events("remote.command"), what="the first is told")
    before, written = memory(box), disk(box)
    flood(FLOOD, line, chance)
    # Other things write now and then; a write for each line would be hundreds of megabytes.
    assert (disk(box) - written < 100_000, memory(box) - before < 4_000_000) == (True, True)
    assert not box.queue("stats")["queue"]["paused"]
    assert client.messages("hologram/in") == []
    assert len([each for each in client.events("remote.command") if each["outcome"] == "refused"]) <= 17
    with socket.create_connection((HOST, 4010), 30) as sender:
        sender.sendall(b"hello")
    assert client.wait_last("hologram/in").payload == b"hello"
    assert desk.send(line + b"\n") == "ok pause: sending is paused"


def flood(number: int, line: bytes, chance: random.Random) -> None:
    """Send wrong lines, each on its own connection."""

    def send(data: bytes) -> None:
        with contextlib.suppress(ConnectionError), socket.create_connection((HOST, 4010), 30) as sender:
            sender.sendall(data)
            sender.recv(1)

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(send, (wrong(line, chance) for _ in range(number))):
            pass


def wrong(line: bytes, chance: random.Random) -> bytes:
    """Return a line that is not right: random bytes, or the right one with a change."""
    if chance.random() < 0.3:
        return b"hb1 " + chance.randbytes(chance.randrange(60)).replace(b"\n", b"") + b"\n"
    at = chance.randrange(4, len(line))
    changed = line[:at] + bytes((line[at] ^ chance.randrange(1, 256),)) + line[at + 1 :]
    return chance.choice([changed, line[:at], line[:at] + line[at + 1 :], line[: at + 1] + line[at:]]) + b"\n"


def memory(bridge: BridgeProcess) -> int:
    """Return the resident memory in bytes."""
    return int(Path(f"/proc/{bridge.pid}/statm").read_text().split()[1]) * 4096


def disk(bridge: BridgeProcess) -> int:
    """Return the bytes that the process has had written to disk [proc(5), io]."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{bridge.pid}/io").read_text().splitlines())
    return int(fields["wchar"])
