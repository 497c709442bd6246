"""Reports: publications that stay on disk until the broker has acknowledged them.

The last ones stay in memory too, because the publisher asks for them as soon as they are durable.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import NamedTuple

from bridge.store.database import Database
from bridge.store.ledger import Ledger

RECENT, RECENT_SIZE = 128, 4096
"""Reports that are kept in memory after their commit, and bytes of one of them, at most."""


class Report(NamedTuple):
    """A durable publication to the broker."""

    seq: int
    topic: str
    payload: bytes
    properties: str | None
    retain: bool

    @property
    def size(self) -> int:
        """Bytes of topic, payload and properties."""
        return len(self.topic) + len(self.payload) + len(self.properties or "")


class Reports:
    """The rows of ``report``; what writes runs inside the writer's transaction."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._next = (database.execute("report_last").fetchone()[0] or 0) + 1
        self._added: list[Report] = []
        """Those of the open transaction that are not written yet."""
        self._recent: deque[Report] = deque(maxlen=RECENT)
        """The last ones, one after the other."""

    def add(self, topic: str, payload: bytes, properties: str | None = None, *, retain: bool = False) -> None:
        """Store a publication until the broker has acknowledged it."""
        report = Report(self._next, topic, payload, properties, retain)
        self._added.append(report)
        self._next += 1
        self._ledger.reported(report.size)

    def flush(self) -> None:
        """Write what the transaction adds, by one statement."""
        if not self._added:
            return
        self._database.execute_many("report_add", self._added)
        for report in self._added:
            if report.size > RECENT_SIZE:
                self._recent.clear()  # those before it are read again, and so is it
            else:
                self._recent.append(report)
        self._added = []

    def reset(self) -> None:
        """Forget what a rolled-back transaction added. The numbers that it drew stay unused."""
        self._added.clear()
        self._recent.clear()

    def after(self, seq: int, limit: int) -> list[Report]:
        """Return up to ``limit`` publications with numbers above ``seq``."""
        self.flush()
        recent = self._recent
        while recent and recent[0].seq <= seq:
            recent.popleft()
        if recent and recent[0].seq == seq + 1:
            return list(islice(recent, limit))
        return [Report(*row) for row in self._database.execute("report_after", (seq, limit))]

    def get(self, seq: int) -> Report | None:
        """Return the publication numbered ``seq``, None if it is gone."""
        self.flush()
        row = self._database.execute("report_get", (seq,)).fetchone()
        return Report(*row) if row else None

    def sent(self, seqs: Iterable[int]) -> None:
        """Remove publications that the broker has acknowledged."""
        self.flush()
        for first, last in _runs(seqs):
            while self._recent and self._recent[0].seq <= last:
                self._recent.popleft()
            sizes = self._database.execute("report_drop", (first, last)).fetchall()
            self._ledger.reported(-sum(size for (size,) in sizes))


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last number of each run of consecutive numbers."""
    for _, run in groupby(enumerate(sorted({*numbers})), lambda each: each[1] - each[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]
