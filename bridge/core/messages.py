"""The values that travel through the bridge: a message, its lane, its result.

They are named tuples: frozen, compact, and cheap to make, since several are made for every message.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple

RECEIVE_MAXIMUM = 128
"""Unacknowledged messages that the broker may have in flight to us [MQTT 5.0, section 3.1.2.11.3]."""


class Channel(StrEnum):
    """What carries a message; the ``channel`` of its result."""

    CLOUD = "cloud"
    TCP = "tcp"
    UDP = "udp"
    SMS = "sms"
    NETWORK = "network"
    QUEUE = "queue"


class Priority(IntEnum):
    """High goes before normal goes before low; the order of the numbers is the order of sending."""

    HIGH = 0
    NORMAL = 1
    LOW = 2

    @classmethod
    def named(cls, name: str) -> "Priority":
        """Return the priority called ``high``, ``normal`` or ``low``; ``KeyError`` for another name."""
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
    FAILED = "failed"


class Now(NamedTuple):
    """One reading of both clocks.

    ``wall`` is Unix seconds, which jump when the box learns the time; ``mono`` is seconds since boot,
    which do not, and mean nothing after the next boot.
    """

    wall: float
    mono: float

    @property
    def offset(self) -> float:
        """Seconds by which the wall clock leads the monotonic one; a change of it is a step of the clock."""
        return self.wall - self.mono


class Reply(NamedTuple):
    """Where else a publisher wants its result: MQTT 5 Response Topic and Correlation Data."""

    topic: str
    correlation: bytes | None


class Traffic(NamedTuple):
    """Bytes that the IP layer carried, headers included: the figure that is billed."""

    up: int = 0
    down: int = 0

    def plus(self, other: "Traffic") -> "Traffic":
        """Return the sum of both directions."""
        return Traffic(self.up + other.up, self.down + other.down)


class Endpoint(NamedTuple):
    """A destination: the cloud, or one host and port of Direct IP.

    ``host`` is empty for the cloud: its address is the configuration's at the time of sending, so that a
    corrected address delivers what was queued under the wrong one.
    """

    channel: Channel
    host: str = ""
    port: int = 0
    expect: str | None = None
    """Direct IP: what the peer's answer must hold to count as one; None: its close is the answer."""

    @property
    def where(self) -> str | None:
        """What people are told: ``host:port``, ``modem`` for SMS over the air, None for the cloud."""
        return f"{self.host}:{self.port}" if self.port else self.host or None


CLOUD = Endpoint(Channel.CLOUD)
CLOUD_SMS = Endpoint(Channel.SMS)
"""SMS by the cloud; each recipient is a lane, named where other channels have their topics."""
MODEM_SMS = Endpoint(Channel.SMS, "modem")
"""SMS over the air."""


class Lane(NamedTuple):
    """One destination, topic list and priority: inside it order holds, and a retry blocks only it."""

    endpoint: Endpoint
    names: tuple[str, ...]
    """The topics; for an SMS its recipient."""
    priority: Priority

    @property
    def topics(self) -> tuple[str, ...]:
        """What a result shows as ``topics``."""
        return () if self.endpoint.channel is Channel.SMS else self.names

    @property
    def to(self) -> str | None:
        """What a result shows as ``to``."""
        return self.names[0] if self.endpoint.channel is Channel.SMS else self.endpoint.where


class Message(NamedTuple):
    """A message on its way in: accepted from a publisher, not yet in the outbox."""

    id: str
    chosen: bool
    """The publisher chose ``id``, which makes the message idempotent."""
    lane: Lane
    payload: bytes
    lifetime: float | None = None
    """Seconds from its receipt to its deadline."""
    max_attempts: int | None = None
    reply: Reply | None = None
    received: float | None = None
    """When it came, in seconds of the monotonic clock (`Now.mono`): on a full disk it waits before it is
    stored. None: as it is stored."""


class Queued(NamedTuple):
    """A message as the outbox holds it."""

    seq: int
    id: str
    lane_id: int
    lane: Lane
    payload: bytes
    chosen: bool
    queued_at: float
    attempts: int
    max_attempts: int | None
    traffic: Traffic
    reply: Reply | None
    boot: int = 0
    """The boot whose clock its times follow."""
    deadline: float | None = None


class Result(NamedTuple):
    """What became of one command."""

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
    """Direct IP only: what the peer answered."""
