"""What systemd is told, read from the socket on which it would listen."""

import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.adapters.system.systemd import STATUS_LIMIT, Notifier, watchdog_seconds


class Systemd:
    """The far end of a notify socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.settimeout(5)
        self._sock.bind(b"\0" + address[1:].encode() if address.startswith("@") else address)

    def heard(self) -> list[str]:
        """Return the lines of the next notice."""
        return self._sock.recv(4096).decode().splitlines()

    def close(self) -> None:
        self._sock.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@bridge-{secrets.token_hex(8)}"
    found = Systemd(name)
    yield found
    found.close()


def test_each_notice_is_one_datagram(systemd: Systemd) -> None:
    """Ready, stopping, alive and the status arrive as sd_notify(3) writes them, on either kind of socket."""
    notifier = Notifier(systemd.address)
    notifier.ready()
    notifier.status("online; cloud up; 12 queued")
    notifier.alive()
    notifier.stopping()
    assert [systemd.heard() for _ in range(4)] == [
        ["READY=1"],
        ["STATUS=online; cloud up; 12 queued"],
        ["WATCHDOG=1"],
        ["STOPPING=1"],
    ]
    notifier.close()


def test_a_reload_says_when_it_began(systemd: Systemd) -> None:
    """RELOADING=1 comes with CLOCK_MONOTONIC in microseconds, in one datagram."""
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    Notifier(systemd.address).reloading()
    first, second = systemd.heard()
    after = time.clock_gettime(time.CLOCK_MONOTONIC)
    name, _, value = second.partition("=")
    assert (first, name) == ("RELOADING=1", "MONOTONIC_USEC")
    assert int(before * 1e6) - 1 <= int(value) <= after * 1e6


def test_a_status_is_one_short_line(systemd: Systemd) -> None:
    """Whatever a reason brings along, nobody can write a notice of his own into it."""
    notifier = Notifier(systemd.address)
    notifier.status("down\nREADY=1\tMAINPID=1" + "x" * 2000)
    (line,) = systemd.heard()
    assert line.startswith("STATUS=down READY=1 MAINPID=1x")
    assert len(line) == len("STATUS=") + STATUS_LIMIT
    notifier.status("\udcff")
    assert systemd.heard() == ["STATUS=?"]


@pytest.mark.parametrize("path", [None, "", "vsock:2:1234", "relative"])
def test_without_a_socket_nothing_is_told(path: str | None) -> None:
    """A bridge that systemd did not start tells nobody, and is not watched."""
    notifier = Notifier(path, 10.0)
    assert not notifier.wanted
    for tell in (notifier.ready, notifier.reloading, notifier.stopping, notifier.alive, notifier.close):
        tell()
    notifier.status("x")


def test_a_systemd_that_does_not_listen_stops_nothing(systemd: Systemd) -> None:
    """A full queue, or a socket that is gone, neither blocks nor raises."""
    notifier = Notifier(systemd.address)
    for _ in range(2000):
        notifier.alive()
    assert systemd.heard() == ["WATCHDOG=1"]
    systemd.close()
    notifier.ready()


def test_the_environment_says_whom_to_tell(systemd: Systemd) -> None:
    """Socket and watchdog are taken from the environment."""
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "30000000"}
    notifier = Notifier.from_environment(environ)
    assert "NOTIFY_SOCKET" not in environ, "no child notifies in our name"
    assert (notifier.wanted, notifier.watchdog) == (True, 30.0)
    assert Notifier.from_environment({"WATCHDOG_USEC": "30000000"}).watchdog is None
    assert not Notifier.from_environment({}).wanted


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": ""}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
    ],
)
def test_the_watchdog_is_meant_for_one_process(environ: dict[str, str], seconds: float | None) -> None:
    """WATCHDOG_PID names whom systemd watches; a child that inherited the environment is not it."""
    assert watchdog_seconds(environ) == seconds
