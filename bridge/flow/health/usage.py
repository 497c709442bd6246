"""Usage: ``hologram/bridge/usage``, the bytes, SMS and cost of each of the last days and months."""

from typing import Any

from bridge.core.budget import Use
from bridge.core.days import day_after, month_after, month_of
from bridge.flow.message.budget import Budget
from bridge.flow.message.publisher import Publisher
from bridge.protocol.api.reports import dumps, timestamp
from bridge.store.journal import Journal

DAYS, MONTHS = 30, 12
"""Days and months that are shown, the present ones included."""

LOOK = 60.0
"""Seconds between looks whether a day has ended."""

EVERY = 3600.0
"""Seconds between publications of the same day."""


class UsageReport:
    """Publishes the usage; lives in the event loop's thread."""

    def __init__(self, journal: Journal, publisher: Publisher, budget: Budget) -> None:
        self._outbox, self._time = journal.outbox, journal.time
        self._publisher = publisher
        self._budget = budget
        self._shown: dict[str, Any] = {}
        self._shown_at = float("-inf")

    def start(self) -> None:
        """Publish it, and go on at a day's end, and where it has changed once an hour."""
        self._time.call_later(LOOK, self.start)
        self._outbox.turn_day()
        mono = self._time.now().mono
        figures = self.figures()
        ended = self._shown.get("day") != figures["day"]
        if figures != self._shown and (ended or mono - self._shown_at >= EVERY):
            self._shown, self._shown_at = figures, mono
            text = dumps({"at": timestamp(self._time.now().wall), **figures})
            self._publisher.state(self._publisher.names.usage, text.encode())

    def figures(self) -> dict[str, Any]:
        """Return the figures, the oldest first."""
        usage, bounds = self._outbox.ledger.usage, self._budget.bounds
        day, starts = usage.clock.day, self._budget.plan.month_starts
        firsts = [month_of(day, starts)]
        while len(firsts) < MONTHS:
            firsts.insert(0, month_of(day_after(firsts[0], -1), starts))
        days = {on: each.use for on, each in usage.since(firsts[0])}
        since = [day_after(day, number - DAYS + 1) for number in range(DAYS)]
        return {
            "day": day,
            "budget": {"day": bounds.day, "month": bounds.month},
            "currency": self._budget.plan.prices.currency if self._budget.plan.prices.any else None,
            "days": [{"day": each, **self._shown_as([days.get(each, Use())])} for each in since],
            "months": [
                {"month": first, **self._shown_as(_within(days, first, month_after(first)))}
                for first in firsts
            ],
        }

    def _shown_as(self, uses: list[Use]) -> dict[str, Any]:
        spent, texts = sum(each.bytes for each in uses), sum(each.texts for each in uses)
        return {"bytes": spent, "sms": texts, "cost": self._budget.plan.prices.of(spent, texts)}


def _within(days: dict[str, Use], first: str, end: str) -> list[Use]:
    return [use for day, use in days.items() if first <= day < end]
