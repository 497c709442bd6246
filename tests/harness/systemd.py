"""systemd, as far as a service talks to it: the socket on which it hears how the service is."""

import socket
import time
from pathlib import Path
from typing import NamedTuple

from tests.harness.process import eventually

EVERY = 0.3
"""Seconds between meals, where the watchdog waits twice as long."""


class Notice(NamedTuple):
    """One datagram."""

    at: float
    """Monotonic seconds at which it was read."""
    lines: list[str]


class Systemd:
    """Listens where a service tells how it is."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "notify"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind(str(self._path))
        self._notices: list[Notice] = []

    @property
    def environment(self) -> dict[str, str]:
        """What systemd puts into a watched service's environment."""
        return {"NOTIFY_SOCKET": str(self._path), "WATCHDOG_USEC": str(int(2 * EVERY * 1e6))}

    @property
    def notices(self) -> list[Notice]:
        """Everything that was told so far."""
        while True:
            try:
                text = self._sock.recv(4096).decode()
            except BlockingIOError:
                return self._notices
            self._notices.append(Notice(time.monotonic(), text.splitlines()))

    def lines(self, name: str) -> list[str]:
        """Return the values told under ``name``."""
        return [
            line.partition("=")[2]
            for notice in self.notices
            for line in notice.lines
            if line.startswith(name + "=")
        ]

    @property
    def status(self) -> str:
        """What ``systemctl status`` would show."""
        return (self.lines("STATUS") or [""])[-1]

    @property
    def meals(self) -> int:
        return len(self.lines("WATCHDOG"))

    def wait(self, *parts: str, timeout: float = 20.0) -> str:
        """Wait until the status holds all ``parts``; return it."""
        eventually(
            lambda: all(part in self.status for part in parts), timeout, what=f"{parts}: {self.status}"
        )
        return self.status

    def close(self) -> None:
        self._sock.close()
