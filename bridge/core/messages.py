"""The values that pass through the bridge: a message, its lane, its result.

They are named tuples (frozen, compact, cheap to make), because every message makes several.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple

RECEIVE_MAXIMUM = 128
"""Number of unacknowledged messages that the broker may send ahead [MQTT 5.0, section 3.1.2.11.3]."""


class Channel(StrEnum):
    """The channel that carries a message; the ``channel`` of its result."""

    CLOUD = "cloud"
    TCP = "tcp"
    UDP = "udp"
    SMS = "sms"
    NETWORK = "network"
    QUEUE = "queue"
    BUDGET = "budget"
    QUOTE = "quote"


class Priority(IntEnum):
    """High is sent before normal, normal before low; the numbers are in the order of sending."""

    HIGH = 0
    NORMAL = 1
    LOW = 2

    @classmethod
    def named(cls, name: str) -> "Priority":
        """Return the priority named ``high``, ``normal`` or ``low``; raises ``KeyError`` for another name."""
        return _PRIORITIES[name]

    @property
    def label(self) -> str:
        """The name that users write."""
        return _LABELS[self]


_PRIORITIES = {"high": Priority.HIGH, "normal": Priority.NORMAL, "low": Priority.LOW}
_LABELS = {priority: name for name, priority in _PRIORITIES.items()}


class State(StrEnum):
    """How a command ended; every command ends in exactly one of these."""

    DELIVERED = "delivered"
    DONE = "done"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DROPPED = "dropped"
    UNCONFIRMED = "unconfirmed"
    SUPERSEDED = "superseded"
    FILTERED = "filtered"
    FAILED = "failed"


class Now(NamedTuple):
    """One reading of both clocks.

    ``wall`` is Unix seconds, which jump when the box learns the time. ``mono`` is seconds since boot, which
    never jump, and mean nothing after the next boot.
    """

    wall: float
    mono: float

    @property
    def offset(self) -> float:
        """Seconds by which the wall clock leads the monotonic one; a change means a step of the clock."""
        return self.wall - self.mono


class Reply(NamedTuple):
    """An extra topic for the result: MQTT 5 Response Topic and Correlation Data."""

    topic: str
    correlation: bytes | None


class Traffic(NamedTuple):
    """Bytes that the IP layer carried, headers included: the billed figure."""

    up: int = 0
    down: int = 0

    def plus(self, other: "Traffic") -> "Traffic":
        """Return the sum of both directions."""
        return Traffic(self.up + other.up, self.down + other.down)


class Endpoint(NamedTuple):
    """A destination: the cloud, or one host and port of Direct IP.

    ``host`` is empty for the cloud. Its address is read from the configuration at the time of sending, so
    that a corrected address delivers what was queued under the wrong one.
    """

    channel: Channel
    host: str = ""
    port: int = 0
    expect: str | None = None
    """Direct IP: the text that an answer must contain to count; None: the peer's close is the answer."""
    account: int | None = None
    """The cloud: number of the device that sends there, where a store serves several; None: the only one."""

    @property
    def where(self) -> str | None:
        """The destination as users read it: ``host:port``, ``modem`` (SMS over the air), None (the cloud)."""
        return f"{self.host}:{self.port}" if self.port else self.host or None

    @property
    def over_air(self) -> bool:
        """Whether it is SMS over the air, by the modem: SMS by the cloud has no host."""
        return self.channel is Channel.SMS and bool(self.host)


CLOUD = Endpoint(Channel.CLOUD)
CLOUD_SMS = Endpoint(Channel.SMS)
"""SMS by the cloud; each recipient is a lane, and stands in the place of the topics."""
MODEM_SMS = Endpoint(Channel.SMS, "modem")
"""SMS over the air."""
MODEM_ANSWERS = Endpoint(Channel.SMS, "modem answers")
"""SMS over the air that answer commands from afar. They go while sending is paused, and before other SMS."""


