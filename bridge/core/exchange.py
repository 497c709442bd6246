"""One request to one peer: what a transport is asked for, and what it tells."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from bridge.core.messages import Traffic

PATIENCE = 6
"""A whole exchange may take so many times the silence allowed, however small it is."""

SLOWEST = 1000
"""Bytes a second of the slowest link on which a large request is carried to its end."""


def whole_limit(silence: float, size: int) -> float:
    """Return the seconds that an exchange of ``size`` bytes may take in all."""
    return max(PATIENCE * silence, size / SLOWEST)


class Job(NamedTuple):
    """One request to one peer."""

    host: str
    port: int
    request: bytes
    complete: Callable[[bytes], bool]
    """Says whether the bytes read so far are all that is waited for."""
    silence: float
    """Seconds without a sign of life, from the start on, after which the exchange is given up.

    A byte that the peer acknowledges is one, and so is a byte that comes; what our own side buffers is none.
    """
    limit: float
    """Seconds that the exchange may take in all."""
    until_close: bool = False
    """The peer's close is its answer: our side is closed after the request, so that it sees the end."""
    on_connected: Callable[[], None] | None = None
    """Told when the connection stands."""
    orderly: bool = False
    """The answer counts, and the connection ends by a close and not by a reset, only once the peer has
    acknowledged the whole request: the peer may read until the end."""

    @property
    def large(self) -> bool:
        """Whether its size, and not the silence, sets its limit."""
        return self.limit > PATIENCE * self.silence

    def too_slow(self, passed: int, elapsed: float) -> str | None:
        """Return why the request will not pass within its limit, None while it may.

        ``passed`` bytes of it have reached the peer in ``elapsed`` seconds. A large request is judged early,
        since what has passed of it is paid for, and is paid for again with the next try.
        """
        size = len(self.request)
        if elapsed < PATIENCE * self.silence or passed >= size or passed * self.limit >= size * elapsed:
            return None
        return (
            f"the link is too slow for {size} bytes: {passed} passed in {elapsed:.0f} s, "
            f"which is {passed / elapsed:.0f} bytes a second; {size / self.limit:.0f} are needed"
        )


class Outcome(NamedTuple):
    """How one exchange with a peer ended, as the transport saw it."""

    connected: bool
    written: bool
    """At least one byte of the request may have left."""
    complete: bool
    """The answer was as complete as its reader asked for."""
    answer: bytes
    closed: bool
    """The peer ended the connection."""
    error: str | None
    traffic: Traffic
    whole: bool = False
    """The peer has acknowledged every byte of the request; asked where the job is orderly, or until close."""


class Transport(Protocol):
    """What takes a request to a peer: the machine's own network, or a modem's sockets."""

    def start(self, job: Job, done: Callable[[Outcome], None]) -> None:
        """Begin ``job``; ``done`` is called exactly once, and never before this returns."""
