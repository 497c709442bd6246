"""What comes in: a whole message, and how one is gathered from a connection."""

from typing import NamedTuple

from bridge.core.admission import Network
from bridge.core.exchange import SLOWEST
from bridge.core.messages import Traffic


class Received(NamedTuple):
    """One whole message."""

    protocol: str
    peer: str
    """Address and port, as in ``10.176.0.1:40000`` or ``[fd00::1]:40000``."""
    port: int
    """Ours, on which it came."""
    data: bytes
    traffic: Traffic
    over_modem: bool = False
    """Whether it came over a modem's own sockets."""


class Limits(NamedTuple):
    """What may come in; seconds and bytes. Replaced whole when the configuration is read again."""

    timeout: float = 5.0
    max_bytes: int = 65536
    max_connections: int = 64
    deadline: float = 60.0
    allow: tuple[Network, ...] = ()
    command: bytes = b""
    """The beginning of what is a command and no message; its line ends with it. Empty: there are none."""

    def is_command(self, data: bytes | bytearray) -> bool:
        """Return whether ``data`` is a command, right or wrong."""
        return bool(self.command) and data.startswith(self.command)

    def too_long(self, elapsed: float, size: int) -> str | None:
        """Return why a connection that brought ``size`` bytes in ``elapsed`` seconds is cut, None where not.

        A slow link is given what its bytes need, which ``max_bytes`` bounds.
        """
        if elapsed < self.deadline or elapsed * SLOWEST < size:
            return None
        return f"it took longer than inbound.deadline, {self.deadline:g} s"


class Ending(NamedTuple):
    """What became of a connection's message."""

    what: str
    """"whole" or "empty"; else what is counted: "too_large", "broken" or "cut"."""
    why: str = ""


class Gathering:
    """One connection's message, decided; it moves no bytes and reads no clock.

    The peer's close or its silence ends the message, and its line end a command; whatever else ends it leaves
    nothing. What ends it first decides. The limits are handed over each time, since those of now count; times
    are in seconds.
    """

    def __init__(self, now: float) -> None:
        self.data = bytearray()
        self.held = False
        """Bytes that have come wait on our own side: that is no silence."""
        self.ending: Ending | None = None
        self._began = self._alive_at = now

    def received(self, data: bytes, now: float, limits: Limits) -> None:
        """Take a piece."""
        self._alive_at = now
        if self.ending:
            return
        self.data += data
        if len(self.data) > limits.max_bytes:
            self._end("too_large", f"it is over inbound.max_bytes, {limits.max_bytes}")
        elif limits.is_command(self.data) and b"\n" in self.data:
            self.closed()

    def closed(self) -> None:
        """Learn that the peer has closed, after everything that it sent was received."""
        self._end("whole" if self.data else "empty")

    def broke(self, why: str) -> None:
        """Learn that the connection is gone, and that nobody knows what is missing."""
        self._end("broken", f"the connection broke in the middle: {why}")

    def tick(self, now: float, limits: Limits) -> None:
        """End it after silence; cut what has taken too long."""
        if now - self._alive_at >= limits.timeout and not self.held:
            self.closed()
        elif why := limits.too_long(now - self._began, len(self.data)):
            self._end("cut", why)

    def _end(self, what: str, why: str = "") -> None:
        self.ending = self.ending or Ending(what, why)
