"""Reader: from a delivery to the message that the outbox stores, or the error that names the field."""

from typing import NamedTuple

from bridge.core.delivery import Delivery
from bridge.core.filters import Filter
from bridge.core.messages import CLOUD_SMS, MODEM_SMS, Channel, Endpoint, Lane, Message, Priority
from bridge.core.routing import DEFAULT, Route, Router
from bridge.core.time_stamp import stamped
from bridge.core.topic_rules import check_cloud_topic
from bridge.errors import InvalidCommand
from bridge.flow.message.ids import id_source
from bridge.protocol.api import commands
from bridge.protocol.cloud import check_sms_body
from bridge.protocol.sms.segments import check_text
from bridge.store.journal import Journal

MESSAGE_LIMIT = 8_000_000
"""Payload bytes of one message at most. A small box holds several copies of it in memory during a send."""


class Policy(NamedTuple):
    """The intake's part of the configuration. A reload replaces it whole."""

    router: Router
    default_via: str = "cloud"
    sms_refusal: str | None = None
    """Reason why these credentials cannot send SMS by the cloud; None: they can."""
    air_refusal: str | None = "no modem is managed here (network.interface); use cloud"
    """Reason why no SMS goes over the air; None: it does."""
    max_segments: int = 4

    @property
    def texts_by(self) -> Endpoint:
        """The destination of texts that the bridge makes itself."""
        return CLOUD_SMS if self.air_refusal else MODEM_SMS


class Read(NamedTuple):
    """A delivery that was read."""

    message: Message
    rule: Filter | None = None
    """The filter of its route."""
    urgent: bool = False
    """Whether the message itself says that its priority is high."""


class Reader:
    """Reads message commands by the present configuration; lives in the event loop's thread."""

    def __init__(self, journal: Journal, policy: Policy, prefix: str) -> None:
        """``prefix`` is that of the bridge's topics."""
        self.policy = policy
        self.new_id = id_source()
        """Returns an id that no other message has."""
        self._outbox, self._time = journal.outbox, journal.time
        self._prefix = prefix

    def read(self, topic: str, delivery: Delivery) -> Read:
        """Return the message in ``delivery``, whose topic below the prefix is ``topic``.

        Raises `InvalidCommand`.
        """
        if delivery.problem:
            raise delivery.problem
        command = commands.parse(topic, delivery.payload, delivery.properties, prefix=self._prefix)
        if isinstance(command, commands.Send):
            return self._send(command)
        if isinstance(command, commands.Sms):
            return Read(self._sms(command))
        raise InvalidCommand("topic", topic, "it is not a message command")

    def message_of(self, command: commands.Send | commands.Sms) -> Message:
        """Return ``command`` as a message with its route; raises `InvalidCommand`."""
        return self._send(command).message if isinstance(command, commands.Send) else self._sms(command)

    def _send(self, command: commands.Send) -> Read:
        route, lane = self.policy.router.place(command.topics)
        if route.endpoint.channel is Channel.CLOUD:
            for place, name in enumerate(command.topics):
                check_cloud_topic(name, command.field(place))
        else:
            for place, name in enumerate(command.topics):
                if "" in name.split("/"):
                    raise InvalidCommand(command.field(place), name, "a topic has no empty levels")
        options = command.options
        if options.priority is not None:
            lane = lane._replace(priority=options.priority)
        message = self._build(lane, command.payload, options, route, command.at)
        if route.stamp is not None:
            self._check_size(stamped(command.payload, route.stamp, commands.LATEST))
        return Read(message, route.filter, options.priority is Priority.HIGH)

    def _sms(self, command: commands.Sms) -> Message:
        via = command.via or self.policy.default_via
        refusal = self.policy.air_refusal if via == "modem" else self.policy.sms_refusal
        if refusal:
            raise InvalidCommand("via", via, refusal)
        if via == "modem":
            check_text(command.body, self.policy.max_segments)
        else:
            check_sms_body(command.body)
        priority = Priority.NORMAL if command.options.priority is None else command.options.priority
        lane = Lane(MODEM_SMS if via == "modem" else CLOUD_SMS, (command.to,), priority)
        return self._build(lane, command.body.encode(), command.options, DEFAULT, None)

    def _build(
        self, lane: Lane, payload: bytes, options: commands.Options, route: Route, at: int | None
    ) -> Message:
        self._check_size(payload)
        return Message(
            id=self.new_id() if options.id is None else options.id,
            idempotent=options.id is not None,
            lane=lane,
            payload=payload,
            lifetime=_earliest(options.lifetime, route.lifetime),
            max_attempts=route.max_attempts,
            reply=options.reply,
            received=self._time.now().mono,
            at=at,
            stamp=route.stamp,
            latest=route.latest,
            escalate_after=route.escalation.after if route.escalation else None,
        )

    def _check_size(self, payload: bytes) -> None:
        # The outbox could never hold a message above its own limit, however long the producer waited.
        limit = min(MESSAGE_LIMIT, self._outbox.limits.max_bytes)
        if len(payload) > limit:
            raise InvalidCommand("payload", f"{len(payload)} bytes", f"a message has at most {limit} bytes")


def _earliest(one: float | None, other: float | None) -> float | None:
    """Return the earlier of two deadlines, each in seconds from now or None."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
