"""A service's notices to systemd: it is ready, what it does, it is alive.

One datagram per notice to the Unix socket that ``NOTIFY_SOCKET`` names, lines of ``NAME=value``; a name that
begins with ``@`` is in the abstract namespace [sd_notify(3)]. The watchdog's time is in ``WATCHDOG_USEC``,
and ``WATCHDOG_PID`` names its process [sd_watchdog_enabled(3)].
"""

import logging
import os
import socket
import time
from collections.abc import Mapping, MutableMapping

log = logging.getLogger("systemd")

STATUS_LIMIT = 500
"""Number of characters of a status line, so that it can be read at a glance."""


class Notifier:
    """Sends notices; without a socket it does nothing. Never blocks, never raises."""

    def __init__(self, path: str | None, watchdog: float | None = None) -> None:
        """``path`` as in ``NOTIFY_SOCKET``; ``watchdog`` in seconds."""
        self.watchdog = watchdog if path else None
        """Seconds without a sign of life after which systemd ends the service; None if it does not."""
        self._address = _address(path)
        self._sock = (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            if self._address
            else None
        )

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> "Notifier":
        """Return the notifier of the environment, and take the socket out of it.

        Our children would notify in our name [sd_notify(3), ``unset_environment``].
        """
        return cls(environ.pop("NOTIFY_SOCKET", None), watchdog_seconds(environ))

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return self._sock is not None

    def ready(self) -> None:
        """Notify that the service runs, or runs again after a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Notify that the configuration is being read again; `ready` ends that."""
        # CLOCK_MONOTONIC in microseconds, because systemd 253 and later refuse Type=notify-reload without it.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Notify that the service is about to end."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Publish one line that tells a person what the service does."""
        line = " ".join(text.split())
        self._send(f"STATUS={line if len(line) <= STATUS_LIMIT else line[: STATUS_LIMIT - 1] + '…'}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, notice: str) -> None:
        if self._sock is None or self._address is None:
            return
        try:
            self._sock.sendto(notice.encode(errors="replace"), self._address)
        except OSError as exc:  # systemd restarts, or its queue is full: it will receive the next notice
            log.debug("systemd did not receive %s: %s", notice.partition("=")[0], exc.strerror or exc)

    def close(self) -> None:
        """Send no more notices."""
        if self._sock:
            self._sock.close()
        self._sock = None


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return the seconds in which systemd expects a sign of life of this process; None if it does not."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not (microseconds.isascii() and microseconds.isdecimal()) or int(microseconds) == 0:
        return None
    meant_for = environ.get("WATCHDOG_PID")
    if meant_for is not None and meant_for != str(os.getpid()):
        return None
    return int(microseconds) / 1e6


def _address(path: str | None) -> str | bytes | None:
    """Return the socket's address; None if it is not supported (AF_VSOCK is for virtual machines)."""
    if not path or path[0] not in "/@":
        return None
    return b"\0" + os.fsencode(path[1:]) if path[0] == "@" else path
