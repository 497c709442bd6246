"""What comes from the broker."""

from typing import NamedTuple

from bridge.errors import InvalidCommand


class Properties(NamedTuple):
    """The MQTT 5 properties of a delivery that mean something here [MQTT 5.0, section 3.3.2.3]."""

    expiry: int | None = None
    """Message Expiry Interval, seconds that are left."""
    response_topic: str | None = None
    correlation: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()


NO_PROPERTIES = Properties()


class Delivery(NamedTuple):
    """One message from the broker; the session acknowledges it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    """It asks for nothing now: the broker's stored copy of a retained message (MQTT 3.1.1, where the flag
    says no more), or an empty one with the retain flag, which only clears that copy (MQTT 5)."""
    dup: bool
    mid: int
    epoch: int
    properties: Properties
    problem: InvalidCommand | None = None
    """What could not be read of it: it is rejected for that, since the broker would send it for ever."""