class Lane(NamedTuple):
    """One destination, topic list and priority. A lane keeps its order; a retry blocks only its own lane.

    What goes in batches has one lane for a route and priority.
    """

    endpoint: Endpoint
    names: tuple[str, ...]
    """The topics; for an SMS the recipient."""
    priority: Priority
    batch: str | None = None
    """The route (its ``match``) whose messages wait for their batch here, whatever their topics; `names` are
    then those of the one message. None: an ordinary lane."""

    @property
    def topics(self) -> tuple[str, ...]:
        """The ``topics`` of a result."""
        return () if self.endpoint.channel is Channel.SMS else self.names

    @property
    def to(self) -> str | None:
        """The ``to`` of a result."""
        return self.names[0] if self.endpoint.channel is Channel.SMS else self.endpoint.where


class Message(NamedTuple):
    """An accepted message that is not yet in the outbox."""

    id: str
    idempotent: bool
    """Whether the publisher chose ``id``, which makes the message idempotent."""
    lane: Lane
    payload: bytes
    lifetime: float | None = None
    """Seconds from receipt to deadline."""
    max_attempts: int | None = None
    reply: Reply | None = None
    received: float | None = None
    """Receipt in seconds of the monotonic clock (`Now.mono`), because a message may wait for room on a full
    disk before it is stored. None: the time of storing."""
    at: int | None = None
    """The time that the producer gave it, in Unix seconds; None: the time of receipt counts."""
    stamp: str | None = None
    """The key under which its time goes with it; None: it goes as it is."""
    latest: bool = False
    """Whether it takes the place of an older message of its lane that still waits."""
    escalate_after: float | None = None
    """Seconds from its receipt after which it goes as a text, unless it is delivered; None: it does not."""


class Queued(NamedTuple):
    """A message as the outbox holds it."""

    seq: int
    id: str
    lane_id: int
    lane: Lane
    payload: bytes
    idempotent: bool
    queued_at: float
    attempts: int
    max_attempts: int | None
    traffic: Traffic
    reply: Reply | None
    boot: int = 0
    """The number of the boot whose clock the times follow."""
    deadline: float | None = None
    at: int | None = None
    """The time of the message in Unix seconds: its producer's, or that of its receipt, rounded down. None
    while the box does not know it."""
    settled: bool = True
    """Whether ``at`` can no longer change: the box may learn the time, or correct it."""
    stamp: str | None = None
    """The key under which the time goes with it; None: it goes as it is."""
    own: bool = False
    """Whether it is in flight over the own network, for which the modem is only the backup."""


class InBatch(NamedTuple):
    """The batch of a message."""

    id: str | None
    """None in the form that has none."""
    messages: int
    """The number of messages in it."""


class Quote(NamedTuple):
    """What a message would cost beside its bytes."""

    segments: int
    """SMS that it would be; a long one has several."""
    cost: float | None
    """In the currency of the prices; None without prices."""


class Formed(NamedTuple):
    """A batch that is on its way, without its content."""

    id: str
    """Empty in the form that has none."""
    topic: str
    last: int
    """The number of its last message."""
    messages: int
    """The number of messages that it was formed of."""
    attempts: int = 0
    traffic: Traffic = Traffic()
    """Bytes of its exchanges that no result has taken."""

    @property
    def named(self) -> InBatch:
        """The batch as a result names it."""
        return InBatch(self.id or None, self.messages)


class Result(NamedTuple):
    """The outcome of one command."""

    id: str
    channel: Channel
    state: State
    description: str
    queued_at: float
    finished_at: float
    topics: tuple[str, ...] = ()
    to: str | None = None
    code: int | None = None
    attempts: int = 0
    traffic: Traffic = Traffic()
    answer: bytes | None = None
    """Direct IP only: the peer's answer."""
    batch: InBatch | None = None
    """The batch that carried it."""
    quote: Quote | None = None
    """For a quote, whose traffic is what the message would cost."""

    def bears(self, traffic: Traffic) -> "Result":
        """Return it with ``traffic`` more."""
        return self._replace(traffic=self.traffic.plus(traffic)) if any(traffic) else self
