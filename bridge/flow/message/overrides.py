"""Overrides: bounds of the budget that a command changed for some time, on disk."""

import json
from typing import Any

from bridge.core.budget import Bounds
from bridge.core.days import begin_of
from bridge.store.journal import Journal

OVERRIDES = "budget"
"""Key in the store."""


class Overrides:
    """The changed bounds: each has a value, and either a time until which or a period in which it holds."""

    def __init__(self, journal: Journal) -> None:
        self._outbox, self._writer = journal.outbox, journal.writer
        self._notes: dict[str, dict[str, Any]] = {}

    def notes(self, key: str) -> dict[str, Any]:
        """Return the object under ``key`` of the store."""
        if key not in self._notes:
            self._notes[key] = self._outbox.meta_json(key, {})
        return dict(self._notes[key])

    def note(self, key: str, value: dict[str, Any]) -> None:
        """Write the object under ``key``."""
        self._notes[key] = value
        text = json.dumps(value)
        self._writer.write(lambda: self._outbox.set_meta(key, text))

    def set(self, changes: dict[str, int | None], until: float | None, day: str, month: str) -> None:
        """Change bounds until ``until`` (Unix seconds), or in the present ``day`` or ``month``."""
        found = self.notes(OVERRIDES)
        for name, value in changes.items():
            period = month if name.endswith("month") else day
            found[name] = {"value": value, "until": until, "in": None if until is not None else period}
        self.note(OVERRIDES, found)

    def reset(self) -> None:
        """Forget all changes."""
        self.note(OVERRIDES, {})

    def over(self, bounds: Bounds, day: str, month: str, wall: float) -> Bounds:
        """Return ``bounds`` with the changes that hold now; those that have ended are forgotten.

        ``wall`` is Unix seconds. A box without the time goes by its ``day``.
        """
        found = self.notes(OVERRIDES)
        ended = [name for name, each in found.items() if _has_ended(each, name, day, month, wall)]
        if ended:
            found = {name: each for name, each in found.items() if name not in ended}
            self.note(OVERRIDES, found)
        return bounds._replace(**{name: each["value"] for name, each in found.items()})


def _has_ended(each: dict[str, Any], name: str, day: str, month: str, wall: float) -> bool:
    if each["until"] is not None:
        return bool(max(wall, begin_of(day)) >= each["until"])
    return bool(each["in"] != (month if name.endswith("month") else day))
