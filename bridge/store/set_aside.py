"""Set aside: reports and deliveries that could not be passed on, kept until a person drops or retries them.

At most `KEPT` entries are kept, in at most a `SHARE` of ``store.max_bytes``. The oldest are dropped first;
the newest always stays. Writes run inside the writer's transaction.
"""

from enum import Enum
from typing import NamedTuple

from bridge.store.database import Database

KEPT = 1000
"""Entries kept at most."""

SHARE = 10
"""Part of ``store.max_bytes`` that payloads, topics and properties take at most: a tenth."""


class Kind(Enum):
    """The direction of an entry."""

    REPORT = "report"
    """From the bridge to the broker."""
    DELIVERY = "delivery"
    """From the broker to the bridge."""


class Row(NamedTuple):
    """A report or delivery that could not be passed on."""

    kind: Kind
    topic: str
    payload: bytes
    properties: str | None
    retain: bool
    reason: str
    at: float
    """Time of setting aside, in Unix seconds."""
    id: int = 0
    """Its number, by which a person names it; 0 before it has one."""

    @property
    def size(self) -> int:
        """Bytes that count against the limit: payload, topic and properties."""
        return len(self.payload) + len(self.topic) + len(self.properties or "")


class Entry(NamedTuple):
    """One line of the list."""

    id: int
    kind: Kind
    topic: str
    bytes: int
    """Bytes of the payload."""
    reason: str
    at: float


class SetAside:
    """The table ``set_aside``, and its size, which is read from memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.rows = 0
        self.bytes = 0
        self.reset()

    def reset(self) -> None:
        """Count the entries on disk: at the start, and after a rollback."""
        self.rows, self.bytes = self._database.execute("aside_sums").fetchone()

    def add(self, row: Row, max_bytes: int) -> tuple[int, int]:
        """Keep ``row``; return its number, and how many older entries were dropped for it."""
        self._database.execute(
            "aside_add",
            (row.kind.value, row.topic, row.payload, row.properties, row.retain, row.reason, row.at),
        )
        number = int(self._database.execute("aside_last").fetchone()[0])
        self.rows += 1
        self.bytes += row.size
        gone = 0
        while self.rows > 1 and (self.rows > KEPT or self.bytes > max_bytes // SHARE):
            gone += self.drop(self._database.execute("aside_first").fetchone()[0])
        return number, gone

    def entries(self, limit: int) -> list[Entry]:
        """Return up to ``limit`` entries, oldest first."""
        rows = self._database.execute("aside_list", (limit,))
        return [Entry(number, Kind(kind), *rest) for number, kind, *rest in rows]

    def ids(self) -> list[int]:
        """Return the numbers of all entries, oldest first."""
        return [entry.id for entry in self.entries(KEPT)]

    def get(self, number: int) -> Row | None:
        """Return the entry ``number``, None without one."""
        row = self._database.execute("aside_get", (number,)).fetchone()
        if row is None:
            return None
        kind, topic, payload, properties, retain, reason, at = row
        return Row(Kind(kind), topic, payload, properties, bool(retain), reason, at, number)

    def drop(self, number: int) -> bool:
        """Drop the entry ``number``; return False if there is none."""
        sizes = self._database.execute("aside_drop", (number,)).fetchall()
        for (size,) in sizes:
            self.rows -= 1
            self.bytes -= size
        return bool(sizes)
