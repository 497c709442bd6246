"""Figures beside the messages: depth, results by state, bytes by day.

They are summed in memory during a transaction and written once at its end. Reading them needs no disk, so
they can be reported while a commit hangs.
"""

from collections import Counter
from datetime import UTC, datetime

from bridge.core.messages import Channel, Priority, Traffic
from bridge.store.database import Database

DAYS = 800
"""Days whose bytes are kept: more than two years."""

Depth = dict[tuple[Channel, Priority], tuple[int, int]]
"""Messages and payload bytes by channel and priority."""


def utc_day(wall: float) -> str:
    """Return the UTC date of ``wall`` (Unix seconds) as ``YYYY-MM-DD``."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d")


class Ledger:
    """The figures of the last commit, plus what the open transaction adds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.depth: Depth = {
            (Channel(channel), Priority(priority)): (messages, size)
            for channel, priority, messages, size in database.execute("depth_all")
        }
        rows = database.execute("meta_get_like", ("count:*",))
        self.counts: Counter[str] = Counter({key.partition(":")[2]: value for key, value in rows})
        self.report_bytes = self._report_bytes()
        """Bytes of the reports that wait for the broker: payloads, topics and properties."""
        self.ended, self.ended_bytes = self._ended_ids()
        """Number of idempotency keys with a result, and the bytes of both."""
        self.messages = sum(messages for messages, _ in self.depth.values())
        self.bytes = sum(size for _, size in self.depth.values())
        self._days = {day: Traffic(up, down) for day, up, down in database.execute("usage_all")}
        self._moved: dict[tuple[Channel, Priority], list[int]] = {}
        self._counted: Counter[str] = Counter()
        self._traffic = Traffic()
        self._reported = 0
        self._ended_before = self.ended, self.ended_bytes

    def _ended_ids(self) -> tuple[int, int]:
        rows = dict(self._database.execute("meta_get_like", ("ended_*",)).fetchall())
        if len(rows) == 2:
            return int(rows["ended_ids"]), int(rows["ended_bytes"])
        number, size = self._database.execute("key_ended").fetchone()
        return number, size

    def _report_bytes(self) -> int:
        row = self._database.execute("meta_get", ("report_bytes",)).fetchone()
        # The sum is missing in a new file, and after a repair: it is computed from the rows.
        return int(row[0] if row else self._database.execute("report_bytes").fetchone()[0])

    def move(self, channel: Channel, priority: Priority, messages: int, size: int) -> None:
        """Add ``messages`` and ``size`` bytes within the transaction; negative to remove them."""
        moved = self._moved.setdefault((channel, priority), [0, 0])
        moved[0] += messages
        moved[1] += size
        self.messages += messages
        self.bytes += size

    def reported(self, size: int) -> None:
        """Add ``size`` bytes of reports within the transaction; negative to remove them."""
        self._reported += size
        self.report_bytes += size

    def ended_key(self, number: int, size: int) -> None:
        """Add ``number`` keys with results of ``size`` bytes within the transaction.

        Negative to remove them.
        """
        self.ended += number
        self.ended_bytes += size

    def count(self, name: str, number: int = 1) -> None:
        """Add to the counter ``name``, which is never reset."""
        self._counted[name] += number

    def spend(self, traffic: Traffic) -> None:
        """Add bytes that the IP layer carried."""
        self._traffic = self._traffic.plus(traffic)

    def flush(self, wall: float) -> None:
        """Write the sums of the transaction; ``wall`` decides the day of the bytes."""
        for key, (messages, size) in self._moved.items():
            before = self.depth.get(key, (0, 0))
            self.depth[key] = (before[0] + messages, before[1] + size)
            self._database.execute("depth_set", (key[0].value, int(key[1]), *self.depth[key]))
        for name, number in self._counted.items():
            self.counts[name] += number
            self._database.execute("meta_set", (f"count:{name}", self.counts[name]))
        if self._reported:
            self._database.execute("meta_set", ("report_bytes", self.report_bytes))
        if self._ended_before != (self.ended, self.ended_bytes):
            self._ended_before = self.ended, self.ended_bytes
            self._database.execute("meta_set", ("ended_ids", self.ended))
            self._database.execute("meta_set", ("ended_bytes", self.ended_bytes))
        if self._traffic != (0, 0):
            day = utc_day(wall)
            if day not in self._days:
                self._forget_days()
            self._days[day] = self._days.get(day, Traffic()).plus(self._traffic)
            self._database.execute("usage_set", (day, *self._days[day]))
        self._clear()

    def _forget_days(self) -> None:
        """Make place for a day: keep the newest days, however many a stepping clock has made."""
        self._database.execute("usage_trim", (DAYS - 1,))
        self._days = dict(sorted(self._days.items())[-DAYS + 1 :])

    def _clear(self) -> None:
        self._moved.clear()
        self._counted.clear()
        self._traffic = Traffic()
        self._reported = 0

    def spent(self, wall: float) -> tuple[Traffic, Traffic]:
        """Return the bytes of the UTC day of ``wall``, and of its month."""
        day = utc_day(wall)
        month = [spent for each, spent in self._days.items() if each.startswith(day[:8])]
        return self._days.get(day, Traffic()), Traffic(
            sum(each.up for each in month), sum(each.down for each in month)
        )
