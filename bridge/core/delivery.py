"""What comes from the broker."""

from typing import NamedTuple


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
    dup: bool
    mid: int
    epoch: int
    properties: Properties
