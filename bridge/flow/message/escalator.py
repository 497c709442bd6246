"""Escalator: messages that were not delivered in time go as texts, once.

The texts of a message are stored in the transaction that stops its timer, or that records its end. So a crash
leaves either the timer or the texts, and never both. From then on they are SMS like any other: they wait for
their path, a durable mark precedes their first byte, and each has its result.
"""

from collections.abc import Callable
from typing import Protocol

from bridge.core.escalation import Alarm, Escalated, Escalation, Window, with_left_out
from bridge.core.messages import Endpoint, Lane, Message, Queued, State
from bridge.core.routing import Route, Router
from bridge.flow.notices import Notices
from bridge.protocol.sms.segments import one_part
from bridge.store.journal import Journal
from bridge.store.space import Space

TICK = 1.0
"""Seconds between looks for timers that have ended."""

AT_ONCE = 100
"""Timers that end in one transaction at most, so that other operations get their turn."""

HEAD = 1000
"""Bytes of a payload that can get into a text: more than 160 characters in any case."""

ENDS = frozenset({State.REJECTED, State.EXPIRED, State.FAILED, State.DROPPED})
"""How a message ends that is escalated then, unless it was before."""


class Policy(Protocol):
    """The part of the configuration that the escalator uses."""

    @property
    def router(self) -> Router:
        """The routes."""

    @property
    def texts_by(self) -> Endpoint:
        """The destination of the texts: the modem, or the cloud."""


class Escalations(Protocol):
    """What results tell of the ends of messages."""

    def ended(self, queued: Queued, state: State) -> list[Queued]:
        """Escalate a message that ends; return the texts that it makes needless. Inside the transaction."""

    def never_stored(self, alarm: Alarm) -> None:
        """Escalate a message that was refused. Runs inside the transaction."""

    def watch(self) -> None:
        """Note that a message has a timer, which is durable now."""

    def announce(self) -> None:
        """Tell what was escalated; runs after the commit."""


class NoEscalations:
    """Nothing is escalated."""

    def ended(self, queued: Queued, state: State) -> list[Queued]:  # noqa: ARG002  as the other's
        """Return no texts."""
        return []

    def never_stored(self, alarm: Alarm) -> None:
        """Do nothing."""

    def watch(self) -> None:
        """Do nothing."""

    def announce(self) -> None:
        """Tell nothing."""


