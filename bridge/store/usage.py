"""Usage: the bytes and SMS of each day, as they are billed.

The present day is in the sums, which are written with a result; the days before are rows of `usage`. So a
message writes nothing more for it. What is in flight at a power cut would be missing. So the sums also hold
the bytes that exchanges in flight may cost, and a start that finds some counts them as spent.
"""

from typing import Any, NamedTuple, Protocol

from bridge.core.budget import Reading, Use, Way
from bridge.core.days import DayClock
from bridge.core.messages import Now, Traffic
from bridge.store.database import Database

DAYS = 800
"""Days that are kept: more than two years."""


class Meter(Protocol):
    """What is known of the bytes in flight."""

    @property
    def way(self) -> Way:
        """How the bridge's own bytes count now."""

    def ahead(self, written: Traffic) -> Traffic:
        """Return what the exchanges in flight may cost at most; ``written`` is the present note of it."""


class NoMeter:
    """Nothing is in flight, and the bridge counts its bytes itself."""

    way = Way.APART

    def ahead(self, written: Traffic) -> Traffic:  # noqa: ARG002  as a meter's
        """Return nothing."""
        return Traffic()


class Day(NamedTuple):
    """The figures of one day."""

    traffic: Traffic = Traffic()
    """The bridge's own bytes, over the SIM or not."""
    use: Use = Use()

    def plus(self, other: "Day") -> "Day":
        """Return the sum."""
        return Day(self.traffic.plus(other.traffic), self.use.plus(other.use))


class Usage:
    """The figures by day on disk, plus what the open transaction and an interface add."""

    def __init__(self, database: Database, sums: dict[str, Any]) -> None:
        self._database = database
        self.clock = DayClock(sums.get("day", ""), sums.get("ran", 0.0))
        """The day that counts."""
        self._today = Day(Traffic(*sums.get("spent", ())), _use_of(sums))
        """What the sums hold of this day; more may be in `_days`."""
        self.ahead = Traffic(*sums.get("ahead", ()))
        """The bytes in flight that were written ahead."""
        self._reading = Reading(*sums["meter"]) if sums.get("meter") else None
        self._days = {
            day: Day(Traffic(up, down), Use(*use)) for day, up, down, *use in database.execute("usage_all")
        }
        self._ended: list[tuple[str, Day]] = []
        """Days that ended, and are to be written."""
        self._traffic, self._over_modem, self._off_sim, self._texts = Traffic(), 0, 0, 0
        """What the open transaction adds."""
        self._off = bool(sums.get("off"))
        """Whether the bytes in flight do not go over the SIM."""
        self.unwritten = False
        """Whether an interface has counted on since the figures were written."""

    # -- counting ----------------------------------------------------------------------------------------

    def spend(self, traffic: Traffic, *, over_modem: bool = False, own: bool = False) -> None:
        """Add bytes that the IP layer carried for the bridge.

        Those ``over_modem`` went over its own sockets, and so over the SIM, whatever way the others take. The
        ``own`` ones went over the own network, for which the modem is only the backup.
        """
        self._traffic = self._traffic.plus(traffic)
        if over_modem:
            self._over_modem += traffic.up + traffic.down
        if own:
            self._off_sim += traffic.up + traffic.down

    def count_texts(self, number: int) -> None:
        """Add SMS that went out."""
        self._texts += number

    def metered(self, reading: Reading) -> None:
        """Add what an interface has carried since it was read last; it is written with the next sums."""
        more = reading.since(self._reading)
        self._reading = reading
        if more:
            self._add(Day(use=Use(link=more)))
            self.unwritten = True

    def turn(self, now: Now, *, known: bool) -> bool:
        """Begin another day where it is time; return whether it was. ``known`` says that the time is."""
        before, self.clock = self.clock, self.clock.at(now, known=known)
        if self.clock.day == before.day:
            return False
        # What a box spent before it ever had the time is of the first day that it knows.
        if before.day and (before.dated or not self.clock.dated):
            self._ended.append((before.day, self._today))
            self._days[before.day] = self._days.get(before.day, Day()).plus(self._today)
            self._days = dict(sorted(self._days.items())[-DAYS + 1 :])
            self._today = Day()
        return True

    def recover(self) -> bool:
        """Count what was in flight when the bridge ended without a farewell; return whether there was any."""
        lost, self.ahead = self.ahead, Traffic()
        if lost == (0, 0):
            return False
        self._add(Day(lost, Use(own=0 if self._off else lost.up + lost.down)))
        return True

    def _add(self, more: Day) -> None:
        self._today = self._today.plus(more)

    # -- writing -----------------------------------------------------------------------------------------

    def settle(self, now: Now, *, known: bool, meter: Meter) -> bool:
        """Count what the transaction adds; return whether the sums are to be written for it."""
        added = self._traffic != (0, 0) or self._texts > 0
        if added:
            self.turn(now, known=known)
            every, over_modem = self._traffic.up + self._traffic.down - self._off_sim, self._over_modem
            own = over_modem if meter.way is Way.OFF else every
            apart = every if meter.way is Way.APART else over_modem
            self._add(Day(self._traffic, Use(own, apart, 0, self._texts)))
            self._traffic, self._over_modem, self._off_sim, self._texts = Traffic(), 0, 0, 0
        self._off = meter.way is Way.OFF
        written, self.ahead = self.ahead, meter.ahead(self.ahead)
        more = self.ahead.up > written.up or self.ahead.down > written.down
        return added or more or (self.ahead == (0, 0)) != (written == (0, 0))

    def write(self) -> dict[str, Any]:
        """Write the days that ended, and return what the sums hold of the present one."""
        for day, figures in self._ended:
            self._database.execute("usage_add", (day, *figures.traffic, *figures.use))
        if self._ended:
            self._database.execute("usage_trim", (DAYS - 1,))
            self._ended = []
        self.unwritten = False
        day, ran, _ = self.clock
        found: dict[str, Any] = {
            "day": day,
            "spent": self._today.traffic,
            "use": self._today.use,
            "ahead": self.ahead,
        }
        if self._off:
            found["off"] = True
        if ran:
            found["ran"] = round(ran)
        if self._reading:
            found["meter"] = self._reading
        return found

    # -- looking -----------------------------------------------------------------------------------------

    def of(self, day: str) -> Day:
        """Return the figures of ``day``."""
        found = self._days.get(day, Day())
        return found.plus(self._today) if day == self.clock.day else found

    def since(self, day: str) -> list[tuple[str, Day]]:
        """Return each day from ``day`` on that has figures, in their order, the present one included."""
        days = sorted({each for each in self._days if each >= day} | {self.clock.day})
        return [(each, self.of(each)) for each in days if each >= day]


def _use_of(sums: dict[str, Any]) -> Use:
    if "use" in sums:
        return Use(*sums["use"])
    spent = sum(sums.get("spent", ()))  # as version 4 wrote them
    return Use(spent, spent)
