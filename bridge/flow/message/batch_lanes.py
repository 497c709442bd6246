"""When the messages of a lane go as one batch.

Of a lane only a few numbers are in memory, however many messages wait in it: those of the messages that would
be in its next batch. A batch is built to find its size only if it could be full.
"""

from collections.abc import Callable, Iterator
from math import inf
from typing import NamedTuple

from bridge.core.batching import Batching, Waiting, at_most, due_at
from bridge.core.messages import Lane
from bridge.core.routing import Router
from bridge.flow.message.codecs import CloudAccess
from bridge.flow.message.forming import form, room
from bridge.protocol.cloud import Credentials
from bridge.store.batches import UNDIVIDED, Sized
from bridge.store.journal import Journal

ROW = 24
"""Bytes that a message takes in a batch beside its payload and its topics, roughly. That is enough, since it
only decides when a batch is built to find its size."""

PLAIN_EXPANSION = 2
"""The same for the form ``plain``, where most of it may be quotation marks in the request's JSON."""

UNPACKED = 800_000
"""Bytes of messages from which on a batch may be too large unpacked."""


class Policy(NamedTuple):
    """The configuration's part about batches. A reload replaces it whole."""

    router: Router
    access: Callable[[], CloudAccess]
    """Returns the present way to the cloud."""

    @property
    def concerns(self) -> object:
        """What decides whether the cloud takes a batch: only a change of it is a reason to try again."""
        return self.router.routes, self.access()


class _Line:
    """The messages of a lane that would be in its next batch."""

    __slots__ = (
        "after",
        "batching",
        "deadline",
        "first",
        "fits",
        "full",
        "lane",
        "lane_id",
        "messages",
        "oldest",
        "size",
    )

    def __init__(self, lane_id: int, lane: Lane, batching: Batching | None, first: int) -> None:
        self.lane_id, self.lane = lane_id, lane
        self.batching = batching
        """None: the messages of the route do not go in batches now."""
        self.first, self.after = first, first - 1
        """Numbers of the oldest message, and of the newest that was looked at."""
        self.messages = self.size = 0
        self.oldest = inf
        self.deadline: float | None = None
        self.full = False
        """Whether the message behind them does not fit."""
        self.fits = (0, 0)
        """The size at the last trial, and the bytes of content that it gave."""

    def add(self, sized: Sized, came: float, max_age: float | None) -> None:
        """Add the next message, which ``came`` at that monotonic time in seconds."""
        self.after = sized.seq
        self.messages += 1
        self.size += sized.size + ROW
        self.oldest = min(self.oldest, came)
        for lifetime in (sized.lifetime, max_age):
            if lifetime is not None:
                self.deadline = min(came + lifetime, inf if self.deadline is None else self.deadline)

    @property
    def room(self) -> int:
        """The number of messages that the batch can still take."""
        return self.batching.messages - self.messages if self.batching and not self.full else 0

    @property
    def oversized(self) -> bool:
        """Whether the message at the head fits into no batch."""
        return self.full and not self.messages

    def due_at(self, timeout: float) -> float:
        """Return when it goes, in monotonic seconds; ``timeout`` is ``cloud.timeout``."""
        if self.batching is None:
            return -inf
        return due_at(self.batching, Waiting(self.messages, self.oldest, self.deadline, self.full), timeout)


