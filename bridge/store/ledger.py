"""Figures beside the messages: depth, results by state, bytes by day.

They are summed in memory during a transaction and written once at its end. Reading them needs no disk, so
they can be reported while a commit hangs.
"""

import json
from collections import Counter
from typing import Any

from bridge.core.days import begin_of, month_of, utc_day
from bridge.core.messages import Channel, Now, Priority, Traffic
from bridge.store.database import Database
from bridge.store.usage import Meter, Usage

UNWRITTEN = 1000
"""Messages that may be added before the sums are written. A start counts those that came since."""

COUNTED = 10_000
"""Reports that a start adds up. Of more it takes the sum, in which the last removals may be missing."""

_dumps = json.JSONEncoder(separators=(",", ":")).encode

Depth = dict[tuple[Channel, Priority], tuple[int, int]]
"""Messages and payload bytes by channel and priority."""


class Ledger:
    """The figures of the last commit, plus what the open transaction adds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.writes = 0
        """How often the sums were written."""
        self.upto: int
        """Number of the newest message that the sums on disk count."""
        self.depth: Depth
        self.messages: int
        self.bytes: int
        self.counts: Counter[str]
        self.report_bytes: int
        """Bytes of the reports that wait for the broker: payloads, topics and properties."""
        self.ended: int
        self.ended_bytes: int
        """Number of idempotency keys with a result, and the bytes of both."""
        self.usage: Usage
        """Bytes and SMS by day."""
        self._changed: bool
        self._added: int
        """Whether the sums are to be written, and the messages added since they were."""
        self.reset()

    def reset(self) -> None:
        """Read what the database has, as after a transaction that was rolled back."""
        run = self._database.execute
        self.upto, text = run("sums_get").fetchone() or (0, "{}")
        sums: dict[str, Any] = json.loads(text)
        self.depth = {}
        self.messages = self.bytes = 0
        # What is missing, as in a new file and after a repair, is computed from the rows.
        for channel, priority, *held in (*sums.get("depth", ()), *run("depth_count", (self.upto,))):
            self.move(Channel(channel), Priority(priority), *held)
        self.counts = Counter(sums.get("counts"))
        self.report_bytes = self._report_bytes(sums.get("reports"))
        self.ended, self.ended_bytes = sums["ended"] if "ended" in sums else run("key_ended").fetchone()
        self.usage = Usage(self._database, sums)
        self._changed, self._added = False, 0

    def _report_bytes(self, summed: int | None) -> int:
        if summed is not None and self._database.execute("report_count").fetchone()[0] > COUNTED:
            return summed
        return int(self._database.execute("report_bytes").fetchone()[0])

    def add(self, channel: Channel, priority: Priority, size: int) -> None:
        """Add a new message of ``size`` bytes within the transaction."""
        self.move(channel, priority, 1, size)
        self._added += 1

    def remove(self, channel: Channel, priority: Priority, size: int) -> None:
        """Remove a message of ``size`` bytes within the transaction."""
        self.move(channel, priority, -1, -size)
        self._changed = True

    def move(self, channel: Channel, priority: Priority, messages: int, size: int) -> None:
        """Add ``messages`` and ``size`` bytes (negative: remove them) to the depth."""
        before = self.depth.get((channel, priority), (0, 0))
        self.depth[channel, priority] = (before[0] + messages, before[1] + size)
        self.messages += messages
        self.bytes += size

    def reported(self, size: int) -> None:
        """Add the ``size`` in bytes of a report (negative: of a removed one) within the transaction."""
        self.report_bytes += size
        self._changed = self._changed or size > 0

    def ended_key(self, number: int, size: int) -> None:
        """Add ``number`` keys with results of ``size`` bytes (negative: remove) within the transaction."""
        if number:
            self.ended += number
            self.ended_bytes += size
            self._changed = True

    def count(self, name: str, number: int = 1) -> None:
        """Count an occurrence; the count never starts over."""
        self.counts[name] += number
        self._changed = True

    def note(self, name: str) -> None:
        """Count an occurrence that is not worth a write; it is written with the next change."""
        self.counts[name] += 1

    def spend(self, traffic: Traffic, *, over_modem: bool = False, own: bool = False) -> None:
        """Add the bytes that the IP layer carried.

        ``over_modem`` says: by a modem's own sockets, at any rate; ``own``: over the own network, not a SIM.
        """
        self.usage.spend(traffic, over_modem=over_modem, own=own)

    def metered(self) -> None:
        """Have the sums written with this transaction: an interface has counted on."""
        self._changed = True

    def flush(self, now: Now, last_seq: int, meter: Meter, *, known: bool) -> None:
        """Write the sums where the transaction changed more than a start can count.

        ``now`` tells the day of the bytes, if the time is ``known``; ``last_seq`` is the number of the newest
        message.
        """
        if self.usage.settle(now, known=known, meter=meter):
            self._changed = True
        if not self._changed and self._added < UNWRITTEN:
            return
        self._changed, self._added, self.upto = False, 0, last_seq
        self.writes += 1
        depth = [(*key, *held) for key, held in self.depth.items() if held[0]]
        sums = {"depth": depth, "counts": self.counts, "reports": self.report_bytes}
        sums |= {"ended": (self.ended, self.ended_bytes), **self.usage.write()}
        self._database.execute("sums_set", (last_seq, _dumps(sums)))

    def spent(self, wall: float | None = None, month: str | None = None) -> tuple[Traffic, Traffic]:
        """Return the bridge's own bytes of the UTC day of ``wall`` and of its month.

        Without ``wall`` (Unix seconds) it is the present day. The month began on the day ``month``, without
        it on the first.
        """
        day = self.usage.clock.day if wall is None else utc_day(wall)
        if not day:
            return Traffic(), Traffic()
        since = self.usage.since(month_of(day, 1) if month is None else month)
        spent = [each.traffic for on, each in since if on <= day]
        return self.usage.of(day).traffic, Traffic(
            sum(each.up for each in spent), sum(each.down for each in spent)
        )

    def over_sim(self, month: str | None = None) -> tuple[int, int]:
        """Return how many of the bridge's bytes of today and of the month, as in `spent`, took the SIM."""
        day = self.usage.clock.day
        since = self.usage.since(month_of(day, 1) if month is None else month) if day else []
        return self.usage.of(day).use.own, sum(each.use.own for on, each in since if on <= day)


def is_sums(text: Any) -> bool:
    """Whether these are sums as `Ledger.flush` writes them; in a damaged file they may not be."""
    try:
        sums = json.loads(text)
        Counter(sums["counts"]).total()
        numbers = [
            sums.get("reports", 0),
            *sums.get("ended", ()),
            *sums["counts"].values(),
            *(number for key, size in _PAIRS.items() for number in _listed(sums.get(key, ()), size)),
            *_listed(sums.get("meter", ()), 3)[1:],
            round(sums.get("ran", 0)),
        ]
        for channel, priority, *held in sums.get("depth", ()):
            Channel(channel), Priority(priority)
            numbers += held
        day = sums.get("day", "")
        utc = not day or utc_day(begin_of(day)) == day
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return False
    return all(type(number) is int for number in numbers) and utc


_PAIRS = {"spent": 2, "ahead": 2, "use": 4}
"""The lists of numbers in the sums, and how many each has; it may be empty too."""


def _listed(found: Any, size: int) -> list[Any]:
    """Return the list ``found``; raises ValueError where it has another length than ``size``, or none."""
    if not isinstance(found, list | tuple) or len(found) not in (0, size):
        raise ValueError
    return list(found)
