"""Publisher: durable reports, events and retained states on their way to the broker.

A durable report stays on disk until the broker has acknowledged it. The publisher reads reports in order
behind a cursor and keeps a window of them in flight. After a lost connection it repeats the unacknowledged
ones before the others. After a connection that the broker cut it tries each of them alone
(`bridge.core.suspects`), and sets aside the one that causes the cuts. Events are published at once; while the
broker is away the newest wait in memory.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Container, Iterator
from functools import partial
from itertools import takewhile
from typing import Any, Protocol

from bridge.core.delivery import Properties
from bridge.core.events import TYPES
from bridge.core.suspects import Key
from bridge.errors import Unpublishable
from bridge.flow.message.refused_reports import Refused
from bridge.flow.message.set_aside import Asides
from bridge.flow.message.states import States
from bridge.flow.message.topics import Names
from bridge.flow.message.trials import Answering, Flight, Trials
from bridge.protocol.api.reports import event_json
from bridge.store.journal import Journal
from bridge.store.reports import Report

log = logging.getLogger("publisher")

EVENTS_KEPT = 1000
"""Events that wait in memory while the broker is away at most; the oldest are dropped."""

LOOK_EVERY = 2.0
"""Seconds between checks of unacknowledged publications."""

LATE = 5.0
"""Seconds after which an acknowledgement is late, if a later publication has been acknowledged."""

VERY_LATE = 30.0
"""The same when the window is full, so that nothing later can be published for comparison."""

UNANSWERED = "the broker never acknowledges it, and acknowledges what is published after it"
NEVER = {"Topic name invalid", "Packet too large", "Payload format invalid"}
"""Refusals that a repetition cannot change [MQTT 5.0, section 2.4: 0x90, 0x95, 0x99]."""


class Link(Answering, Protocol):
    """The part of the MQTT session that the publisher uses."""

    connected: bool
    window: int
    cut: bool

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int | None:
        """Publish; return the packet identifier, None while the session takes nothing.

        Raises `Unpublishable`.
        """

    def publish_event(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 0; return False while the session takes nothing."""

    def reconnect(self, reason: str) -> None:
        """End the connection, and connect again."""


