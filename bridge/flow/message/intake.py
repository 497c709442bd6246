"""Intake: from MQTT to the outbox. A delivery is acknowledged only after its outcome is durable.

A delivery is read (`bridge.flow.message.reader`) and handed to the writer as a message. After the commit the
intake acknowledges it, publishes ``message.queued`` and wakes the uplink. An unreadable delivery takes the
same way with a ``rejected`` result in place of the message, so that no acknowledgement leaves before the
reason is on disk.
"""

import logging
from collections.abc import Callable
from functools import partial

from bridge.core.delivery import Delivery
from bridge.core.escalation import Alarm
from bridge.core.log_throttle import LogThrottle
from bridge.core.messages import Endpoint, Formed, Lane, Message, Queued, Result, State
from bridge.core.progress import Progress
from bridge.core.retry import Kind, Reading
from bridge.errors import InvalidCommand
from bridge.flow.message.deliveries import Acknowledger, SkippedRetained, receipt_of
from bridge.flow.message.escalator import alarm
from bridge.flow.message.filtering import Arrival, Filtering
from bridge.flow.message.reader import Policy, Reader
from bridge.flow.message.results import Rejection, Results
from bridge.flow.message.sessions import Numbered
from bridge.flow.notices import Notices
from bridge.protocol.api import commands
from bridge.store.journal import Journal
from bridge.store.outbox import Acceptance, Verdict
from bridge.store.receipts import Receipt

log = logging.getLogger("intake")

FULL = "dropped to make room: the outbox is full (store.when_full: drop_oldest)"
NEWER = "a newer message of its topics took its place (keep of its route)"

RESULT_SIZE = 512
"""Bytes that the result of a delivery may take at a guess, while the delivery waits for its commit."""

WAITING_LIMIT = 5000
"""Deliveries at QoS 0 that may wait for the disk. They are best effort, and memory is scarce."""


