"""Reports on their way to the broker: durable ones, events, and retained states.

A durable report stays on disk until the broker has acknowledged it. The publisher reads them in order behind
a cursor and keeps a window of them under way; paho itself repeats what was under way when a connection
broke. Events are told as they happen: while the broker is away the newest wait in memory.
"""

import json
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from bridge.core.delivery import Properties
from bridge.core.messages import Now
from bridge.flow.names import Names
from bridge.protocol.reports import event_json
from bridge.store.outbox import Outbox, Report
from bridge.store.writer import Writer

log = logging.getLogger("publisher")

HELD_TRIES = 8
"""Refused reports that are tried again at a time."""

EVENTS_KEPT = 1000
"""Events that wait in memory while the broker is away; older ones go."""

REFUSED_PAUSE = 30.0
"""Seconds before reports are tried again after the broker refused one."""


class Link(Protocol):
    """What the publisher needs of the MQTT session."""

    connected: bool
    window: int

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int | None:
        """Publish; return the packet id."""

    def publish_event(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 0; False where it cannot go now."""


class Publisher:
    """Owns what goes to the broker."""

    def __init__(
        self,
        outbox: Outbox,
        writer: Writer,
        names: Names,
        clock: Callable[[], Now],
        *,
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._outbox = outbox
        self._writer = writer
        self._names = names
        self._clock = clock
        self._call_soon = call_soon
        self._call_later = call_later
        self._link: Link | None = None
        self._cursor = 0
        self._under_way: dict[int, int] = {}
        """Sequence numbers of reports by packet id."""
        self._acknowledged: list[int] = []
        self._events: deque[bytes] = deque(maxlen=EVENTS_KEPT)
        self._states: dict[str, bytes] = {}
        self._taken_back: dict[str, Callable[[], None]] = {}
        """Topics whose retained state is to go, and whom to tell when it has."""
        self._going: dict[int, str] = {}
        """Those topics by the packet id of what removes their state."""
        self._pumping = False
        self._held: dict[int, None] = {}
        """Sequence numbers of reports that the broker refused."""

    def attach(self, link: Link) -> None:
        """Use ``link`` from now on."""
        self._link = link

    # -- durable reports ---------------------------------------------------------------------------------

    def wake(self) -> None:
        """There are new reports, or there is room for more."""
        if not self._pumping:
            self._pumping = True
            self._call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        link = self._link
        if link is None or not link.connected:
            return
        room = link.window - len(self._under_way)
        if room <= 0 or self._writer.busy(self.wake):
            return
        self._tell_events()
        for report in self._outbox.reports_after(self._cursor, room):
            if not self._publish(report):
                return
            self._cursor = report.seq

    def _publish(self, report: Report) -> bool:
        link = self._link
        mid = None
        if link is not None:
            properties = _read_properties(report.properties)
            mid = link.publish(
                report.topic, report.payload, qos=1, retain=bool(report.retain), properties=properties
            )
        if mid is not None:
            self._under_way[mid] = report.seq
        return mid is not None

    def published(self, mid: int, problem: str | None) -> None:
        """The broker has the publication ``mid``, or refuses it."""
        if (topic := self._going.pop(mid, None)) and not problem:
            self._taken_back.pop(topic, _nobody)()
        seq = self._under_way.pop(mid, None)
        if seq is None:
            return
        self.wake()
        if problem:
            self._refused(seq, problem)
            return
        if not self._acknowledged:
            self._call_soon(self._forget)
        self._acknowledged.append(seq)

    def _forget(self) -> None:
        seqs, self._acknowledged = self._acknowledged, []
        self._writer.settle(lambda: self._outbox.reports_sent(seqs), frees=True)

    def _refused(self, seq: int, problem: str) -> None:
        """An access list that refuses our own report is a mistake to mend: keep it and come back.

        A Response Topic is the publisher's choice: if we may not publish there, its result has gone out on
        our own topic anyway.
        """
        if self._writer.busy(partial(self._refused, seq, problem)):
            return
        report = next(iter(self._outbox.reports_after(seq - 1, 1)), None)
        if report is None or report.seq != seq:
            return
        if report.topic.startswith(self._names.prefix + "/"):
            log.error("the broker refuses %s: %s; check its access list", report.topic, problem)
            if not self._held:
                self._call_later(REFUSED_PAUSE, self._retry_held)
            self._held[seq] = None
        else:
            log.warning("the broker refuses the response topic %s: %s", report.topic, problem)
            self._writer.settle(lambda: self._outbox.reports_sent([seq]), frees=True)

    def _retry_held(self) -> None:
        """Try some of the refused ones again; the others and all that is new go on meanwhile."""
        if self._writer.busy(self._retry_held):
            return
        tried = list(self._held)[:HELD_TRIES]
        for seq in tried:
            del self._held[seq]
            for report in self._outbox.reports_after(seq - 1, 1):
                if report.seq != seq or not self._publish(report):
                    self._held[seq] = None
        if self._held:
            self._call_later(REFUSED_PAUSE, self._retry_held)

    @property
    def idle(self) -> bool:
        """Whether the broker has acknowledged everything that was given to it."""
        return not self._under_way and not self._pumping

    # -- events and states -------------------------------------------------------------------------------

    def event(self, event_type: str, **fields: Any) -> None:
        """Tell that something happened."""
        payload = event_json(event_type, self._clock().wall, fields)
        link = self._link
        if link is None or not link.publish_event(self._names.event, payload):
            self._events.append(payload)

    def state(self, topic: str, payload: bytes, *, again: bool = False) -> None:
        """Keep ``payload`` as the retained state of ``topic``; publish an unchanged one only if ``again``."""
        if again or self._states.get(topic) != payload:
            self._states[topic] = payload
            if self._link and self._link.connected:
                self._link.publish(topic, payload, qos=1, retain=True)

    def take_back(self, topic: str, then: Callable[[], None]) -> None:
        """Have the broker forget the retained state of ``topic``; ``then`` is called when it has."""
        self._states.pop(topic, None)
        self._taken_back[topic] = then
        self._remove(topic)

    def _remove(self, topic: str) -> None:
        if self._link and (mid := self._link.publish(topic, b"", qos=1, retain=True)) is not None:
            self._going[mid] = topic

    def repeat(self) -> None:
        """Publish every retained state again, for somebody who has just come."""
        if self._link and self._link.connected:
            for topic, payload in self._states.items():
                self._link.publish(topic, payload, qos=1, retain=True)

    def up(self) -> None:
        """The session stands: tell everything that waits."""
        for topic in set(self._taken_back) - set(self._going.values()):
            self._remove(topic)
        self.repeat()
        self._tell_events()
        self.wake()

    def _tell_events(self) -> None:
        link = self._link
        while self._events and link and link.publish_event(self._names.event, self._events[0]):
            self._events.popleft()


def _nobody() -> None:
    """Nobody is to be told."""


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
