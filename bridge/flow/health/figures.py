"""Health: the figures of ``hologram/bridge/health`` and ``queue stats``."""

import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bridge.core.destination import Condition, Destination
from bridge.core.messages import Channel, Endpoint, Priority, State, Traffic
from bridge.flow.message.uplink import Uplink
from bridge.protocol.api.reports import dumps, timestamp
from bridge.store.journal import Journal

_PAGE = resource.getpagesize()


class Budget(Protocol):
    """What the health shows of the budget."""

    def figures(self) -> dict[str, Any]:
        """Return each bound that is set."""

    def costs(self) -> dict[str, Any] | None:
        """Return the cost of today and of the month; None without prices."""

    def held_messages(self) -> dict[str, int]:
        """Return how many messages each bound holds back."""

    @property
    def month(self) -> str:
        """The first day of the present month."""


class NotSending(NamedTuple):
    """An outbox from which nothing is sent now."""

    paused: bool = False
    in_flight: int = 0
    conditions: Mapping[Endpoint, Destination] = {}


class Health:
    """Gathers the figures; the parts report their errors to it."""

    def __init__(self, journal: Journal) -> None:
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self.sending: Uplink | NotSending = NotSending()
        self._started = self._time.now().mono
        self._last_error: dict[str, str] | None = None
        self.sessions_lost = 0
        self.broker: Callable[[], dict[str, Any]] = dict
        """Returns the state of the connections to the broker."""
        self.failed = False
        """Whether the bridge is ending because of the failure that the last error names."""
        self.budget: Budget | None = None
        self.path: Callable[[], str | None] = lambda: None
        """Returns the network that messages take, ``own`` or ``modem``; None without a modem."""
        self.inbound: Callable[[], dict[str, Any]] = dict
        """Returns the listener's figures; empty without a listener."""

    def error(self, component: str, text: str) -> None:
        """Set the last error: something that may need a person."""
        at = timestamp(self._time.now().wall)
        self._last_error = {"at": at, "component": component, "description": text}

    def figures(self) -> dict[str, Any]:
        """Return all figures, as published."""
        now = self._time.now()
        since = self.budget.month if self.budget else None
        today, month = self._outbox.ledger.spent(month=since)
        return {
            "state": self.state,
            "at": timestamp(now.wall),
            "queue": self.queue(),
            "results": {state.value: self._outbox.ledger.counts[state.value] for state in State},
            "bytes": {"today": _traffic(today), "month": _traffic(month)},
            "path": (path := self.path()),
            "bytes_by_path": path and self._by_path(today, month, since),
            "cost": self.budget.costs() if self.budget else None,
            "budget": self.budget.figures() if self.budget else {},
            "destinations": self._destinations(),
            "broker": self.broker(),
            "inbound": self.inbound(),
            "reports": {"bytes": self._outbox.ledger.report_bytes},
            "set_aside": self._outbox.set_aside.rows,
            "ids": {"number": self._outbox.ledger.ended, "bytes": self._outbox.ledger.ended_bytes},
            "sessions_lost": self.sessions_lost,
            "last_error": self._last_error,
            "uptime": round(now.mono - self._started, 1),
            "memory": memory(),
        }

    def lasting(self) -> dict[str, Any]:
        """Return the figures without those that change by themselves: times and the memory."""
        figures = self.figures()
        figures["queue"]["oldest_age"] = None
        return figures | {"at": None, "uptime": None, "memory": None}

    def payload(self) -> bytes:
        """Return the figures as JSON."""
        return dumps(self.figures()).encode("utf-8", "backslashreplace")

    @property
    def state(self) -> str:
        """The state of the bridge in a word: the worst that applies."""
        if self.failed:
            return "failed"
        if self._writer.full:
            return "store_full"
        if self._outbox.reports_full:
            return "reports_full"
        if self.sending.paused:
            return "paused"
        conditions = {destination.condition for destination in self.sending.conditions.values()}
        if Condition.HELD in conditions:
            return "auth_failed"
        return "degraded" if Condition.DOWN in conditions else "ok"

    def queue(self) -> dict[str, Any]:
        """Return the number of messages by channel and priority, and the state of the queue."""
        ledger = self._outbox.ledger
        by_channel: dict[str, dict[str, int]] = {}
        for (channel, priority), (messages, _) in sorted(ledger.depth.items()):
            by_channel.setdefault(channel.value, _empty())[priority.label] = messages
        by_channel.setdefault(Channel.CLOUD.value, _empty())
        age = self._outbox.oldest_age()
        return {
            "messages": ledger.messages,
            "bytes": ledger.bytes,
            "by_channel": by_channel,
            "oldest_age": None if age is None else round(age, 1),
            "under_way": self.sending.in_flight,
            "paused": self.sending.paused,
            "held": self.budget.held_messages() if self.budget else {},
        }

    def _by_path(self, today: Traffic, month: Traffic, since: str | None) -> dict[str, Any]:
        """Return the bridge's own bytes over the SIM, and over the own network."""
        over_sim = self._outbox.ledger.over_sim(since)
        return {
            period: {"own": max(0, every.up + every.down - modem), "modem": modem}
            for period, every, modem in zip(("today", "month"), (today, month), over_sim, strict=True)
        }

    def _destinations(self) -> list[dict[str, Any]]:
        return [
            {
                "channel": endpoint.channel.value,
                "to": endpoint.where,
                "condition": destination.condition.value,
                "reason": destination.reason or None,
            }
            for endpoint, destination in self.sending.conditions.items()
        ]


def _empty() -> dict[str, int]:
    return {priority.label: 0 for priority in Priority}


def _traffic(traffic: Traffic) -> dict[str, int]:
    return {"up": traffic.up, "down": traffic.down}


def memory() -> int:
    """Return the resident memory of this process in bytes [proc(5), statm]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