class Intake:
    """Takes deliveries of message commands."""

    def __init__(
        self,
        journal: Journal,
        results: Results,
        policy: Policy,
        filtering: Filtering,
        session: Numbered,
        on_queued: Callable[[Endpoint], None],
        notices: Notices,
    ) -> None:
        """``session`` is the broker's session by which the deliveries come.

        ``on_queued`` is called when a message for the endpoint is durable.
        """
        self.reader = Reader(journal, policy, results.names.prefix)
        self._dropped, self._rejected, self._holds = LogThrottle(), LogThrottle(), LogThrottle()
        self._retained = SkippedRetained()
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._results = results
        self._filtering = filtering
        self._names = results.names
        self._session = session
        self._on_queued = on_queued
        self._notices = notices
        self._held: dict[tuple[int, int], tuple[Delivery, Acknowledger]] = {}
        """Deliveries that wait, unacknowledged, until there is room for their results."""
        self._taken = self._ended = 0
        """Deliveries handed to the writer, and deliveries whose outcome is durable."""

    @property
    def lost(self) -> int:
        """The number of deliveries at QoS 0 that were dropped."""
        return self._dropped.count

    def progress(self) -> tuple[Progress, ...]:
        """Return the progress of the deliveries, for the watchdog."""
        busy = self._taken > self._ended and not self._writer.full
        return (Progress("intake", self._ended, busy),)

    def received(self, delivery: Delivery, session: Acknowledger) -> None:
        """Take one delivery; ``session`` is the session that acknowledges it."""
        # The broker delivers its stored copy again after each reconnection, and nobody has sent it now.
        if delivery.retain:
            self._retained.skip(delivery, session)
            return
        waits = bool(self._held) or not self._has_room
        # The broker keeps no copy of a message at QoS 0, so leaving it unacknowledged would not save it.
        if delivery.qos == 0 and (waits or self._writer.full or self._writer.waiting >= WAITING_LIMIT):
            self._drop(delivery)
        # Those that are held go first. A repetition replaces the held one.
        elif waits:
            self._hold(delivery, session)
        else:
            self._take(delivery, session)

    @property
    def _has_room(self) -> bool:
        """Whether one more result has room, besides those of the deliveries that wait for their commit.

        They may be hundreds: Mosquitto 2.0.11 does not keep to our Receive Maximum after a reconnection.
        """
        waiting = self._taken - self._ended
        room = self._outbox.results_room
        return room > 0 and (waiting == 0 or room > waiting * RESULT_SIZE)

    def _take(self, delivery: Delivery, session: Acknowledger) -> None:
        topic = self._names.below(delivery.topic)
        self._taken += 1
        try:
            message, rule, urgent = self.reader.read(topic, delivery)
        except InvalidCommand as exc:
            self._reject(topic, delivery, exc, session)
            return
        receipt = receipt_of(delivery, self._session.number)
        if rule:
            arrival = Arrival(receipt, partial(self._acknowledge, delivery, session), self._settle)
            if not self._filtering.passes(message, rule, arrival, urgent=urgent):
                return
        self._writer.append(
            partial(self._accept, message, receipt),
            partial(self._accepted, message, delivery, session),
            size=len(message.payload),
            key=receipt.key if receipt else None,
            again=delivery.dup,
            replaced=self._settle,
        )

    def store(self, message: Message, within: Callable[[], None] | None = None) -> None:
        """Store a message without a delivery: one that a filter held back, or one of the bridge's own.

        ``within`` runs in the same transaction.
        """
        self._taken += 1

        def accept() -> tuple[Acceptance, list[Result]]:
            if within:
                within()
            return self._accept_held(message)

        self._writer.append(accept, partial(self._held_stored, message), size=len(message.payload))

    def backpressure(self, again: Callable[[], None]) -> bool:
        """Whether too much waits for the disk; calls ``again`` when it does no longer."""
        return self._writer.backpressure(again)

    def _hold(self, delivery: Delivery, session: Acknowledger) -> None:
        """Keep ``delivery`` unacknowledged until there is room for its result.

        The broker then sends no more.
        """
        if self._outbox.results_room <= 0 and self._holds.due():
            log.error(
                "no message is taken: %d bytes of results and inbound messages wait for the broker "
                "(store.max_bytes); check that its access list lets the bridge publish",
                self._outbox.ledger.report_bytes,
            )
        # The broker repeats unacknowledged deliveries after a reconnection. The repetition replaces the
        # earlier copy, whose acknowledgement would go to a connection that is gone.
        self._held[self._session.number, delivery.mid] = (delivery, session)

    def resume(self) -> None:
        """Take the held deliveries, as far as there is room for results again."""
        while self._held and self._has_room:
            self._take(*self._held.pop(next(iter(self._held))))

    def _settle(self) -> None:
        """Count a delivery whose outcome is durable, or that its repetition replaced."""
        self._ended += 1
        if self._held:
            self.resume()

    def _drop(self, delivery: Delivery) -> None:
        if self._dropped.due():
            log.warning(
                "the disk is too slow: %d messages at QoS 0 were dropped, last on %s; publish with QoS 1",
                self.lost,
                delivery.topic,
            )

    # -- storing -----------------------------------------------------------------------------------------

    def _accept(self, message: Message, receipt: Receipt | None) -> tuple[Acceptance, list[Result]]:
        """Store ``message`` and the results that its acceptance causes; runs inside the transaction."""
        acceptance = self._outbox.accept(message, receipt)
        ended = [
            *(self._end(queued, State.DROPPED, FULL, formed) for queued, formed in acceptance.dropped),
            *(self._end(queued, State.SUPERSEDED, NEWER) for queued in reversed(acceptance.superseded)),
        ]
        # A producer that repeats an id gets the result of the first message; a message still in the outbox
        # sends its result to the topic that was asked for last.
        if acceptance.verdict is Verdict.KNOWN and acceptance.result is not None:
            self._results.repeat(acceptance.result, message.reply)
        elif acceptance.verdict is Verdict.KNOWN and message.reply:
            self._outbox.ask_again(message.id, message.reply)
        elif acceptance.verdict is Verdict.REFUSED:
            text = "the outbox is full (store.max_messages, store.max_bytes)"
            # The id may be used again, so no result is kept under it.
            result = self._results.of_message(message, State.DROPPED, text)
            self._results.record(result, idempotent=False, reply=message.reply)
            if message.escalate_after is not None:
                about = alarm(0, message.id, message.lane, message.payload)
                self._results.escalations.never_stored(about)
            ended.append(result)
        return acceptance, ended

    def _end(self, queued: Queued, state: State, why: str, left: Formed | None = None) -> Result:
        """Record the result of a message that left the outbox for another; runs inside the transaction."""
        reading = Reading(Kind.REFUSED, why)
        result = self._results.of_queued(queued, state, reading, attempts=queued.attempts, left=left)
        self._results.end(queued, result, queued.reply)
        return result

    def _accept_held(self, message: Message) -> tuple[Acceptance, list[Result]]:
        """Store a message that was held back, whose id is its own since then; runs inside the transaction."""
        if message.idempotent and not self._outbox.keys.is_queued(message.id):
            self._outbox.keys.release(message.id)
        return self._accept(message, None)

    def _acknowledge(self, delivery: Delivery, session: Acknowledger) -> None:
        self._settle()
        session.ack(delivery)

    def _accepted(
        self,
        message: Message,
        delivery: Delivery,
        session: Acknowledger,
        value: tuple[Acceptance, list[Result]],
    ) -> None:
        """Acknowledge ``delivery`` and publish its outcome; runs after the commit."""
        session.ack(delivery)
        verdict = value[0].verdict
        if verdict is Verdict.REFUSED:
            self._filtering.forget(message)
        if message.idempotent and verdict is not Verdict.REDELIVERED:
            self._filtering.settle(message, new=verdict is not Verdict.KNOWN)
        self._stored(message, value)

    def _held_stored(self, message: Message, value: tuple[Acceptance, list[Result]]) -> None:
        """Publish the outcome of a message that was held back; runs after the commit."""
        if value[0].verdict is not Verdict.STORED:
            self._filtering.forget(message)
        self._stored(message, value)

    def _stored(self, message: Message, value: tuple[Acceptance, list[Result]]) -> None:
        """Publish the outcome of ``message``; runs after the commit."""
        acceptance, ended = value
        self._settle()
        for result in ended:
            self._results.notify(result)
        if acceptance.verdict is Verdict.KNOWN:
            self._notices.reports_ready()
        elif acceptance.verdict is Verdict.STORED:
            if message.escalate_after is not None:
                self._results.escalations.watch()
            if "message.queued" in self._notices.wanted:
                self._notice_queued(message)
            self._on_queued(message.lane.endpoint)

    def _notice_queued(self, message: Message) -> None:
        lane = message.lane
        about = {"to": lane.to} if lane.to else {}
        self._notices.event(
            "message.queued",
            id=message.id,
            channel=lane.endpoint.channel,
            **about,
            topics=lane.topics,
            priority=lane.priority.label,
        )

    # -- refusing ----------------------------------------------------------------------------------------

    def _reject(self, topic: str, delivery: Delivery, error: InvalidCommand, session: Acknowledger) -> None:
        rejection = self._results.of_unreadable(topic, delivery, error, self.reader.new_id())
        if self._rejected.due():
            log.warning(
                "rejected a message on %s: %s (%d so far)", delivery.topic, error.reason, self._rejected.count
            )
        receipt = receipt_of(delivery, self._session.number)
        about = self._alarm(topic, delivery, rejection.result.id)
        self._writer.append(
            partial(self._refuse, rejection, receipt, about),
            partial(self._refused, rejection.result, delivery, session),
            key=receipt.key if receipt else None,
            again=delivery.dup,
            replaced=self._settle,
        )

    def _alarm(self, topic: str, delivery: Delivery, name: str) -> Alarm | None:
        """Return an unreadable message as it is escalated, as far as its topics can be read."""
        claimed = commands.claimed_message(topic, delivery.payload, delivery.properties)
        if claimed is None:
            return None
        route = self.reader.policy.router.route(claimed.topics)
        lane = Lane(route.endpoint, claimed.topics, route.priority)
        return None if route.escalation is None else alarm(0, name, lane, claimed.payload)

    def _refuse(self, rejection: Rejection, receipt: Receipt | None, about: Alarm | None) -> bool:
        result, idempotent, reply = rejection
        if self._outbox.receipts.repeats(receipt):
            return False
        if idempotent and not self._outbox.keys.add(result.id):
            known = self._outbox.keys.result(result.id)
            if known is not None:
                self._results.repeat(known, reply)
            return False
        self._results.record(result, idempotent=idempotent, reply=reply)
        if about is not None:
            self._results.escalations.never_stored(about)
        return True

    def _refused(self, result: Result, delivery: Delivery, session: Acknowledger, new: bool) -> None:
        self._settle()
        session.ack(delivery)
        if new:
            self._results.notify(result)
        else:
            self._notices.reports_ready()
