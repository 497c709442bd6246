"""Suspects: the publications for which the broker may have cut the connection.

A broker may end the connection for a publication that it does not accept, often without a reason, and ends it
again at each repetition. A broker that is shutting down looks the same. Two tests tell them apart: each
publication that was unacknowledged is tried alone, and a second connection, established before the cut, is
asked whether the broker still answers there::

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
"""Number of cuts that only the publication explains, after which it is set aside."""

OPEN = 5
"""Number of cuts that a broker's shutdown explains as well, after which the other publications go first."""

GIVE_UP = 16
"""Number of such cuts after which it is set aside: with the pauses that takes more than two hours."""

PAUSE, LONGEST_PAUSE = 10.0, 1800.0
"""Seconds before a waiting suspect is tried again: the first pause, doubled each time, and the longest."""


class Verdict(Enum):
    """What to do with a suspect after a cut."""

    TRY_AGAIN = auto()
    WAIT = auto()
    """Let the other publications go first."""
    SET_ASIDE = auto()


class Suspicion(NamedTuple):
    """The evidence against one publication."""

    proven: int = 0
    open: int = 0

    def after_cut(self, *, witnessed: bool) -> "Suspicion":
        """Return the evidence after one more cut; ``witnessed``: another connection survived the cut."""
        return self._replace(proven=self.proven + 1) if witnessed else self._replace(open=self.open + 1)

    def verdict(self, proven: int = PROVEN) -> Verdict:
        """Return what to do; ``proven`` cuts are enough to set the publication aside."""
        if self.proven >= proven or self.proven + self.open >= GIVE_UP:
            return Verdict.SET_ASIDE
        return Verdict.WAIT if self.open >= OPEN else Verdict.TRY_AGAIN

    @property
    def pause(self) -> float:
        """Seconds before the next try of a suspect that waits."""
        return float(min(LONGEST_PAUSE, PAUSE * 2 ** max(0, self.open - OPEN)))


class Sizes:
    """The largest packet that the broker accepts, learned where the broker does not announce it."""

    def __init__(self) -> None:
        self._taken = 0
        self._refused: int | None = None

    def taken(self, size: int) -> None:
        """Note that the broker accepted ``size`` bytes."""
        self._taken = max(self._taken, size)
        if self._refused is not None and size >= self._refused:
            self._refused = None  # it was not the size

    def refused(self, size: int) -> None:
        """Note a proof that the broker does not accept a publication of ``size`` bytes."""
        if size > self._taken:
            self._refused = size if self._refused is None else min(size, self._refused)

    def doubtful(self, size: int) -> bool:
        """Return whether a publication of ``size`` bytes or fewer was refused before."""
        return self._refused is not None and size >= self._refused


class Suspects:
    """The suspected publications, in the order in which they are tried."""

    def __init__(self) -> None:
        self.sizes = Sizes()
        self._records: dict[Key, Suspicion] = {}
        self._queue: dict[Key, None] = {}
        self._acknowledged = 0
        """Number of publications that the broker has acknowledged."""
        self._at_cut: dict[Key, int] = {}
        """The value of ``_acknowledged`` at the last cut with the suspect alone in flight."""

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __contains__(self, key: Key) -> bool:
        return key in self._queue

    @property
    def first(self) -> Key | None:
        """The suspect to try now."""
        return next(iter(self._queue), None)

    def suspect(self, keys: Iterable[Key]) -> None:
        """Add ``keys`` to those that are tried alone."""
        for key in keys:
            self._queue[key] = None

    def try_first(self, key: Key) -> None:
        """Try ``key`` alone before the others, to learn whether the broker accepts anything."""
        self._queue = {key: None, **self._queue}

    def acknowledged(self, key: Key) -> None:
        """Note that the broker acknowledged ``key``."""
        self._acknowledged += 1
        self.clear(key)

    def clear(self, key: Key) -> None:
        """Drop the evidence against ``key``."""
        for held in (self._queue, self._records, self._at_cut):
            held.pop(key, None)

    def cut(self, key: Key, *, witnessed: bool, size: int) -> Verdict:
        """Return what to do with ``key``, of ``size`` bytes, after a cut while it alone was in flight.

        It is tried again only after `TRY_AGAIN`, or, after a `pause`, if it is suspected again.
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
        """Return the seconds before the next try of ``key``."""
        return self._records.get(key, Suspicion()).pause
