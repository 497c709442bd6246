"""Deliveries: what came from the broker. What goes to it is a report, an event or a state."""

from typing import NamedTuple

from bridge.errors import InvalidCommand


class Properties(NamedTuple):
    """The MQTT 5 properties of a delivery that the bridge uses [MQTT 5.0, section 3.3.2.3]."""

    expiry: int | None = None
    """Message Expiry Interval: the seconds that remain."""
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
    """The message must not be acted on. MQTT 3.1.1: it is the broker's stored copy, because the flag means
    nothing else there. MQTT 5: it is an empty message with the retain flag, which only clears that copy."""
    dup: bool
    mid: int
    epoch: int
    properties: Properties
    problem: InvalidCommand | None = None
    """Why the delivery is unreadable. It is rejected for that; unacknowledged, the broker would repeat it."""
