"""Concessions: what is left out for a broker that ends the connection instead of answering CONNECT.

A broker that keeps nothing, or takes QoS 0 alone, cannot take our will. In MQTT 5 it says so; in 3.1.1 it has
no words and ends the connection [seen: Mosquitto 2.0.11, ``retain_available false`` and ``max_qos 0``]. A
broker that is going down does the same, and so does a proxy whose broker is away: what was taken with less is
tried once more with everything before it counts.
"""

from bridge.adapters.mqtt.client import Limits

FULL = Limits()

_ORDER = (
    FULL,
    FULL,
    Limits(retain=False),
    Limits(qos=0),
    Limits(qos=0, retain=False),
)


class Concessions:
    """Which limits to connect with."""

    def __init__(self) -> None:
        self._order: tuple[Limits, ...] = _ORDER
        self._place = 0
        self._proven: Limits | None = None

    @property
    def limits(self) -> Limits:
        """What the next CONNECT is made with."""
        return self._order[self._place]

    def cut(self) -> None:
        """The broker ended the connection before it answered."""
        self._place = (self._place + 1) % len(self._order)

    def taken(self) -> bool:
        """The broker took us; whether the connection is good: else another is to be tried with everything."""
        found = self.limits
        if found in (FULL, self._proven):
            return True
        self._proven = found
        self._order = (FULL, found, *_ORDER)
        self._place = 0
        return False

    def ended(self) -> None:
        """A connection that was taken has ended: the next broker there may take everything."""
        self._place = 0
