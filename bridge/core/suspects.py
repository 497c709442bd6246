"""Suspects: which publication it is that the broker cuts the connection for.

A broker may end the connection for a publication that it will not take, often without a word, and does so
again whenever it is repeated. A broker that is only going down looks the same. The two are told apart by
trying alone what was unacknowledged, and by asking on another connection, which stood before the cut, whether
the broker still answers there::

    what happened                                    what follows
    ------------------------------------------------------------------------------------------------------
    the connection was cut                           what was unacknowledged is suspected, and is published
                                                     alone, one after the other
    a suspect is acknowledged, or refused in words   it is none any more
    cut while it alone was unacknowledged, and       PROVEN of these: it is set aside
    the other connection answers after it
    the same, the other connection ended too, but    it is tried again; OPEN of these: it waits for
    something else was acknowledged before it        `Suspicion.pause` seconds while the rest goes on;
                                                     GIVE_UP of these, which takes hours: it is set aside
    the same, and nothing else was acknowledged      it is tried again: that broker takes nothing at all
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple

Key = int | str
"""A publication: the number of a report, or the topic of a retained state."""

PROVEN = 3
"""Cuts that only the publication explains, until it is set aside."""

OPEN = 5
"""Cuts that a broker that goes down explains as well, until the rest goes first."""

GIVE_UP = 16
"""Such cuts until it is set aside: with the pauses between them that takes more than two hours."""

PAUSE, LONGEST_PAUSE = 10.0, 1800.0
"""Seconds until one that waits is tried again; twice as long each time."""


class Verdict(Enum):
    """What to do with a suspect after a cut."""

    TRY_AGAIN = auto()
    WAIT = auto()
    """Let the rest go first."""
    SET_ASIDE = auto()


class Suspicion(NamedTuple):
    """What is held against one publication."""

    proven: int = 0
    open: int = 0

    def after_cut(self, *, witnessed: bool) -> "Suspicion":
        """Return it after one more cut; ``witnessed`` says that another connection stood all the while."""
        return self._replace(proven=self.proven + 1) if witnessed else self._replace(open=self.open + 1)

    def verdict(self, proven: int = PROVEN) -> Verdict:
        """Return what to do; ``proven`` cuts are enough."""
        if self.proven >= proven or self.proven + self.open >= GIVE_UP:
            return Verdict.SET_ASIDE
        return Verdict.WAIT if self.open >= OPEN else Verdict.TRY_AGAIN

    @property
    def pause(self) -> float:
        """Seconds that one waits before it is tried again."""
        return float(min(LONGEST_PAUSE, PAUSE * 2 ** max(0, self.open - OPEN)))


class Sizes:
    """What is learned of the largest packet that the broker takes, where it does not tell."""

    def __init__(self) -> None:
        self._taken = 0
        self._refused: int | None = None

    def taken(self, size: int) -> None:
        """The broker took ``size`` bytes."""
        self._taken = max(self._taken, size)
        if self._refused is not None and size >= self._refused:
            self._refused = None  # it was not the size

    def refused(self, size: int) -> None:
        """The broker proved not to take a publication of ``size`` bytes."""
        if size > self._taken:
            self._refused = size if self._refused is None else min(size, self._refused)

    def doubtful(self, size: int) -> bool:
        """Whether ``size`` bytes are as many as were refused already."""
        return self._refused is not None and size >= self._refused


class Suspects:
    """The suspected publications, in the order in which they are tried."""

    def __init__(self) -> None:
        self.sizes = Sizes()
        self._records: dict[Key, Suspicion] = {}
        self._queue: dict[Key, None] = {}
        self._acknowledged = 0
        """Publications that the broker has acknowledged."""
        self._at_cut: dict[Key, int] = {}
        """As many there were when the connection was last cut with a suspect alone in flight."""

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __contains__(self, key: Key) -> bool:
        return key in self._queue

    @property
    def first(self) -> Key | None:
        """The one to try now."""
        return next(iter(self._queue), None)

    def suspect(self, keys: Iterable[Key]) -> None:
        """Try ``keys`` alone."""
        for key in keys:
            self._queue[key] = None

    def try_first(self, key: Key) -> None:
        """Try ``key`` alone, before the others: whether the broker takes anything."""
        self._queue = {key: None, **self._queue}

    def acknowledged(self, key: Key) -> None:
        """The broker has ``key``."""
        self._acknowledged += 1
        self.clear(key)

    def clear(self, key: Key) -> None:
        """Forget what was held against ``key``."""
        for held in (self._queue, self._records, self._at_cut):
            held.pop(key, None)

    def cut(self, key: Key, *, witnessed: bool, size: int) -> Verdict:
        """Return what to do with ``key``, of ``size`` bytes, after a cut while it alone was in flight.

        It is tried again only after `TRY_AGAIN`, and after a pause (`pause`) if it is suspected again.
        """
        before, self._at_cut[key] = self._at_cut.get(key), self._acknowledged
        if not witnessed and before == self._acknowledged:
            return Verdict.TRY_AGAIN
        record = self._records[key] = self._records.get(key, Suspicion()).after_cut(witnessed=witnessed)
        verdict = record.verdict(1 if self.sizes.doubtful(size) else PROVEN)
        if verdict is not Verdict.TRY_AGAIN:
            self._queue.pop(key, None)
        if verdict is Verdict.SET_ASIDE:
            self.clear(key)
            if record.proven:
                self.sizes.refused(size)
        return verdict

    def pause(self, key: Key) -> float:
        """Return the seconds that ``key`` waits before it is tried again."""
        return self._records.get(key, Suspicion()).pause
