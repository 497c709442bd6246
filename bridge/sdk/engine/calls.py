"""The values between the script's calls and the loop: the sender, the message, and the waiting call."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple

from bridge.core.exchange import AnyJob, Outcome, Transport, whole_limit
from bridge.core.messages import Channel, Lane, Queued, Result
from bridge.core.retry import Reading
from bridge.flow.message.codecs import CloudAccess, Codec
from bridge.flow.message.escalator import NoEscalations
from bridge.flow.message.results import Results
from bridge.sdk.engine.errors import HologramError
from bridge.sdk.engine.response import Response
from bridge.store.journal import Journal

TIMEOUT = 5.0
"""Default silence in seconds that ends an exchange."""

END_WAIT = 8.0
"""Seconds for the messages in flight to end."""


class Sender(NamedTuple):
    """A sender, which is a cloud object of the script.

    The loop's thread calls the queries, the dispatcher's thread the callbacks ``delivered`` and ``happened``.
    """

    access: Callable[[], CloudAccess | None]
    """Returns the cloud's address and the credentials; None while they are unknown."""
    network_up: Callable[[], bool]
    """Returns whether the network is not known to be down."""
    sockets: Callable[[], Transport | None]
    """Returns the modem's own sockets while they carry messages; otherwise None."""
    identity: Callable[[], str | None]
    """Returns the key of the device, '' while it is unknown; None: no device of the Hologram cloud."""
    host: Callable[[], tuple[str, int]]
    """Returns the destination's host and port."""
    delivered: Callable[[Response], None]
    """Callback for a kept message that was sent."""
    happened: Callable[[str], None]
    """Callback for an event that no call waits for."""


class Wanted(NamedTuple):
    """A message to send."""

    channel: Channel
    names: tuple[str, ...]
    payload: bytes
    host: str = ""
    port: int = 0
    keeps: bool = True
    """Whether an unsent message is kept; False: one attempt, whose outcome is final."""


class Call:
    """A waiting call; ``notes`` brings events, and at last the response or an error."""

    def __init__(self, sender: Sender, lane: Lane, timeout: float, size: int = 0) -> None:
        """``size`` is the payload's length in bytes; in the request it may be larger, because of base64."""
        self.sender = sender
        self.lane = lane
        self.timeout = timeout
        self.limit = whole_limit(timeout, 2 * size)
        self.since = time.monotonic()
        self.taken = False
        """Whether the message is durable."""
        self.notes: SimpleQueue[str | tuple[Response] | BaseException] = SimpleQueue()

    def end(self, response: Response) -> None:
        """End the wait with ``response``."""
        self.notes.put((response,))

    def wait(self, on_event: Callable[[str], None]) -> Response | None:
        """Return the response, passing on events meanwhile; None if none came in time."""
        until = time.monotonic() + self.limit + END_WAIT
        while True:
            try:
                note = self.notes.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                return None
            if isinstance(note, str):
                on_event(note)
            elif isinstance(note, HologramError):
                raise note
            elif isinstance(note, BaseException):
                raise HologramError(f"the SDK stopped working: {note}") from note
            else:
                return note[0]


class Outcomes(Results):
    """Results for the waiting calls instead of for a broker."""

    def __init__(self, journal: Journal, on_result: Callable[[Result], None]) -> None:
        self._outbox, self._time = journal.outbox, journal.time
        self.escalations = NoEscalations()
        self._on_result = on_result

    def record(self, result: Result, *, idempotent: bool, reply: object) -> None:  # noqa: ARG002  # scripts do not repeat ids
        """Count the result; runs inside the transaction."""
        self._outbox.count(result.state)

    def notify(self, result: Result) -> None:
        """Pass on the result, which is durable now."""
        self._on_result(result)


class Turn:
    """The codec of one message, which passes the reading of each attempt to a judge."""

    def __init__(self, codec: Codec, judge: Callable[[Queued, float, Reading], Reading]) -> None:
        """``judge`` gets the message, the monotonic start of its exchange in seconds, and the reading."""
        self.at_most_once = codec.at_most_once
        self._began = 0.0
        self._codec = codec
        self._judge = judge
        self._queued: Queued | None = None

    def encode(self, queued: Queued) -> AnyJob:
        """Return the codec's exchange for ``queued``."""
        self._queued = queued
        self._began = time.monotonic()
        return self._codec.encode(queued)

    def decode(self, outcome: Outcome) -> Reading:
        """Return the judged reading of an exchange."""
        assert self._queued is not None  # `encode` comes first
        return self._judge(self._queued, self._began, self._codec.decode(outcome))