class Publisher:
    """Owns all publications to the broker; lives in the event loop's thread."""

    def __init__(self, journal: Journal, names: Names, events: Container[str] = TYPES) -> None:
        """``events`` are the types that are published."""
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self.names, self.wanted = names, events
        self.states = States()
        self.asides = Asides(journal.outbox, journal.writer)
        self._refused = Refused(self._publish_again, self._time)
        self._link: Link | None = None
        self._cursor = 0
        self._again: dict[int, None] = {}
        """Numbers of reports behind the cursor that have to be published again."""
        self._flights: dict[int, Flight] = {}
        """Unacknowledged publications by packet identifier, oldest first."""
        self._acknowledged_any = False
        """Whether the broker has acknowledged anything on this connection."""
        self._overtaken: set[int] = set()
        """Packet identifiers of publications older than one that the broker has acknowledged."""
        self._acknowledged: list[int] = []
        self._prompt = False
        """Whether one of these is an inbound message."""
        self._events: deque[bytes] = deque(maxlen=EVENTS_KEPT)
        self._pumping = False
        self._looking = False
        drop = partial(self._drop, cut=True)
        self._trials = Trials(self._time, control=names.state, wake=self.wake, drop=drop, skip=self._skip)
        self._suspects = self._trials.suspects
        self.on_room: Callable[[], None] = lambda: None
        """Called when the broker has taken reports, so that there is room for others."""

    def attach(self, link: Link, witness: Answering | None = None) -> None:
        """Publish on ``link`` from now on.

        ``witness``, a second connection, shows whether the broker answers.
        """
        self._link = link
        self._trials.attach(link, witness)

    # -- durable reports ---------------------------------------------------------------------------------

    def wake(self) -> None:
        """Schedule a round of publishing: there is a new publication, or room in the window."""
        if not self._pumping:
            self._pumping = True
            self._time.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        link = self._link
        if link is None or not link.connected or self._trials.checking:
            return
        if self._suspects:
            self._try_suspect()
            return
        self._publish_events()
        for topic in sorted(
            self.states.due, key=lambda each: each != self.names.state
        ):  # the bridge's own state first
            if len(self._flights) >= link.window or not self._publish_state(topic):
                return
        room = link.window - len(self._flights)
        # Reports of an open transaction are not durable yet, and a rollback takes them back.
        if room <= 0 or self._writer.busy(self.wake):
            return
        now = self._time.now().mono
        for report in self._next(room):
            if not self._publish(report, now):
                return

    def _next(self, room: int) -> Iterator[Report]:
        """Yield up to ``room`` reports to publish: repetitions first, then those behind the cursor."""
        again = sorted(self._again)[:room] if self._again else []
        for seq in again:
            if report := self._outbox.reports.get(seq):
                yield report
            else:
                self._again.pop(seq, None)
        yield from self._outbox.reports.after(self._cursor, room - len(again))

    def _publish(self, report: Report, now: float) -> bool:
        """Publish ``report``; return False while others have to wait for its trial or for the session."""
        # A size that the broker has cut a connection for is tried alone, so that no other report is blamed.
        size = report.size
        if self._suspects.sizes.doubtful(size) and report.seq not in self._suspects:
            self._suspects.suspect([report.seq])
            self._passed(report.seq)
            self.wake()
            return False
        properties = _read_properties(report.properties)
        return self._give(
            Flight(report.seq, size, now, report.topic.startswith(self.names.inbound)),
            report.topic,
            report.payload,
            bool(report.retain),
            properties,
        )

    def _give(
        self, flight: Flight, topic: str, payload: bytes, retain: bool, properties: Properties | None
    ) -> bool:
        """Hand a publication to the session; return False while the session takes nothing."""
        link = self._link
        if link is None:
            return False
        try:
            mid = link.publish(topic, payload, retain=retain, properties=properties)
        except Unpublishable as exc:
            self._drop(flight.key, str(exc))
            return True
        if mid is None:
            return False
        self._flights[mid] = flight
        if isinstance(flight.key, int):
            self._passed(flight.key)
        self._look_later()
        return True

    def _passed(self, seq: int) -> None:
        """Note that the report ``seq`` need not be read again."""
        self._again.pop(seq, None)
        self._cursor = max(self._cursor, seq)

    def published(self, mid: int, problem: str | None) -> None:
        """Take the broker's acknowledgement of ``mid``, or its refusal for the reason ``problem``."""
        flight = self._flights.get(mid)
        if flight is None:
            return
        # A later publication that is acknowledged first is evidence that the broker left these out.
        self._overtaken.update(takewhile(lambda each: each != mid, self._flights))
        self._overtaken.discard(mid)
        del self._flights[mid]
        self.wake()
        if problem:
            self._suspects.clear(flight.key)
        else:
            self._acknowledged_any = True
            self._suspects.acknowledged(flight.key)
        if isinstance(flight.key, str):
            if not any(other.key == flight.key for other in self._flights.values()):
                self.states.published(flight.key, problem)
        elif problem:
            self._refuse(flight.key, problem)
        else:
            self._suspects.sizes.taken(flight.size)
            self._refused.taken(flight.key)
            self._prompt = self._prompt or flight.inbound
            self._sent(flight.key)

    def _sent(self, seq: int) -> None:
        # The acknowledgements of one turn of the loop share one operation.
        if not self._acknowledged:
            self._time.call_soon(self._forget)
        self._acknowledged.append(seq)

    def _forget(self) -> None:
        seqs, self._acknowledged = self._acknowledged, []
        # A result that is published twice says the same; an inbound message could be carried out twice.
        linger, self._prompt = not self._prompt and not self._outbox.reports_full, False
        self._writer.write(
            lambda: self._outbox.reports.sent(seqs), lambda _: self.on_room(), frees=True, linger=linger
        )

    def _refuse(self, seq: int, problem: str) -> None:
        """Handle the refusal of a report.

        A refused topic of the bridge's own is a mistake in the access list, so the report is kept and tried
        again. A Response Topic is the publisher's choice: its report is dropped, and the result itself goes
        out on the bridge's own topic.
        """
        if self._writer.busy(partial(self._refuse, seq, problem)):
            return
        report = self._outbox.reports.get(seq)
        if report is None:
            return
        if not report.topic.startswith(self.names.prefix + "/"):
            log.warning("the broker refuses the response topic %s: %s", report.topic, problem)
            self._writer.write(lambda: self._outbox.reports.sent([seq]), frees=True)
        elif problem in NEVER:
            self.asides.report(report, f"the broker refuses it: {problem}")
        else:
            if report.topic not in self._refused:
                log.error("the broker refuses %s: %s; check its access list", report.topic, problem)
            for late in self._refused.add(seq, report.topic, self._time.now().mono):
                self._set_aside(late, f"the broker has refused it for a day: {problem}")

    def _publish_again(self, seqs: list[int]) -> None:
        flying = {flight.key for flight in self._flights.values()}
        self._again.update((seq, None) for seq in seqs if seq not in flying)
        self.wake()

    def _drop(self, key: Key, reason: str, *, cut: bool = False) -> None:
        """Give up a publication that the broker does not take."""
        self._suspects.clear(key)
        if isinstance(key, str):
            self.states.refused(key, reason, cut=cut)
            return
        self._passed(key)
        self._set_aside(key, reason)

    def _set_aside(self, seq: int, reason: str) -> None:
        if self._writer.busy(partial(self._set_aside, seq, reason)):
            return
        if report := self._outbox.reports.get(seq):
            self.asides.report(report, reason)

    @property
    def idle(self) -> bool:
        """Whether the broker has acknowledged every publication."""
        return not self._flights and not self._pumping

    # -- what the broker cuts the connection for ---------------------------------------------------------

    def down(self) -> None:
        """Note a lost connection.

        Repeat what was in flight, and try it alone if the broker cut the connection.
        """
        flights = list(self._flights.values())
        self._flights.clear()
        self._overtaken.clear()
        self._acknowledged_any = False
        self._repeat_flights(flights)
        self._trials.down(flights, cut=self._link is not None and self._link.cut)

    def _repeat_flights(self, flights: list[Flight]) -> None:
        """Schedule the repetition of ``flights``, which the broker may have or not."""
        self._again.update((flight.key, None) for flight in flights if isinstance(flight.key, int))
        self.states.again(flight.key for flight in flights if isinstance(flight.key, str))

    def _skip(self, key: Key) -> None:
        """Leave ``key`` out until it is tried again as a suspect."""
        if isinstance(key, int):
            self._again.pop(key, None)

    def _try_suspect(self) -> None:
        """Publish the first suspect with nothing else in flight."""
        key = self._suspects.first
        if self._flights or key is None or self._writer.busy(self.wake):
            return
        if isinstance(key, str):
            given = self._publish_state(key)
        else:
            report = self._outbox.reports.get(key)
            given = report is None or self._publish(report, self._time.now().mono)
        if given and not self._flights:  # the report is gone, or cannot be published at all
            self._suspects.clear(key)
            self.wake()

    # -- what it never acknowledges ----------------------------------------------------------------------

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._time.call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        """Check whether the broker leaves out the oldest publication and acknowledges others."""
        self._looking = False
        mid, flight = next(iter(self._flights.items()), (0, None))
        link = self._link
        if flight is None or link is None or not link.connected:
            return
        self._look_later()
        late = self._time.now().mono - flight.since
        if late < LATE:
            return
        if mid in self._overtaken:
            self._unanswered(mid)
        elif len(self._flights) < link.window:
            if len(self._flights) == 1 and flight.key != self.names.state:
                self._publish_state(
                    self.names.state
                )  # gives the broker something to acknowledge, for comparison
        elif late >= VERY_LATE and self._acknowledged_any:
            link.echo(lambda _: self._unanswered(mid))

    def _unanswered(self, mid: int) -> None:
        """Count a missing acknowledgement against ``mid``, and reconnect to repeat it."""
        flight = self._flights.pop(mid, None)
        if flight is None or self._link is None:
            return
        self._repeat_flights([flight])
        self._trials.count(flight, witnessed=True, reason=UNANSWERED)
        self._link.reconnect("a publication was never acknowledged")

    # -- events and states -------------------------------------------------------------------------------

    def event(self, event_type: str, **fields: Any) -> None:
        """Publish an event; ``fields`` are its JSON keys beside the type and the time."""
        if event_type not in self.wanted:
            return
        self._events.append(event_json(event_type, self._time.now().wall, fields))
        if not self._suspects and not self._trials.checking:
            self._publish_events()

    def state(self, topic: str, payload: bytes, *, again: bool = False) -> None:
        """Set the retained state of ``topic``; an unchanged one is published only if ``again``."""
        self.states.set(topic, payload, again=again)
        self.wake()

    def farewell(self, topic: str, payload: bytes) -> None:
        """Publish a last state at once, because the connection is about to end."""
        self.states.set(topic, payload, again=True)
        self._publish_state(topic)

    def clear_retained(self, topic: str, then: Callable[[], None]) -> None:
        """Clear the retained state of ``topic``; ``then`` is called when the broker has done so."""
        self.states.remove(topic, then)
        self.wake()

    def repeat(self) -> None:
        """Publish every retained state again, for a subscriber that has just connected."""
        self.states.repeat()
        self.wake()

    def up(self) -> None:
        """Note a connection: publish every state and everything that waits."""
        self.states.repeat()
        self._trials.up()
        self.wake()

    def _publish_state(self, topic: str) -> bool:
        """Publish the state of ``topic``; return False while the session takes nothing."""
        payload = self.states.take(topic)
        if payload is None:
            return True
        flight = Flight(topic, len(topic) + len(payload), self._time.now().mono)
        given = self._give(flight, topic, payload, retain=True, properties=None)
        if not given:
            self.states.again([topic])
        return given

    def _publish_events(self) -> None:
        link = self._link
        while self._events and link and link.publish_event(self.names.event, self._events[0]):
            self._events.popleft()


def write_properties(properties: Properties) -> str | None:
    """Return the properties in the form of a stored report."""
    if properties.correlation is None and not properties.user:
        return None
    correlation = None if properties.correlation is None else properties.correlation.hex()
    return json.dumps([correlation, properties.user])


def _read_properties(text: str | None) -> Properties | None:
    if text is None:
        return None
    correlation, user = json.loads(text)
    return Properties(
        correlation=None if correlation is None else bytes.fromhex(correlation),
        user=tuple((key, value) for key, value in user),
    )
