"""The budget: what went over the SIM, its bounds, and which messages may go.

Values and decisions; `bridge.flow.message.budget` has the clock, the counters and the messages.
"""

from enum import Enum, auto
from math import floor
from typing import NamedTuple

from bridge.core.messages import Priority

WRAP = 1 << 32
"""Where a counter of 32 bits begins again."""

BOUNDS = ("day", "month", "sms_day", "sms_month")
"""The names of the bounds."""


class Way(Enum):
    """How the bridge's own bytes count."""

    LINK = auto()
    """They are among those that a link's interface counts."""
    APART = auto()
    """Nothing but the bridge counts them: no modem is managed, or its own sockets are the link."""
    OFF = auto()
    """They do not go over the SIM."""


class Use(NamedTuple):
    """What went over the SIM in some time, in bytes of the IP layer, and the SMS that went out."""

    own: int = 0
    """Bytes of the bridge."""
    apart: int = 0
    """Those of them that no interface counts."""
    link: int = 0
    """Bytes that interfaces counted, of whatever program."""
    texts: int = 0
    """SMS; a long one counts its parts."""

    def plus(self, other: "Use") -> "Use":
        """Return the sum."""
        return Use(
            self.own + other.own,
            self.apart + other.apart,
            self.link + other.link,
            self.texts + other.texts,
        )

    @property
    def bytes(self) -> int:
        """All bytes. A link that was lost has taken its last count along, and then the bridge knows more."""
        return max(self.own, self.link + self.apart)


class Reading(NamedTuple):
    """The counters of an interface at a moment."""

    name: str
    """Names this connection: another has counters of its own, which began at zero."""
    received: int
    sent: int

    def since(self, before: "Reading | None") -> int:
        """Return the bytes in both directions since ``before``; all of them for a new connection."""
        if before is None or before.name != self.name:
            return self.received + self.sent
        return _more(before.received, self.received) + _more(before.sent, self.sent)


def _more(before: int, now: int) -> int:
    """Return by how much a counter has grown: one that went back has wrapped, or begun again at zero."""
    if now >= before:
        return now - before
    wrapped = WRAP * 3 // 4 <= before < WRAP and now < WRAP // 4
    return now + WRAP - before if wrapped else now


_NO_BOUND = (None,) * len(BOUNDS)


class Bounds(NamedTuple):
    """The bounds, None without one; ``reserve`` is the percentage of each that high priority keeps."""

    day: int | None = None
    month: int | None = None
    sms_day: int | None = None
    sms_month: int | None = None
    reserve: float = 10.0

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self[: len(BOUNDS)] != _NO_BOUND


class Spent(NamedTuple):
    """What counts against each bound now, with what is in flight."""

    day: int = 0
    month: int = 0
    own_day: int = 0
    own_month: int = 0
    sms_day: int = 0
    sms_month: int = 0


def held_by(
    bounds: Bounds, spent: Spent, priority: Priority, *, texts: int = 0, metered: bool = True
) -> str | None:
    """Return the name of the bound for which a message has to wait, None if it may go.

    ``texts`` is the number of SMS that it is; ``metered`` says whether its bytes go over the SIM.

    A message may start while its bound is not reached, so that the bound is exceeded by what is in flight at
    most. The size of the message plays no part: a small one does not overtake a large one.
    """
    high = priority is Priority.HIGH
    for name in ("day", "month") if metered else ():
        limit, used = getattr(bounds, name), getattr(spent, name)
        if limit is None:
            continue
        # What others have used up does not silence an alarm.
        if high:
            used = min(used, getattr(spent, f"own_{name}"))
        if used >= (limit if high else limit * (1 - bounds.reserve / 100)):
            return name
    for name in ("sms_day", "sms_month") if texts else ():
        limit = getattr(bounds, name)
        if limit is not None and getattr(spent, name) + texts > limit - (0 if high else _kept(limit, bounds)):
            return name
    return None


def _kept(limit: int, bounds: Bounds) -> int:
    """Return how many of ``limit`` SMS are for high priority; of a few none are."""
    return floor(limit * bounds.reserve / 100)


def percent(used: int, limit: int) -> int:
    """Return the whole percents of ``limit`` that are used; a bound of nothing is used up."""
    return used * 100 // limit if limit else 100


class Prices(NamedTuple):
    """``prices`` of the configuration."""

    mb: float | None = None
    """For 1,000,000 bytes."""
    sms: float | None = None
    """For one SMS, or one part of a long one."""
    currency: str = "USD"

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self.mb is not None or self.sms is not None

    def of(self, bytes_: int, texts: int) -> float | None:
        """Return the price of ``bytes_`` and ``texts``; a missing one counts as nothing.

        None: there is no price at all.
        """
        if not self.any:
            return None
        return round(bytes_ / 1_000_000 * (self.mb or 0.0) + texts * (self.sms or 0.0), 6)
