"""What is in flight: the bytes and SMS that no result has counted yet."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from bridge.core.exchange import AnyJob, Job
from bridge.core.messages import Channel, Queued, Traffic
from bridge.protocol.sms.segments import cut
from bridge.protocol.tcpinfo import estimate

MARGIN = 2
"""An exchange may cost so many times what it costs without a loss: segments are repeated, names looked up."""

FADE = 0.9
"""By this what one message may cost fades with each message that costs less."""

FADE_TOGETHER = 0.998
"""By this what several may cost together fades with each message, while at least one is in flight."""

HEADROOM = 65_536
"""Bytes, up and down each, that are written ahead for messages to come at most: so many a power cut may count
that no message has cost."""

ANSWER = 16
"""Bytes that an answer may have, for what an exchange may cost."""


class _Cost(NamedTuple):
    """What an exchange costs."""

    expected: int
    """Bytes if nothing is lost."""
    most: Traffic
    """Bytes that it may cost."""


FREE = _Cost(0, Traffic())
"""Of what does not go over the SIM."""


class _Out(NamedTuple):
    """A message in flight."""

    cost: _Cost
    texts: int


class InFlight:
    """The messages in flight; lives in the event loop's thread."""

    def __init__(self) -> None:
        self._out: dict[int, _Out] = {}
        self._recorded: set[int] = set()
        """Messages whose bytes are counted in the transaction that is open, or is being committed."""
        self._usual = Traffic()
        """What the largest of the last messages may cost: the next one need not be written ahead."""
        self._needed = self._peak = Traffic()
        """What those in flight may cost together: now, and at most lately."""
        self._closing = False

    def close(self) -> None:
        """Write nothing ahead for messages to come."""
        self._closing = True

    def started(self, queued: Queued, job: AnyJob) -> None:
        """Note that ``queued`` is in flight."""
        cost = _cost_of(len(job.request)) if isinstance(job, Job) and not queued.own else FREE
        self._out[queued.seq] = _Out(cost, texts_of(queued))
        self._usual = _larger(cost.most, self._usual, FADE)
        self._needed = self._needed.plus(cost.most)
        self._peak = _larger(self._needed, self._peak, FADE_TOGETHER)

    def recorded(self, queued: Queued) -> None:
        """Note that what ``queued`` cost is counted in the transaction that is open."""
        self._recorded.add(queued.seq)

    def freed(self, queued: Queued) -> None:
        """Note that ``queued`` is not in flight any more, and what it cost is counted."""
        self._recorded.discard(queued.seq)
        if gone := self._out.pop(queued.seq, None):
            most = gone.cost.most
            self._needed = Traffic(self._needed.up - most.up, self._needed.down - most.down)
        if not self._out:
            self._peak = self._usual

    @property
    def bytes(self) -> int:
        """The bytes that the messages cost together if nothing is lost."""
        return sum(each.cost.expected for each in self._out.values())

    @property
    def texts(self) -> int:
        """The SMS among them; a long one counts its parts."""
        return sum(each.texts for each in self._out.values())

    def is_covered(self, written: Traffic) -> bool:
        """Whether they cannot cost more than ``written``."""
        return written.up >= self._needed.up and written.down >= self._needed.down

    def ahead(self, written: Traffic, *, more: bool = False) -> Traffic:
        """Return the bytes to write ahead; ``written`` are those that are on disk.

        While messages are in flight it is what so many may cost, because one that is not covered waits for a
        commit before it goes; so it is with the results of the last ones while there are ``more`` to follow.
        Those of one stay written, so that the next need not write them.
        """
        out = [each for seq, each in self._out.items() if seq not in self._recorded]
        if self._closing:
            return _sum(out)
        if not out and not (self._out and more):
            return Traffic(*map(min, written, self._usual))
        return _larger(_sum(out), Traffic(*(min(each, HEADROOM) for each in self._peak)))


@lru_cache(maxsize=64)
def _cost_of(size: int) -> _Cost:
    """Return what the exchange of a request of ``size`` bytes costs."""
    up, down = estimate(size, ANSWER)
    return _Cost(up + down, Traffic(MARGIN * up, MARGIN * down))


def texts_of(queued: Queued) -> int:
    """Return the number of SMS that ``queued`` is; 0 for another message."""
    if queued.lane.endpoint.channel is not Channel.SMS:
        return 0
    return len(cut(queued.payload.decode("utf-8", "replace")).parts)


def _sum(out: Iterable[_Out]) -> Traffic:
    """Return what messages in flight may cost together."""
    most = [each.cost.most for each in out]
    return Traffic(sum(each.up for each in most), sum(each.down for each in most))


def _larger(one: Traffic, other: Traffic, fade: float = 1.0) -> Traffic:
    """Return the larger of both in each direction; ``other`` counts ``fade`` times."""
    if one.up >= other.up and one.down >= other.down:
        return one
    return Traffic(max(one.up, int(other.up * fade)), max(one.down, int(other.down * fade)))
