"""Reports on their way to the broker: durable ones, events, and retained states.

A durable report stays on disk until the broker has acknowledged it. The publisher reads them in order behind
a cursor and keeps a window of them in flight; what was in flight when a connection ended it publishes again,
before the others. Where the broker cut the connection, each of those is tried alone (`bridge.core.suspects`):
what it cuts the connection for is set aside. Events are told as they happen: while the broker is away the
newest wait in memory.
"""

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from bridge.core.delivery import Properties
from bridge.core.suspects import Key
from bridge.errors import Unpublishable
from bridge.flow.message.refused import Refused
from bridge.flow.message.set_aside import Asides
from bridge.flow.message.states import States
from bridge.flow.message.topics import Names
from bridge.flow.message.trials import Answering, Flight, Trials
from bridge.protocol.api.reports import event_json
from bridge.store.journal import Journal
from bridge.store.outbox import Report

log = logging.getLogger("publisher")

EVENTS_KEPT = 1000
"""Events that wait in memory while the broker is away; older ones go."""

LOOK_EVERY = 2.0
"""Seconds between looks at what is not acknowledged."""

LATE = 5.0
"""Seconds after which an acknowledgement is late, if what was published later has its own."""

VERY_LATE = 30.0
"""The same where nothing can be published later, as all that may be in flight is."""

UNANSWERED = "the broker never acknowledges it, and acknowledges what is published after it"
NEVER = {"Topic name invalid", "Packet too large", "Payload format invalid"}
"""Refusals that cannot become better [MQTT 5.0, section 2.4: 0x90, 0x95, 0x99]."""


