"""One request to one peer: what a transport is asked for, how an exchange goes, and what is told of it."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol

from bridge.core.messages import Traffic

PATIENCE = 6
"""A whole exchange may take so many times the silence allowed, however small it is."""

SLOWEST = 1000
"""Bytes a second of the slowest link on which a large request is carried to its end."""

ANSWER_LIMIT = 65536
"""Bytes of an answer that are kept."""

LOOKS = 4
"""How often within the silence allowed a transport looks at what the peer has acknowledged."""


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


def sized_job(
    host: str,
    port: int,
    request: bytes,
    complete: Callable[[bytes], bool],
    silence: float,
    *,
    until_close: bool = False,
    orderly: bool = False,
) -> Job:
    """Return the job that carries ``request``, with the limit that its size needs."""
    limit = whole_limit(silence, len(request))
    return Job(host, port, request, complete, silence, limit, until_close=until_close, orderly=orderly)


class Outcome(NamedTuple):
    """How one exchange with a peer ended, as the transport saw it."""

    connected: bool = False
    written: bool = False
    """At least one byte of the request may have left."""
    complete: bool = False
    """The answer was as complete as its reader asked for."""
    answer: bytes = b""
    closed: bool = False
    """The peer ended the connection."""
    error: str | None = None
    traffic: Traffic = Traffic()
    whole: bool = False
    """The peer has acknowledged every byte of the request; asked where the job is orderly, or until close."""


class Phase(Enum):
    """How far an exchange is."""

    CONNECTING = auto()
    CARRYING = auto()
    """The request goes out, and bytes may come."""
    ANSWERED = auto()
    """All that is waited for has come; only the peer's close is waited for, for `Exchange`'s ``grace``."""
    OVER = auto()


class Exchange:
    """One exchange, decided; it moves no bytes and reads no clock.

    A transport tells it what happened and when, in seconds of a clock of its own. After what may end the
    exchange the transport calls `tick`, which judges, and returns when to call it again at the latest. What
    ends it first decides; whatever comes after changes nothing::

        CONNECTING  connected                           CARRYING
                    failed, closed, silence, limit      OVER: not reached
        CARRYING    the answer is complete              ANSWERED
                    failed, closed                      OVER
                    silence, limit, pace                OVER: with what ran out
        ANSWERED    failed, closed, the grace is over   OVER: without an error
    """

    def __init__(self, job: Job, now: float, *, grace: float = 0.0, shallow: bool = False) -> None:
        """``grace`` is the seconds that the peer has to close after its answer, before this is over.

        ``shallow`` says that what takes the bytes holds few of them and tells little: a byte that it takes is
        a sign of life, and a peer that answers or closes after the last was taken counts as having them all.
        """
        self.job = job
        self.phase = Phase.CONNECTING
        self.error: str | None = None
        self.answer = b""
        self.peer_closed = False
        self.reached = False
        """There was a connection."""
        self.written = False
        """At least one byte of the request may have left."""
        self.held = False
        """Our own side is waited for, until the next sign of life: that is no silence of the peer's."""
        self.sent = self.acked = 0
        """Bytes of the request that were taken to be sent; that the peer is known to have acknowledged."""
        self.alive_at = self._began = now
        self._deadline = now + job.limit
        self._grace = grace
        self._shallow = shallow

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.phase is Phase.OVER

    @property
    def handed_over(self) -> bool:
        """Whether all of the request was taken to be sent; until close, our side is to be closed then."""
        return self.reached and self.sent >= len(self.job.request)

    @property
    def whole(self) -> bool:
        """Whether the peer has every byte of the request, as far as the transport knows."""
        known = self.acked >= len(self.job.request)
        return self.handed_over and (known or (self._shallow and (self.peer_closed or self._said)))

    @property
    def _said(self) -> bool:
        return self.reached and self.job.complete(self.answer)

    @property
    def _answered(self) -> bool:
        return self._said and not self.job.until_close and (self.whole or not self.job.orderly)

    def alive(self, now: float) -> None:
        """Take a sign of the peer's life."""
        self.held = False
        self.alive_at = max(self.alive_at, now)

    def connected(self, now: float) -> None:
        """Learn that the connection is there, and tell who asked to know."""
        if self.phase is not Phase.CONNECTING:
            return
        self.phase, self.reached, self._began = Phase.CARRYING, True, now
        self.alive(now)
        if self.job.on_connected:
            self.job.on_connected()

    def took(self, size: int, now: float) -> None:
        """Learn that ``size`` more bytes of the request were taken to be sent."""
        self.sent += size
        self.written = self.written or size > 0
        if self._shallow:
            self.alive(now)

    def acknowledged(self, total: int, now: float, *, since: float = 0.0) -> None:
        """Learn that the peer has acknowledged ``total`` bytes of the request, ``since`` seconds ago."""
        if total > self.acked:
            self.acked = total
            self.alive(now - since)

    def received(self, data: bytes, now: float) -> None:
        """Take a piece of the answer."""
        self.alive(now)
        if self.phase is Phase.CARRYING:
            self.answer = (self.answer + data)[:ANSWER_LIMIT]

    def closed(self) -> None:
        """Learn that the peer has closed, after everything that it sent was received."""
        if not self.over:
            self.peer_closed = self.reached
            self.end(None if self.reached else self.unreached("the connection broke"))

    def failed(self, why: str) -> None:
        """Learn that the connection cannot be had, or broke; an answer that was there counts all the same."""
        text = why if self.reached else self.unreached(why)
        self.end(None if self._answered else text)

    def end(self, error: str | None = None) -> None:
        """End it, unless it is over."""
        if not self.over:
            self.phase, self.error = Phase.OVER, error

    def unreached(self, why: str) -> str:
        """Return ``why`` with the peer's name."""
        return f"cannot connect to {self.job.host}:{self.job.port}: {why}"

    def tick(self, now: float) -> float:
        """Judge what was told, and the time; return when to ask again, which may be before time is up."""
        if self.phase is Phase.CARRYING and self._answered:
            self.phase, self._deadline = Phase.ANSWERED, now + self._grace
        answered, silence = self.phase is Phase.ANSWERED, self.job.silence
        due = self._deadline if self.held or answered else min(self.alive_at + silence, self._deadline)
        passed = self.sent if self._shallow else self.acked
        slow = self.job.too_slow(passed, now - self._began) if self.reached else None
        if answered and now >= due:
            self.end()
        elif not answered and (now >= due or slow):
            self.end(self._late(now, slow))
        return min(due, now + silence / LOOKS)

    def _late(self, now: float, slow: str | None) -> str:
        if not self.reached:
            return self.unreached("the modem is busy" if self.held else "no answer")
        if now >= self._deadline:
            return f"the exchange took longer than {self.job.limit:g} s"
        return slow or f"silence for {self.job.silence:g} s"

    def outcome(self, traffic: Traffic) -> Outcome:
        """Return how it ended, at the cost of ``traffic``."""
        receipt = self.job.until_close and self.peer_closed and self.whole
        return Outcome(
            connected=self.reached,
            written=self.written,
            complete=receipt or self._answered,
            answer=self.answer,
            closed=self.peer_closed,
            error=self.error,
            traffic=traffic,
            whole=self.whole,
        )


class AnyJob(Protocol):
    """What must be known of a job whatever takes it."""

    @property
    def limit(self) -> float:
        """Seconds that it may take in all."""

    @property
    def large(self) -> bool:
        """Whether no other large one should go beside it."""


class Transport(Protocol):
    """What takes a job to a peer: the machine's own network, a modem's sockets, or a modem's SMS."""

    def start(self, job: Any, done: Callable[[Outcome], None]) -> None:
        """Begin ``job``, of the kind that is made for this transport.

        ``done`` is called exactly once, and never before this returns.
        """
