"""Days and months in UTC, and the day that a box without the time goes on with."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from bridge.core.messages import Now

DAY = 86400.0
"""Seconds."""

FIRST = "2023-01-01"
"""An earlier day is that of a clock which has never been set: it is before the first release."""


def utc_day(wall: float) -> str:
    """Return the UTC date of ``wall`` (Unix seconds) as ``YYYY-MM-DD``."""
    return _date(int(wall // DAY))


@lru_cache(maxsize=2)
def _date(day: int) -> str:
    """Return the date that is ``day`` days after 1970-01-01; cached, because each result asks for today's."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def day_after(day: str, days: int = 1) -> str:
    """Return the date ``days`` after ``day``."""
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def month_of(day: str, starts: int) -> str:
    """Return the first day of the month of ``day``, where months begin on the day ``starts`` (1 to 28)."""
    found = date.fromisoformat(day)
    if found.day < starts:
        found = found.replace(day=1) - timedelta(days=1)
    return found.replace(day=starts).isoformat()


def month_after(first: str) -> str:
    """Return the first day of the month after that which begins on ``first``."""
    return month_of(day_after(first, 31), int(first[8:]))


def begin_of(day: str) -> float:
    """Return the Unix seconds at which ``day`` begins."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


class DayClock(NamedTuple):
    """The present day. Without the time it goes on, and another begins after each 24 hours of running."""

    day: str = ""
    """The date; empty before the first."""
    ran: float = 0.0
    """Seconds of running in this day for which the time was not known."""
    mono: float | None = None
    """Monotonic time of the last look; None after a start."""

    def at(self, now: Now, *, known: bool) -> "DayClock":
        """Return the clock at ``now``; ``known`` says whether its wall time can be trusted."""
        if known or not self.day:
            return DayClock(utc_day(now.wall), 0.0, now.mono)
        ran = self.ran + max(0.0, now.mono - (now.mono if self.mono is None else self.mono))
        return DayClock(day_after(self.day, int(ran // DAY)) if ran >= DAY else self.day, ran % DAY, now.mono)

    @property
    def dated(self) -> bool:
        """Whether the day is a date, and not that of a clock that was never set."""
        return self.day >= FIRST