class BatchLanes:
    """Knows which lanes of batches are due; lives in the event loop's thread."""

    def __init__(self, journal: Journal) -> None:
        self._outbox, self._time = journal.outbox, journal.time
        self._policy: Policy | None = None
        self._lines: dict[int, _Line] = {}
        self._upto = 0
        """Messages up to this number wait for no others: a flush, or the link, calls for them."""
        self.refused: dict[str, float] = dict.fromkeys(self._outbox.batches.refused(), 0.0)
        """Routes whose batches the cloud refuses, and the monotonic time in seconds of the next try. A start
        is one, since the configuration may be another."""
        self._refused_under: object = None
        """What concerned them in the configuration."""

    @property
    def policy(self) -> Policy | None:
        """The configuration; without one no message goes in a batch."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._lines.clear()
        before, self._refused_under = self._refused_under, policy.concerns
        if self._refused_under != before:
            self._try_refused()

    def flush(self) -> None:
        """Let everything go now, and try the refused batches again."""
        self._try_refused()
        self.release()

    def _try_refused(self) -> None:
        self.refused = dict.fromkeys(self.refused, 0.0)

    def release(self) -> bool:
        """Let everything go that waits for others; return whether there is anything."""
        self._upto = self._outbox.last_seq()
        return bool(self._outbox.lanes.waiting)

    def look(self) -> bool:
        """Find the lanes that are due; return whether one has become so. It reads the disk."""
        lanes = self._outbox.lanes
        if not lanes.batched and not self._lines:
            return False
        for lane_id in (*lanes.changed, *(self._lines.keys() - lanes.batched.keys())):
            self._lines.pop(lane_id, None)
        lanes.changed.clear()
        lines = [self._line(*each) for each in lanes.batched.items()]
        for line in lines:
            if line.lane_id in lanes.grown or not line.messages:
                self._scan(line)
        lanes.grown.clear()
        now = self._time.now().mono
        ready = set(self._allowed([line for line in lines if self._is_due(line, now)], now))
        before, lanes.waiting = lanes.waiting, lanes.batched.keys() - ready
        return bool(before & ready)

    def _line(self, lane_id: int, lane: Lane) -> _Line:
        line = self._lines.get(lane_id)
        if line is None:
            (head,) = self._outbox.batches.sizes(lane_id, 0, 1)
            batching = self._policy.router.route(head.topics).batching if self._policy else None
            line = self._lines[lane_id] = _Line(lane_id, lane, batching, head.seq)
        return line

    def _scan(self, line: _Line) -> None:
        """Add the messages that have come, as far as they would be in the next batch."""
        times, max_age, now = self._outbox.times, self._outbox.limits.max_age, self._time.now().mono
        found = self._outbox.batches.sizes(line.lane_id, line.after, line.room) if line.room else []
        for sized in found:
            age = times.age(sized.boot, sized.mono)
            # What waited through a boot of a box that does not know the time has waited long enough.
            line.add(sized, -inf if age is None else now - age, max_age)
        if found and self._may_exceed(line):
            self._try(line)

    def _may_exceed(self, line: _Line) -> bool:
        """Whether the request may be too large, as far as its size is known without building it."""
        if line.batching is None or line.full or not line.messages:
            return False
        size, content = line.fits
        grown = line.size - size
        more = grown * PLAIN_EXPANSION if line.batching.plain else at_most(grown)
        return content + more > room(line.batching, self.credentials) or line.size > UNPACKED

    def _try(self, line: _Line) -> None:
        """Build the batch, to find whether it is full."""
        assert line.batching is not None
        waiting = self._outbox.batches.waiting(line.lane_id, line.after, line.messages)
        made = form(line.batching, self.credentials, waiting)
        line.full = made.full
        line.messages = len(made.messages)
        line.fits = (line.size, len(made.content))

    @property
    def credentials(self) -> Credentials | None:
        """The credentials that a request has beside its batch; None while they are not known."""
        return self._policy.access().credentials if self._policy else None

    def batching(self, lane_id: int, lane: Lane) -> Batching | None:
        """Return how the messages of a lane go in batches; None: each alone."""
        return self._line(lane_id, lane).batching

    def _is_due(self, line: _Line, now: float) -> bool:
        if self._policy is None or line.first <= self._upto:
            return True
        if self._outbox.batches.division(line.lane_id) != UNDIVIDED:
            return True
        return line.due_at(self._policy.access().timeout) <= now

    def _allowed(self, due: list[_Line], now: float) -> Iterator[int]:
        """Yield the lanes of ``due``; of those of a refused route only the first, each hour."""
        tried: set[str] = set()
        for line in sorted(due, key=lambda each: (each.lane.priority, each.first)):
            route = line.lane.batch or ""
            if route in self.refused and line.batching is not None and not line.oversized:
                if route in tried or self.refused[route] > now:
                    continue
                tried.add(route)
            yield line.lane_id
