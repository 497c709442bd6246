"""Budget: holds messages back that would go beyond a bound.

The figures are in `bridge.store.usage` and `bridge.flow.message.in_flight`, the rules in
`bridge.core.budget`. Here they meet the messages and the link's interface.
"""

import logging
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from bridge.core.budget import BOUNDS, Bounds, Prices, Reading, Spent, Use, Way, held_by, percent
from bridge.core.days import begin_of, month_of
from bridge.core.exchange import AnyJob
from bridge.core.messages import CLOUD_SMS, Channel, Endpoint, Priority, Queued, State, Traffic
from bridge.errors import OperationError
from bridge.flow.message.in_flight import InFlight, texts_of
from bridge.flow.message.overrides import Overrides
from bridge.flow.message.uplink import Uplink
from bridge.flow.notices import Notices
from bridge.protocol.api.budget import BudgetChange
from bridge.store.journal import Journal
from bridge.store.usage import Usage

log = logging.getLogger("budget")

TICK = 5.0
"""Seconds between looks at the interface, the day and the bounds."""

FRESH = 0.1
"""Seconds for which the last look at the interface is good enough for a decision."""

NOTE = 55.0
"""Seconds after which what an interface counted is written, where nothing else is."""

NOTE_DAY = 3600.0
"""Seconds after which a box without the time notes how long it has run in its day."""

TEXT_WAIT = 86_400.0
"""Seconds that an SMS waits for its bound at most."""

PASSED = 100
"""SMS that others go past at most, because they have more parts than are left of their bound."""

WARNED = "budget_warned"
"""Key in the store of the warnings that were given."""


class Plan(NamedTuple):
    """The configuration. A reload replaces it whole."""

    bounds: Bounds = Bounds()
    month_starts: int = 1
    warn: tuple[int, ...] = (70, 90, 100)
    prices: Prices = Prices()


class Source(NamedTuple):
    """What the budget learns from the link; each is called in the event loop's thread."""

    way: Callable[[], Way] = lambda: Way.APART
    """Returns how the bridge's own bytes go now."""
    reading: Callable[[], Reading | None] = lambda: None
    """Returns the counters of the link's interface, None without one."""
    spared: Callable[[], bool] = lambda: False
    """Returns whether messages take the own network now, for which the SIM is only the backup."""


OFF_LINK = Source()
"""That of a box whose link is not ours."""


