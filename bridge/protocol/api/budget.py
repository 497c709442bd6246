"""``hologram/budget/set``: a change of the budget's bounds, read from its JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bridge.core.budget import BOUNDS
from bridge.core.units import SIZE_ALLOWED, parse_size
from bridge.errors import InvalidCommand

KEYS = (*BOUNDS, "until", "id")
"""The keys of the JSON."""

MOST_TEXTS = 1_000_000
"""The largest bound of SMS, as in the configuration."""

_UNTIL_ALLOWED = 'it is a date or a time in the future, such as "2026-12-24" or "2026-12-24T18:00Z" (UTC)'


class BudgetChange(NamedTuple):
    """Bounds to change; None lifts one."""

    bounds: dict[str, int | None]
    """The new bounds by name; without any all changes are forgotten."""
    until: float | None = None
    """Unix seconds at which they end; None: with the day or month of each bound."""


def read_change(given: Mapping[str, Any]) -> BudgetChange:
    """Return the change in the JSON object ``given``; raises `InvalidCommand`."""
    bounds = {name: _bound(name, given[name]) for name in BOUNDS if name in given}
    if not bounds:
        raise InvalidCommand("payload", None, f"give at least one of {', '.join(BOUNDS)}, or reset")
    until = given.get("until")
    return BudgetChange(bounds, None if until is None else _until(until))


def _bound(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if name.startswith("sms_"):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TEXTS:
            raise InvalidCommand(name, value, f"it is a whole number of SMS, 0 to {MOST_TEXTS}, or null")
        return value
    try:
        return parse_size(value)
    except ValueError:
        raise InvalidCommand(name, value, f"it is {SIZE_ALLOWED}, or null") from None


def _until(value: Any) -> float:
    try:
        found = datetime.fromisoformat(value)
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return found.timestamp()
    except (ValueError, TypeError, OverflowError):
        raise InvalidCommand("until", value, _UNTIL_ALLOWED) from None