class Link(Answering, Protocol):
    """What the publisher needs of the MQTT session."""

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
        """Publish; return the packet id. Raises `Unpublishable`."""

    def publish_event(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 0; False where it cannot go now."""

    def reconnect(self, reason: str) -> None:
        """End the connection, and connect again."""


class Publisher:
    """Owns what goes to the broker."""

    def __init__(self, journal: Journal, names: Names) -> None:
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._names = names
        self.states = States()
        self.asides = Asides(journal.outbox, journal.writer)
        self._refused = Refused(self._publish_again, self._time)
        self._link: Link | None = None
        self._cursor = 0
        self._again: dict[int, None] = {}
        """Numbers of reports that lie behind the cursor and are to be published."""
        self._flights: dict[int, Flight] = {}
        """By packet id, oldest first."""
        self._heard = False
        """Whether anything is acknowledged on this connection."""
        self._overtaken: set[int] = set()
        """Packet ids of flights that were published before something that is acknowledged."""
        self._acknowledged: list[int] = []
        self._events: deque[bytes] = deque(maxlen=EVENTS_KEPT)
        self._pumping = False
        self._looking = False
        self._trials = Trials(
            self._time, control=names.state, wake=self.wake, leave_out=self._cut_for, skip=self._skip
        )
        self._suspects = self._trials.suspects
        self.on_room: Callable[[], None] = lambda: None
        """Is told that fewer reports wait than before."""

    def attach(self, link: Link, witness: Answering | None = None) -> None:
        """Use ``link`` from now on; ``witness``, another connection, tells whether the broker is there."""
        self._link = link
        self._trials.attach(link, witness)

    # -- durable reports ---------------------------------------------------------------------------------

    def wake(self) -> None:
        """There is something new to publish, or there is room for more."""
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
        self._tell_events()
        for topic in sorted(self.states.due, key=lambda each: each != self._names.state):  # that first
            if len(self._flights) >= link.window or not self._tell_state(topic):
                return
        room = link.window - len(self._flights)
        if room <= 0 or self._writer.busy(self.wake):
            return
        for report in self._next(room):
            if not self._publish(report):
                return

    def _next(self, room: int) -> Iterator[Report]:
        """Return what to publish now: what was published before, then what comes behind the cursor."""
        again = sorted(self._again)[:room] if self._again else []
        for seq in again:
            if report := self._outbox.get_report(seq):
                yield report
            else:
                self._again.pop(seq, None)
        yield from self._outbox.reports_after(self._cursor, room - len(again))

    def _publish(self, report: Report) -> bool:
        """Whether ``report`` is out of the way: published, set aside, or to be tried alone."""
        size = _size(report)
        if self._suspects.sizes.doubtful(size) and report.seq not in self._suspects:
            self._suspects.suspect([report.seq])
            self._passed(report.seq)
            self.wake()
            return False
        properties = _read_properties(report.properties)
        return self._give(
            Flight(report.seq, size, 0.0), report.topic, report.payload, bool(report.retain), properties
        )

    def _give(
        self, flight: Flight, topic: str, payload: bytes, retain: bool, properties: Properties | None
    ) -> bool:
        """Give a publication to the broker; whether it is in flight, or never will be."""
        link = self._link
        if link is None:
            return False
        try:
            mid = link.publish(topic, payload, retain=retain, properties=properties)
        except Unpublishable as exc:
            self._leave_out(flight.key, str(exc))
            return True
        if mid is None:
            return False
        self._flights[mid] = flight._replace(since=self._time.now().mono)
        if isinstance(flight.key, int):
            self._passed(flight.key)
        self._look_later()
        return True

    def _passed(self, seq: int) -> None:
        """Note that the report ``seq`` needs not be read again."""
        self._again.pop(seq, None)
        self._cursor = max(self._cursor, seq)

    def published(self, mid: int, problem: str | None) -> None:
        """The broker has the publication ``mid``, or refuses it."""
        flight = self._flights.get(mid)
        if flight is None:
            return
        self._overtaken.update(_before(self._flights, mid))
        self._overtaken.discard(mid)
        del self._flights[mid]
        self.wake()
        if problem:
            self._suspects.clear(flight.key)
        else:
            self._heard = True
            self._suspects.acknowledged(flight.key)
        if isinstance(flight.key, str):
            if not any(other.key == flight.key for other in self._flights.values()):
                self.states.published(flight.key, problem)
        elif problem:
            self._refuse(flight.key, problem)
        else:
            self._suspects.sizes.taken(flight.size)
            self._refused.taken(flight.key)
            self._sent(flight.key)

    def _sent(self, seq: int) -> None:
        if not self._acknowledged:
            self._time.call_soon(self._forget)
        self._acknowledged.append(seq)

    def _forget(self) -> None:
        seqs, self._acknowledged = self._acknowledged, []
        self._writer.write(lambda: self._outbox.reports_sent(seqs), lambda _: self.on_room(), frees=True)

    def _refuse(self, seq: int, problem: str) -> None:
        """An access list that refuses our own report is a mistake to mend: keep it and come back.

        A Response Topic is the publisher's choice: if we may not publish there, its result has gone out on
        our own topic anyway.
        """
        if self._writer.busy(partial(self._refuse, seq, problem)):
            return
        report = self._outbox.get_report(seq)
        if report is None:
            return
        if not report.topic.startswith(self._names.prefix + "/"):
            log.warning("the broker refuses the response topic %s: %s", report.topic, problem)
            self._writer.write(lambda: self._outbox.reports_sent([seq]), frees=True)
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

    def _leave_out(self, key: Key, reason: str, *, cut: bool = False) -> None:
        """Go on without a publication that the broker does not take."""
        self._suspects.clear(key)
        if isinstance(key, str):
            self.states.refused(key, reason, cut=cut)
            return
        self._passed(key)
        self._set_aside(key, reason)

    def _set_aside(self, seq: int, reason: str) -> None:
        if self._writer.busy(partial(self._set_aside, seq, reason)):
            return
        if report := self._outbox.get_report(seq):
            self.asides.report(report, reason)

    @property
    def idle(self) -> bool:
        """Whether the broker has acknowledged everything that was given to it."""
        return not self._flights and not self._pumping

    # -- what the broker cuts the connection for ---------------------------------------------------------

    def down(self) -> None:
        """The connection is lost: what was in flight is published again, alone where the broker cut it."""
        flights = list(self._flights.values())
        self._flights.clear()
        self._overtaken.clear()
        self._heard = False
        self._take_again(flights)
        self._trials.down(flights, cut=self._link is not None and self._link.cut)

    def _take_again(self, flights: list[Flight]) -> None:
        """Have ``flights`` published again: whether the broker has them is not known."""
        self._again.update((flight.key, None) for flight in flights if isinstance(flight.key, int))
        self.states.again(flight.key for flight in flights if isinstance(flight.key, str))

    def _cut_for(self, key: Key, reason: str) -> None:
        self._leave_out(key, reason, cut=True)

    def _skip(self, key: Key) -> None:
        """Leave ``key`` out for now: it is tried again as a suspect."""
        if isinstance(key, int):
            self._again.pop(key, None)

    def _try_suspect(self) -> None:
        """Publish the first suspect with nothing else in flight."""
        key = self._suspects.first
        if self._flights or key is None or self._writer.busy(self.wake):
            return
        if isinstance(key, str):
            given = self._tell_state(key)
        else:
            report = self._outbox.get_report(key)
            given = report is None or self._publish(report)
        if given and not self._flights:  # it is not there any more, or cannot be published
            self._suspects.clear(key)
            self.wake()

    # -- what it never acknowledges ----------------------------------------------------------------------

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._time.call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        """See whether the oldest flight is left out by a broker that acknowledges others."""
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
            if len(self._flights) == 1 and flight.key != self._names.state:
                self._tell_state(self._names.state)  # something to compare with
        elif late >= VERY_LATE and self._heard:
            link.echo(lambda _: self._unanswered(mid))

    def _unanswered(self, mid: int) -> None:
        """Hold it against the publication ``mid``, and connect again to repeat it."""
        flight = self._flights.pop(mid, None)
        if flight is None or self._link is None:
            return
        self._take_again([flight])
        self._trials.count(flight, witnessed=True, reason=UNANSWERED)
        self._link.reconnect("a publication was never acknowledged")

    # -- events and states -------------------------------------------------------------------------------

    def event(self, event_type: str, **fields: Any) -> None:
        """Tell that something happened."""
        self._events.append(event_json(event_type, self._time.now().wall, fields))
        if not self._suspects and not self._trials.checking:
            self._tell_events()

    def state(self, topic: str, payload: bytes, *, again: bool = False) -> None:
        """Keep ``payload`` as the retained state of ``topic``; publish an unchanged one only if ``again``."""
        self.states.set(topic, payload, again=again)
        self.wake()

    def farewell(self, topic: str, payload: bytes) -> None:
        """Publish a last state at once: the connection is about to be ended."""
        self.states.set(topic, payload, again=True)
        self._tell_state(topic)

    def clear_retained(self, topic: str, then: Callable[[], None]) -> None:
        """Have the broker forget the retained state of ``topic``; ``then`` is called when it has."""
        self.states.remove(topic, then)
        self.wake()

    def repeat(self) -> None:
        """Publish every retained state again, for somebody who has just come."""
        self.states.repeat()
        self.wake()

    def up(self) -> None:
        """The session stands: tell everything that waits."""
        self.states.repeat()
        self._trials.up()
        self.wake()

    def _tell_state(self, topic: str) -> bool:
        """Whether the state of ``topic`` is out of the way."""
        payload = self.states.take(topic)
        if payload is None:
            return True
        flight = Flight(topic, len(topic) + len(payload), 0.0)
        given = self._give(flight, topic, payload, retain=True, properties=None)
        if not given:
            self.states.again([topic])
        return given

    def _tell_events(self) -> None:
        link = self._link
        while self._events and link and link.publish_event(self._names.event, self._events[0]):
            self._events.popleft()


def _before(flights: dict[int, Flight], mid: int) -> list[int]:
    """Return the packet ids that were published before ``mid``; usually there are none."""
    before = []
    for each in flights:
        if each == mid:
            break
        before.append(each)
    return before


def _size(report: Report) -> int:
    return len(report.topic) + len(report.payload) + len(report.properties or "")


def write_properties(properties: Properties) -> str | None:
    """Return the properties as a report keeps them."""
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
