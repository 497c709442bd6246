"""Results: written in the transaction that ends their command, published as events after its commit."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from bridge.core.delivery import Delivery, Properties
from bridge.core.messages import Channel, Formed, Message, Queued, Reply, Result, State, Traffic
from bridge.core.retry import Kind, Reading
from bridge.errors import InvalidCommand
from bridge.flow.message.escalator import Escalations, NoEscalations
from bridge.flow.message.publisher import write_properties
from bridge.flow.message.topics import Names
from bridge.flow.notices import Notices
from bridge.protocol.api import commands
from bridge.protocol.api.reports import result_json
from bridge.store.journal import Journal

NOTHING = Traffic()

_EVENTS = {
    State.DELIVERED: "message.sent",
    State.REJECTED: "message.rejected",
    State.EXPIRED: "message.expired",
    State.DROPPED: "message.dropped",
    State.FAILED: "message.failed",
}
_SMS_EVENTS = {**_EVENTS, State.DELIVERED: "sms.sent", State.UNCONFIRMED: "sms.unconfirmed"}


class Rejection(NamedTuple):
    """The end of a delivery that is no command."""

    result: Result
    idempotent: bool
    """Whether its producer chose the id."""
    reply: Reply | None


class Results:
    """Builds, stores and publishes results."""

    def __init__(
        self, journal: Journal, names: Names, notices: Notices, escalations: Escalations | None = None
    ) -> None:
        self._outbox, self._time = journal.outbox, journal.time
        self.escalations = escalations or NoEscalations()
        self.names = names
        self._notices = notices

    def of_queued(
        self,
        queued: Queued,
        state: State,
        reading: Reading,
        *,
        attempts: int,
        traffic: Traffic = NOTHING,
        left: Formed | None = None,
    ) -> Result:
        """Return the result of a queued message; ``traffic`` is that of its last exchange alone.

        If it is in a batch, the exchanges of that are its attempts, and ``traffic`` is its share of them.
        ``left`` is the batch in which it was when it left the outbox, where it has.
        """
        formed = left or self._outbox.batches.of(queued)
        return Result(
            id=queued.id,
            channel=queued.lane.endpoint.channel,
            state=state,
            description=reading.description,
            queued_at=queued.queued_at,
            finished_at=self._time.now().wall,
            topics=queued.lane.topics,
            to=queued.lane.to,
            code=reading.code,
            attempts=attempts + (formed.attempts if formed else 0),
            traffic=queued.traffic.plus(traffic),
            answer=reading.answer,
            batch=formed.named if formed else None,
        )

    def of_command(
        self, name: str, channel: Channel, state: State, description: str, queued_at: float | None = None
    ) -> Result:
        """Return the result of a command with the id ``name``, which came now or at ``queued_at``."""
        now = self._time.now().wall
        since = now if queued_at is None else queued_at
        return Result(name, channel, state, description, queued_at=since, finished_at=now)

    def of_unreadable(self, topic: str, delivery: Delivery, error: InvalidCommand, spare: str) -> "Rejection":
        """Return the result of a delivery on ``topic`` that is no command; ``spare`` is an id without one."""
        claimed = commands.claimed_id(topic, delivery.payload, delivery.properties)
        channel = commands.channel_of(topic)
        result = self.of_command(claimed or spare, channel, State.REJECTED, str(error))
        reply = commands.claimed_reply(delivery.properties, self.names.prefix)
        return Rejection(result, bool(claimed), reply)

    def of_message(self, message: Message, state: State, description: str) -> Result:
        """Return the result of a message that the outbox did not accept."""
        lane, now = message.lane, self._time.now()
        queued_at = None if message.received is None else now.wall - (now.mono - message.received)
        result = self.of_command(message.id, lane.endpoint.channel, state, description, queued_at)
        return result._replace(topics=lane.topics, to=lane.to)

    def end(self, queued: Queued, result: Result, reply: Reply | None) -> None:
        """Store the ``result`` of ``queued``, which has left the outbox; runs inside the transaction."""
        self.record(result, idempotent=queued.idempotent, reply=reply)
        for text in self.escalations.ended(queued, result.state):
            reading = Reading(Kind.REFUSED, "its message was delivered first")
            needless = self.of_queued(text, State.DROPPED, reading, attempts=text.attempts)
            self._outbox.remove(text)
            self.record(needless, idempotent=False, reply=None)
            self._outbox.escalations.dropped.append(needless)

    def record(self, result: Result, *, idempotent: bool, reply: Reply | None) -> None:
        """Store ``result`` as a report; runs inside the transaction."""
        payload = result_json(result)
        self._outbox.count(result.state)
        if idempotent:
            self._outbox.finish_key(result.id, payload)
        self.repeat(payload, reply)

    def repeat(self, payload: bytes, reply: Reply | None) -> None:
        """Store a result that is known already as a report; runs inside the transaction."""
        self._outbox.reports.add(self.names.result, payload)
        if reply:
            self._outbox.reports.add(
                reply.topic, payload, write_properties(Properties(correlation=reply.correlation))
            )

    def repeated(self) -> None:
        """Publish the results that `repeat` stored, which are durable now."""
        self._notices.reports_ready()

    def notify(self, result: Result) -> None:
        """Publish ``result``, which is durable now, and its event."""
        self._notices.reports_ready()
        self._notify(result)
        dropped, self._outbox.escalations.dropped = self._outbox.escalations.dropped, []
        for each in dropped:
            self._notify(each)
        self.escalations.announce()

    def _notify(self, result: Result) -> None:
        event_type = _events_of(result.channel).get(result.state)
        if event_type:
            self._notices.event(event_type, **_about(result))


def _events_of(channel: Channel) -> Mapping[State, str]:
    """Return the event type of each state; commands about the bridge itself have no events."""
    if channel in (Channel.NETWORK, Channel.QUEUE, Channel.BUDGET, Channel.QUOTE):
        return {}
    return _SMS_EVENTS if channel is Channel.SMS else _EVENTS


def _about(result: Result) -> dict[str, Any]:
    about: dict[str, Any] = {"id": result.id, "channel": result.channel}
    if result.to is not None:
        about["to"] = result.to
    if result.topics:
        about["topics"] = result.topics
    if result.state is not State.DELIVERED:
        about["description"] = result.description
    return about
