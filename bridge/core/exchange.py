"""One request to one peer: the job that a transport gets, and the outcome that it returns."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from bridge.core.messages import Traffic

PATIENCE = 6
"""Multiple of the allowed silence that a whole exchange may take, however small it is."""

SLOWEST = 1000
"""Bytes a second of the slowest link over which a large request is completed."""


def whole_limit(silence: float, size: int) -> float:
    """Return the seconds that an exchange of ``size`` bytes may take in all."""
    return max(PATIENCE * silence, size / SLOWEST)


class Job(NamedTuple):
    """One request to one peer."""

    host: str
    port: int
    request: bytes
    complete: Callable[[bytes], bool]
    """Returns whether the bytes read so far are the complete answer."""
    silence: float
    """Seconds without progress, from the start on, after which the exchange is given up.

    Progress is a byte that the peer acknowledges or sends. A byte that our own side buffers is none.
    """
    limit: float
    """Seconds that the whole exchange may take."""
    until_close: bool = False
    """The peer's close is the answer: our side closes after the request, so that the peer sees its end."""
    on_connected: Callable[[], None] | None = None
    """Called when the connection is established."""
    orderly: bool = False
    """The answer counts only once the peer has acknowledged the whole request, because the peer may read
    until the end. Before that the connection is reset, after that it is closed."""

    @property
    def large(self) -> bool:
        """Whether the size, and not the silence, sets the limit."""
        return self.limit > PATIENCE * self.silence

    def too_slow(self, passed: int, elapsed: float) -> str | None:
        """Return why the request cannot pass within its limit, or None while it can.

        ``passed`` bytes of it have reached the peer in ``elapsed`` seconds. A large request is judged early,
        because the passed bytes are paid for, and the next try pays for them again.
        """
        size = len(self.request)
        if elapsed < PATIENCE * self.silence or passed >= size or passed * self.limit >= size * elapsed:
            return None
        return (
            f"the link is too slow for {size} bytes: {passed} passed in {elapsed:.0f} s, "
            f"which is {passed / elapsed:.0f} bytes a second; {size / self.limit:.0f} are needed"
        )


class Outcome(NamedTuple):
    """How one exchange with a peer ended, as the transport observed it."""

    connected: bool
    written: bool
    """At least one byte of the request may have left the machine."""
    complete: bool
    """The answer satisfied `Job.complete`."""
    answer: bytes
    closed: bool
    """The peer ended the connection."""
    error: str | None
    traffic: Traffic
    whole: bool = False
    """The peer acknowledged every byte of the request; only for jobs with ``orderly`` or ``until_close``."""


class Transport(Protocol):
    """Carries requests to peers: the machine's own network, or a modem's sockets."""

    def start(self, job: Job, done: Callable[[Outcome], None]) -> None:
        """Start ``job``; ``done`` is called exactly once, and never before this method returns."""
