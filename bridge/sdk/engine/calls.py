"""What passes between the script's calls and the loop: who sends, what, and who waits for the outcome."""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple

from bridge.core.exchange import AnyJob, Outcome, Transport, whole_limit
from bridge.core.messages import Channel, Lane, Queued, Result
from bridge.core.retry import Reading
from bridge.flow.message.codecs import CloudAccess, Codec
from bridge.flow.message.results import Results
from bridge.sdk.engine.errors import HologramError
from bridge.sdk.engine.response import Response
from bridge.store.journal import Journal

TIMEOUT = 5.0
"""Seconds of silence after which an exchange is given up, unless the call says otherwise."""

END_WAIT = 8.0
"""Seconds for what is in flight to end."""


class Sender(NamedTuple):
    """Who sends: a cloud object of the script's. Asked in the loop's thread, told in one for such news."""

    access: Callable[[], CloudAccess | None]
    """Where the cloud is and who the device is to it; None where that is not known (yet)."""
    network_up: Callable[[], bool]
    """Whether the network is not known to be down."""
    sockets: Callable[[], Transport | None]
    """The modem's own sockets, while they are what carries."""
    identity: Callable[[], str | None]
    """What tells its device from others, '' where that is not known (yet); None: no device of the cloud's."""
    host: Callable[[], tuple[str, int]]
    """The host and port that it sends to."""
    delivered: Callable[[Response], None]
    """Told that a message that was kept has gone."""
    happened: Callable[[str], None]
    """Told of an event that no call waits for."""


class Wanted(NamedTuple):
    """A message that is to be sent."""

    channel: Channel
    names: tuple[str, ...]
    payload: bytes
    host: str = ""
    port: int = 0
    keeps: bool = True
    """It is kept where it cannot be sent; False: one try, and that is its outcome."""


class Call:
    """A call that waits; ``notes`` brings events, and at last the response or an error."""

    def __init__(self, sender: Sender, lane: Lane, timeout: float, size: int = 0) -> None:
        """``size`` is the payload's; in the request, where it may be base64, it is larger."""
        self.sender = sender
        self.lane = lane
        self.timeout = timeout
        self.limit = whole_limit(timeout, 2 * size)
        self.since = time.monotonic()
        self.taken = False
        """The message is durable."""
        self.notes: SimpleQueue[str | tuple[Response] | BaseException] = SimpleQueue()

    def end(self, response: Response) -> None:
        """End the wait with ``response``."""
        self.notes.put((response,))

    def wait(self, on_event: Callable[[str], None]) -> Response | None:
        """Return the response, telling of events meanwhile; None where none came in time."""
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
    """Results that go to who waits for them; there is no broker to publish them to."""

    def __init__(self, journal: Journal, on_result: Callable[[Result], None]) -> None:
        self._outbox, self._time = journal.outbox, journal.time
        self._on_result = on_result

    def record(self, result: Result, *, idempotent: bool, reply: object) -> None:  # noqa: ARG002  # nobody repeats an id here
        """Count it; runs inside the transaction."""
        self._outbox.count(result.state)

    def notify(self, result: Result) -> None:
        """Tell of it, now that it is durable."""
        self._on_result(result)


class Turn:
    """Speaks for one message, and has what became of each try judged."""

    def __init__(self, codec: Codec, judge: Callable[[Queued, float, Reading], Reading]) -> None:
        """``judge`` gets the message, when its exchange began in monotonic seconds, and what came of it."""
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
        """Return what an exchange meant, after the judgement."""
        assert self._queued is not None  # `encode` comes first
        return self._judge(self._queued, self._began, self._codec.decode(outcome))
