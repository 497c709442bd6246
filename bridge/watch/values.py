"""The values of the view, and how they are read from JSON that anybody may have published."""

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bridge.core.visible import visible

_TEXT_LIMIT = 200

_LARGEST = 1e15
"""The largest number that is taken for a figure; a larger one may have no form as a float."""

_BOUNDS = 4
"""Number of bounds that there are: bytes and SMS of day and month."""

_STALE = 1000.0
"""Seconds after which a retained health is newer at least once, with some to spare."""


class Line(NamedTuple):
    """One event: Unix seconds, a word for its kind, and the text."""

    at: float
    kind: str
    text: str


class Row(NamedTuple):
    """One message's life, or one batch's.

    ``queued_at`` is Unix seconds by the bridge's clock. ``ours_at`` is when the view
    received it, by its own; ``took`` is in seconds, ``up`` and ``down`` in bytes.
    """

    id: str
    to: str
    text: str
    queued_at: float
    ours_at: float
    state: str = "queued"
    took: float | None = None
    attempts: int = 0
    up: int = 0
    down: int = 0
    reason: str = ""


class Bound(NamedTuple):
    """One bound of the budget: name, limit and rest (bytes, or SMS), and whether messages wait for it."""

    name: str
    limit: float
    rest: float
    holds: bool

    @property
    def sms(self) -> bool:
        """Whether it counts SMS, not bytes."""
        return self.name.startswith("sms")


class Cost(NamedTuple):
    """The cost of today and of this month."""

    today: float
    month: float
    currency: str


class Health(NamedTuple):
    """The bridge's health.

    ``at`` is Unix seconds by the bridge's clock, ``ours_at`` by the view's; ``day`` is the date of the byte
    counters ``up`` and ``down``; ``memory`` in bytes, ``uptime`` and ``oldest`` in seconds.
    """

    state: str
    at: float
    ours_at: float
    day: str
    up: int
    down: int
    memory: float
    uptime: float
    queued: int
    oldest: float | None
    cloud: str
    """The condition of the cloud: ``up``, ``down`` or ``held``; empty while nothing was sent to it."""
    trouble: str
    """Why a destination is not up."""
    budget: tuple[Bound, ...]
    cost: Cost | None


def read_health(report: dict[str, Any], now: float) -> Health:
    """Return the health in the bridge's JSON; odd JSON raises anything.

    It was received at ``now``, in Unix seconds.
    """
    today, waiting = report["bytes"]["today"], report["queue"]
    at = unix(report["at"])
    down = [each for each in report["destinations"] if each["condition"] != "up"]
    return Health(
        state=shown(report["state"]),
        at=at,
        # A retained health is older than its delivery; a clock that differs by more says nothing about that.
        ours_at=at if 0 <= now - at <= _STALE else now,
        day=str(report["at"])[:10],
        up=whole(today["up"]),
        down=whole(today["down"]),
        memory=number(report["memory"] or 0),
        uptime=number(report["uptime"] or 0),
        queued=whole(waiting["messages"]),
        oldest=None if waiting["oldest_age"] is None else number(waiting["oldest_age"]),
        cloud=next((shown(each["condition"]) for each in report["destinations"] if _is_cloud(each)), ""),
        trouble=next((_why(each) for each in down if each["reason"]), ""),
        budget=_budget(report.get("budget")),
        cost=_cost(report.get("cost")),
    )


def _is_cloud(destination: Mapping[str, Any]) -> bool:
    return bool(destination["channel"] == "cloud")


def _why(destination: Mapping[str, Any]) -> str:
    where = destination.get("to") or destination["channel"]
    return shown(f"{where} is {destination['condition']}: {destination['reason']}")


def _budget(bounds: Any) -> tuple[Bound, ...]:
    """Return the bounds that are set; a bridge without a budget has none."""
    return tuple(
        Bound(shown(name), number(each["limit"]), number(each["left"]), bool(each["holds"]))
        for name, each in (bounds or {}).items()
    )[:_BOUNDS]


def _cost(cost: Any) -> Cost | None:
    if not cost:
        return None
    return Cost(number(cost["today"]), number(cost["month"]), shown(cost["currency"])[:8])


def number(value: Any) -> float:
    """Return a figure; raises ValueError for one that is not finite or has no use."""
    figure = float(value)
    if not (math.isfinite(figure) and abs(figure) < _LARGEST):
        raise ValueError(f"{value} is no figure")
    return figure


def whole(value: Any) -> int:
    """Return a whole figure; raises as `number` does."""
    return int(number(value))


def shown(value: object) -> str:
    """Return text that is safe on a terminal: without control characters, and of limited length."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    text = text[:_TEXT_LIMIT] + ("…" if len(text) > _TEXT_LIMIT else "")
    return visible(text)


def clock(at: float) -> str:
    """Return Unix seconds as local time."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def unix(text: str) -> float:
    """Return the Unix seconds of a time in JSON; raises ValueError or TypeError."""
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def data_left(health: Health) -> str:
    """Return what is left of each bound of the budget, and the cost, as one line."""
    bounds, cost = health.budget, health.cost
    parts = [_left(bound) for bound in bounds if not bound.sms]
    if cost:
        today, month = (f"{each:.{2 if each >= 1 else 4}f}" for each in (cost.today, cost.month))
        parts.append(f"{today} {cost.currency} today, {month} this month")
    return " · ".join([*parts, *(_left(bound) for bound in bounds if bound.sms)])


def _left(bound: Bound) -> str:
    """Return what is left of a bound; 1 kB is 1,000 bytes, as in the configuration."""
    name = bound.name.replace("_", " ").replace("sms", "SMS")
    held = ", held" if bound.holds else ""
    units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)]
    unit, factor = next((each for each in units if bound.limit >= each[1] and not bound.sms), ("B", 1.0))
    digits = 1 if factor > 1 else 0
    rest, limit = (f"{each / factor:.{digits}f}" for each in (bound.rest, bound.limit))
    return f"{name} {rest} of {limit}{'' if bound.sms else f' {unit}'} left{held}"