class Escalator:
    """Makes texts of messages; lives in the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        notices: Notices,
        policy: Callable[[], Policy],
        on_text: Callable[[Endpoint], None],
    ) -> None:
        """``policy`` returns the present configuration; ``on_text`` is called when a text is durable."""
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._store = journal.outbox.escalations
        self._notices = notices
        self._policy = policy
        self._on_text = on_text
        self._watching = False

    def start(self) -> None:
        """Look for timers that have ended, from now on; it costs nothing while there are none."""
        self._look()
        self.watch()

    def watch(self) -> None:
        """Look each second, for as long as there is a timer, or a message that was left out."""
        # The figures of a commit in progress may be taken back.
        if not self._watching and (self._store.waits or self._writer.committing):
            self._watching = True
            self._time.call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._watching = False
        self.start()

    def _look(self) -> None:
        if self._writer.space is Space.EXHAUSTED or self._writer.busy(self._look):
            return
        if self._store.due(1) or self._freed():
            self._writer.write(self._escalate_due, self._escalated)
        elif self._store.stale:
            self._writer.write(lambda: None)  # the running time goes with it

    def _escalate_due(self) -> int:
        """Escalate what is due; return the number of timers that ended. Runs inside the transaction."""
        for match in self._freed():
            self._release(match)
        due = self._store.due(AT_ONCE)
        for seq in due:
            self._store.stop(seq)
            if (queued := self._outbox.get(seq)) is not None:
                self._escalate(_alarm_of(queued))
        return len(due)

    def _escalated(self, number: int) -> None:
        self.announce()
        if number == AT_ONCE:
            self._look()

    # -- ends of messages --------------------------------------------------------------------------------

    def ended(self, queued: Queued, state: State) -> list[Queued]:
        """Escalate a message that ends; return the texts that it makes needless. Inside the transaction."""
        if not self._store.concern:
            return []
        if state is State.DELIVERED:
            texts = self._store.forget(queued.seq)
            return [text for seq in texts if self._outbox.waits(seq) and (text := self._outbox.get(seq))]
        if state is State.SUPERSEDED:  # the newer message has its number, and its timer
            return []
        pending = self._store.stop(queued.seq)
        self._store.text_ended(queued.seq)
        self._store.texts_of(queued.seq)
        if pending and state in ENDS:
            self._escalate(_alarm_of(queued))
        return []

    def never_stored(self, alarm: Alarm) -> None:
        """Escalate a message that was refused. Runs inside the transaction."""
        self._escalate(alarm)

    # -- texts -------------------------------------------------------------------------------------------

    def _escalate(self, alarm: Alarm) -> None:
        route = self._policy().router.route(alarm.topics)
        if route.escalation is not None:
            self._send_or_leave_out(alarm, route, route.escalation)

    def _send_or_leave_out(self, alarm: Alarm, route: Route, rule: Escalation) -> None:
        window, now = self._store.window(route.match), self._store.now()
        if window.knows(alarm, now):
            return
        if not alarm.seq:
            window = window.refuses(alarm, now)
        if window.has_room(rule, now):
            self._store.set_window(route.match, self._send(alarm, rule, window))
        elif window.last and all(self._outbox.waits(seq) for seq in window.last):
            window = window._replace(told=window.told + 1)
            for seq in window.last:
                self._rewrite(seq, window)
            self._store.set_window(route.match, window)
        else:
            self._store.set_window(route.match, window.left_out(alarm))

    def _send(self, alarm: Alarm, rule: Escalation, window: Window) -> Window:
        """Store the texts of ``alarm``; return the window of its route."""
        now = self._store.now()
        seqs = tuple(self._outbox.add(each) for each in self._texts(alarm, rule, window))
        if alarm.seq:
            for seq in seqs:
                self._store.add_text(seq, alarm.seq)
        after = window.texted(rule, now, alarm, seqs)
        ids = tuple(_text_id(alarm, place) for place in range(len(seqs)))
        self._store.made.append(Escalated(alarm, rule.numbers, ids, after.told))
        return after

    def _texts(self, alarm: Alarm, rule: Escalation, window: Window) -> list[Message]:
        told = window.left - (window.newest == alarm)
        text = one_part(alarm.text, with_left_out(told)).encode()
        by = self._policy().texts_by
        return [
            Message(_text_id(alarm, place), False, Lane(by, (number,), alarm.priority), text)
            for place, number in enumerate(rule.numbers)
        ]

    def _rewrite(self, seq: int, window: Window) -> None:
        """Let a text that waits tell how many were left out."""
        queued = self._outbox.get(seq)
        assert queued is not None  # it waits
        self._outbox.rewrite(queued, one_part(window.text, with_left_out(window.told)).encode())

    def _freed(self) -> list[str]:
        """Return the routes that have left messages out, and have room again or are no more."""
        now, router = self._store.now(), self._policy().router
        waiting = [(match, window) for match, window in self._store.windows() if window.newest]
        return [
            match
            for match, window in waiting
            if (rule := _rule_of(router, match)) is None or window.has_room(rule, now)
        ]

    def _release(self, match: str) -> None:
        """Send the newest message that a route has left out."""
        rule, window = _rule_of(self._policy().router, match), self._store.window(match)
        if rule is None or window.newest is None:
            self._store.set_window(match, None)
        else:
            self._store.set_window(match, self._send(window.newest, rule, window))

    def announce(self) -> None:
        """Tell what was escalated; runs after the commit."""
        made, self._store.made = self._store.made, []
        for alarm, numbers, texts, left_out in made:
            about = {"left_out": left_out} if left_out else {}
            self._notices.event(
                "message.escalated",
                id=alarm.id,
                channel=alarm.channel,
                topics=alarm.topics,
                to=numbers,
                sms=texts,
                **about,
            )
        if made:
            self._on_text(self._policy().texts_by)
        self.watch()


def _rule_of(router: Router, match: str) -> Escalation | None:
    route = router.named(match)
    return route.escalation if route else None


def _text_id(alarm: Alarm, place: int) -> str:
    return f"{alarm.id}#sms-{place + 1}"


def _alarm_of(queued: Queued) -> Alarm:
    lane = queued.lane
    return alarm(queued.seq, queued.id, lane, queued.payload)


def alarm(seq: int, name: str, lane: Lane, payload: bytes) -> Alarm:
    """Return the message with the id ``name`` as it is escalated."""
    text = text_of(lane.topics, payload)
    return Alarm(seq, name, lane.endpoint.channel, lane.topics, text, lane.priority)


def text_of(topics: tuple[str, ...], payload: bytes) -> str:
    """Return what a text says: the first topic, a colon, the payload; what is not text becomes spaces."""
    said = payload[:HEAD].decode("utf-8", "replace").replace("\ufffd", " ")
    whole = f"{topics[0]}: {said}" if topics else said
    return "".join(sign if sign.isprintable() else " " for sign in whole[:HEAD]).rstrip()
