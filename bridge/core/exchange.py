"""One request to one peer: what a carrier is asked for, and what it tells."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from bridge.core.messages import Traffic


class Job(NamedTuple):
    """One request to one peer."""

    host: str
    port: int
    request: bytes
    complete: Callable[[bytes], bool]
    """Says whether the bytes read so far are all that is waited for."""
    silence: float
    """Seconds without a sign of life, from the start on, after which the exchange is given up."""
    limit: float
    """Seconds that the exchange may take in all."""
    until_close: bool = False
    """The peer's close is its answer: our side is closed after the request, so that it sees the end."""
    on_connected: Callable[[], None] | None = None
    """Told when the connection stands."""
    orderly: bool = False
    """The answer counts, and the connection ends by a close and not by a reset, only once the peer has
    acknowledged the whole request: the peer may read until the end."""


class Outcome(NamedTuple):
    """How one exchange with a peer ended, as the carrier saw it."""

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


class Carrier(Protocol):
    """What takes a request to a peer: the machine's own network, or a modem's sockets."""

    def start(self, job: Job, done: Callable[[Outcome], None]) -> None:
        """Begin ``job``; ``done`` is called exactly once, and never before this returns."""