class Budget:
    """The gate and the meter of the daemon; lives in the event loop's thread."""

    def __init__(
        self, journal: Journal, notices: Notices, plan: Plan, uplink: Uplink, source: Source = OFF_LINK
    ) -> None:
        """The budget becomes the gate of ``uplink``."""
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._notices = notices
        self.overrides = Overrides(journal)
        self.plan = plan
        self._source = source
        self._uplink = uplink
        self.bounds = plan.bounds
        """The bounds that count now."""
        self._in_flight = InFlight()
        self._holding: set[str] = set()
        """The bounds that hold a message back."""
        self._long: dict[int, Queued] = {}
        """SMS that a shorter one may go past, by their lanes."""
        self._looked_at = self._noted_at = float("-inf")
        self._unwritten_since: float | None = None
        self._before: tuple[tuple[Usage, str, int], Use, int] | None = None
        """The sums of the month before its present day, and what they are of."""
        self._outbox.meter = self
        self._outbox.held = self.held_as
        uplink.gate = self
        self.apply(plan)

    def apply(self, plan: Plan) -> None:
        """Take another configuration."""
        self.plan = plan
        self._outbox.turn_day()
        self.changed()

    def start(self) -> None:
        """Begin the regular looks."""
        self._tick()

    def close(self) -> None:
        """Write, with nothing in flight any more, that nothing is."""
        self._in_flight.close()
        self._writer.write(lambda: None)

    # -- before and after a message ----------------------------------------------------------------------

    def admits(self, queued: Queued) -> bool:
        """Whether ``queued`` may start; notes what holds it, and ends an SMS that was held for a day."""
        if not self.bounds.any:
            return True
        endpoint, priority = queued.lane.endpoint, queued.lane.priority
        self._look()
        name = self._bound_of(queued)
        if name is None:
            return True
        self._hold(name)
        self._end_late(queued, name)
        if self.held_as(endpoint, priority) is None and len(self._long) < PASSED:
            self._long[queued.lane_id] = queued
            self._uplink.wake()
        return False

    @property
    def passed_over(self) -> Collection[int]:
        """The lanes whose SMS has more parts than are left of its bound."""
        return self._long

    def _end_late(self, queued: Queued, name: str) -> None:
        """End an SMS that the bound ``name`` has held back for too long."""
        waited = self._outbox.times.present(queued.boot) - queued.queued_at
        if name.startswith("sms_") and waited >= TEXT_WAIT:
            text = f"budget.{name} is used up, and it has waited for a day"
            self._time.call_soon(self._uplink.expire_held, queued, text)

    def _still_held(self, queued: Queued) -> bool:
        """Whether ``queued``, a long SMS, still waits for its bound."""
        name = self._bound_of(queued) if self._outbox.get(queued.seq) else None
        if name:
            self._end_late(queued, name)
        return name is not None

    def _bound_of(self, queued: Queued) -> str | None:
        return self._held(queued.lane.endpoint, queued.lane.priority, texts_of(queued))

    def started(self, queued: Queued, job: AnyJob) -> bool:
        """Note that ``queued`` is in flight; return whether what it may cost is written already."""
        self._in_flight.started(queued, job)
        return self._in_flight.is_covered(self._outbox.ledger.usage.ahead)

    def record(self, queued: Queued, state: State) -> None:
        """Count the SMS that went out, or may have; runs inside the transaction."""
        self._in_flight.recorded(queued)
        if state in (State.DELIVERED, State.UNCONFIRMED) and (texts := texts_of(queued)):
            self._outbox.ledger.usage.count_texts(texts)

    def freed(self, queued: Queued) -> None:
        """Note that ``queued`` is not in flight any more, and what it cost is counted."""
        self._in_flight.freed(queued)

    # -- for the store -----------------------------------------------------------------------------------

    @property
    def way(self) -> Way:
        """How the bridge's own bytes count."""
        return self._source.way()

    def ahead(self, written: Traffic) -> Traffic:
        """Return what the exchanges in flight may cost; ``written`` is the present note of it."""
        # Under a bound what is written for messages to come might keep an alarm back after a power cut.
        more = self._outbox.ledger.messages > 0 and not self.bounds.any
        return self._in_flight.ahead(written, more=more)

    # -- what is spent -----------------------------------------------------------------------------------

    @property
    def month(self) -> str:
        """The first day of the present month."""
        return month_of(self._outbox.ledger.usage.clock.day, self.plan.month_starts)

    def spent(self) -> Spent:
        """Return what counts against each bound now."""
        usage = self._outbox.ledger.usage
        today = usage.of(usage.clock.day).use
        before, bytes_before = self._month_before(usage)
        bytes_out, texts_out = self._in_flight.bytes if self.way is not Way.OFF else 0, self._in_flight.texts
        day, own, texts = today.bytes + bytes_out, today.own + bytes_out, today.texts + texts_out
        return Spent(day, bytes_before + day, own, before.own + own, texts, before.texts + texts)

    def _month_before(self, usage: Usage) -> tuple[Use, int]:
        """Return the sums of the days of the month before the present one, and their bytes."""
        day = usage.clock.day
        of = (usage, day, self.plan.month_starts)
        if self._before is None or self._before[0] != of:
            days = [each.use for on, each in usage.since(self.month) if on < day]
            total = Use()
            for each in days:
                total = total.plus(each)
            self._before = (of, total, sum(each.bytes for each in days))
        return self._before[1:]

    def _held(
        self, endpoint: Endpoint, priority: Priority, texts: int, *, over_sim: bool = False
    ) -> str | None:
        metered = (
            not endpoint.over_air and self.way is not Way.OFF and (over_sim or not self._source.spared())
        )
        return held_by(self.bounds, self.spent(), priority, texts=texts, metered=metered)

    def held_as(
        self, endpoint: Endpoint, priority: Priority, seq: int | None = None, *, over_sim: bool = False
    ) -> str | None:
        """Return the bound that holds the messages to ``endpoint`` of ``priority``, None if they may go.

        With ``seq``, the number of a message, it is the bound that holds this one. ``over_sim`` asks whether
        they might go over the SIM, whatever they take now.
        """
        if not self.bounds.any:
            return None
        for each in self._long.values() if seq is not None else ():
            if each.seq == seq:
                return self._bound_of(each)
        texts = int(endpoint.channel is Channel.SMS)
        return self._held(endpoint, priority, texts, over_sim=over_sim)

    def figures(self) -> dict[str, Any]:
        """Return ``budget`` of the health: each bound that is set."""
        found, spent = {}, self.spent()
        for name in BOUNDS:
            limit, used = getattr(self.bounds, name), getattr(spent, name)
            if limit is not None:
                found[name] = {
                    "limit": limit,
                    "use": used,
                    "percent": percent(used, limit),
                    "left": max(0, limit - used),
                    "holds": self._is_holding(name),
                }
        return found

    def costs(self) -> dict[str, Any] | None:
        """Return ``cost`` of the health: of today and of the month; None without prices."""
        prices, spent = self.plan.prices, self.spent()
        if not prices.any:
            return None
        today, month = prices.of(spent.day, spent.sms_day), prices.of(spent.month, spent.sms_month)
        return {"today": today, "month": month, "currency": prices.currency}

    def held_messages(self) -> dict[str, int]:
        """Return how many messages each bound holds back."""
        found: dict[str, int] = {}
        for (channel, priority), (messages, _) in self._outbox.ledger.depth.items():
            endpoint = CLOUD_SMS if channel is Channel.SMS else Endpoint(channel)
            if messages and (name := self.held_as(endpoint, priority)):
                found[name] = found.get(name, 0) + messages
        for queued in self._long.values():
            counted = self.held_as(queued.lane.endpoint, queued.lane.priority)
            if not counted and (name := self._bound_of(queued)):
                found[name] = found.get(name, 0) + 1
        return found

    def change(self, change: BudgetChange) -> str:
        """Change bounds for now, or forget all changes; return what holds now.

        Raises `OperationError` for a time that has passed.
        """
        day = self._outbox.ledger.usage.clock.day
        now = self._time.now().wall if self._outbox.times.known else begin_of(day)
        if change.until is not None and change.until <= now:
            raise OperationError("until: that time has passed; it is a date or a time in the future, in UTC")
        if change.bounds:
            self.overrides.set(change.bounds, change.until, day, self.month)
        else:
            self.overrides.reset()
        self.changed()
        self._notices.health_changed()
        bounds = ((name, getattr(self.bounds, name)) for name in BOUNDS)
        found = (f"{name} {'unbounded' if bound is None else bound}" for name, bound in bounds)
        return f"the bounds are now {', '.join(found)}"

    # -- time --------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Act on another day, another bound, or more that is spent."""
        now = self._time.now()
        usage = self._outbox.ledger.usage
        self.bounds = self.overrides.over(self.plan.bounds, usage.clock.day, self.month, now.wall)
        self._long = {lane: each for lane, each in self._long.items() if self._still_held(each)}
        for name in sorted(self._holding):
            if not self._is_holding(name):
                self._holding.discard(name)
                log.info("budget.%s: what waited goes on", name)
                self._notices.event("budget.released", of=name)
                self._notices.health_changed()
        self._warn()
        self._uplink.wake()

    def _is_holding(self, name: str) -> bool:
        """Whether a message of normal priority would have to wait for the bound ``name``, or an SMS does."""
        if any(self._bound_of(each) == name for each in self._long.values()):
            return True
        texts = int(name.startswith("sms_"))
        alone = Bounds(**{name: getattr(self.bounds, name)}, reserve=self.bounds.reserve)
        return held_by(alone, self.spent(), Priority.NORMAL, texts=texts) is not None

    def _hold(self, name: str) -> None:
        if name in self._holding:
            return
        self._holding.add(name)
        limit, used = getattr(self.bounds, name), getattr(self.spent(), name)
        log.warning("budget.%s: %d of %d is used, so messages wait", name, used, limit)
        self._notices.event("budget.held", of=name, limit=limit, use=used, percent=percent(used, limit))
        self._notices.health_changed()

    def _warn(self) -> None:
        """Publish the highest percentage of a bound that is used, once in its day or month."""
        if not self.bounds.any:
            return
        given, spent = self.overrides.notes(WARNED), self.spent()
        changed = False
        for name in BOUNDS:
            limit = getattr(self.bounds, name)
            period = self.month if name.endswith("month") else self._outbox.ledger.usage.clock.day
            of = f"{limit} from {period}"  # a bound that is changed is warned of anew
            on, told = given.get(name, ("", 0))
            used = 0 if limit is None else percent(getattr(spent, name), limit)
            least = told if on == of else 0
            reached = [each for each in self.plan.warn if least < each <= used]
            if reached:
                given[name], changed = (of, max(reached)), True
                log.warning("budget.%s: %d percent is used", name, max(reached))
                self._notices.event("budget.warning", percent=max(reached), of=name)
        if changed:
            self.overrides.note(WARNED, given)
            self._notices.health_changed()

    def _look(self) -> bool:
        """Look at the day and at the interface; return whether another day has begun."""
        turned = self._outbox.turn_day()
        mono = self._time.now().mono
        if mono - self._looked_at >= FRESH and (reading := self._source.reading()):
            self._looked_at = mono
            self._outbox.ledger.usage.metered(reading)
        return turned

    def _tick(self) -> None:
        self._time.call_later(TICK, self._tick)
        self._looked_at = float("-inf")
        turned, mono = self._look(), self._time.now().mono
        usage = self._outbox.ledger.usage
        if not usage.unwritten:
            self._unwritten_since = None
        elif self._unwritten_since is None:
            self._unwritten_since = mono
        late = self._unwritten_since is not None and mono - self._unwritten_since >= NOTE
        unknown = not self._outbox.times.trusted and mono - self._noted_at >= NOTE_DAY
        if turned or late or unknown:
            self._noted_at, self._unwritten_since = mono, None
            self._writer.write(self._outbox.ledger.metered, linger=True)
        self.changed()
