"""Commands from the desk to a running bridge: by port 4010, by a modem's own sockets, and by SMS."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.protocol.remote import sign
from tests.harness import BridgeProcess, Client, Cloud, Keeper, eventually, free_port
from tests.harness.modem import SimModem

KEY = "correct horse battery staple"
PHONE = "+15551234567"
ALLOWED = [
    "status", "reconnect", "reset", "flush", "pause", "resume", "restart", "restart_box", "log", "get", "set",
    "unset", "confirm",
]  # fmt: skip
HOST = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.1"
"""The own network of this test process: its port 4010 is nobody else's."""


class Desk:
    """Signs commands with counters that grow, and brings them to the doors of a bridge."""

    def __init__(self, port: int = 4010, host: str = HOST, key: str = KEY) -> None:
        self.host, self.port, self._key = host, port, key
        self._counter = time.time_ns() // 1_000_000

    def line(self, command: str) -> str:
        self._counter += 1
        return sign(self._key, self._counter, command)

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
        """Wait until the modem's sockets listen."""
        eventually(lambda: self.modem.state()["listening"].get("4010"), 40, what="the modem listens")

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

    def told(self) -> list[dict[str, Any]]:
        return self.client.events("remote.command")


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
    assert (ask("flush") or "").startswith("error flush: sending is paused")
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
    before = len(rig.told())
    began = "it begins"
    assert (ask("reconnect") or "").startswith(f"ok reconnect: {'connected' if by_sms else began}")
    rig.client.wait_for(lambda: len(rig.told()) > before, 60, "its outcome is told")
    assert rig.told()[-1] | {"at": "", "peer": ""} == {
        "event_type": "remote.command",
        "at": "",
        "door": "sms" if by_sms else "tcp",
        "peer": "",
        "command": "reconnect",
        "outcome": "ok",
        "description": rig.told()[-1]["description"],
    }
    assert rig.told()[-1]["description"].startswith("connected")
    rig.wait_connected()
    assert (ask("reset") or "").startswith(f"ok reset: {'' if by_sms else began}")
    rig.client.wait_for(lambda: rig.told()[-1]["command"] == "reset", 60, "its outcome is told")
    rig.wait_connected()


def restart(rig: Rig, ask: Callable[[str], str | None]) -> str:
    """Restart the bridge, and wait until it is back in the same process."""
    before, number = rig.bridge.said().count(" started; "), rig.bridge.pid
    answer = ask("restart") or ""
    eventually(lambda: rig.bridge.said().count(" started; ") > before, 30, what="the bridge is back")
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
    assert "outcome" in rig.told()[-1]
    assert (ask("status") or "").startswith("ok status")
    assert [topic for topic in rig.client.topics() if topic.startswith("hologram/in")] == []
    assert KEY not in rig.bridge.said()
