"""Concessions: a smaller CONNECT for a broker that ends the connection instead of answering.

A broker without retained messages, or with QoS 0 alone, cannot take our will. In MQTT 5 it names the reason.
In 3.1.1 it can only end the connection [seen: Mosquitto 2.0.11, ``retain_available false`` and
``max_qos 0``]. A broker that shuts down also ends the connection, and so does a proxy whose broker is away.
So a limit counts only after the full CONNECT has failed once more.
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
    """The limits to connect with."""

    def __init__(self) -> None:
        self._order: tuple[Limits, ...] = _ORDER
        self._place = 0
        self._proven: Limits | None = None

    @property
    def limits(self) -> Limits:
        """The limits of the next CONNECT."""
        return self._order[self._place]

    def cut(self) -> None:
        """Note that the broker ended the connection before it answered."""
        self._place = (self._place + 1) % len(self._order)

    def taken(self) -> bool:
        """Note that the broker accepted; return False if the full CONNECT is to be tried once more."""
        found = self.limits
        if found in (FULL, self._proven):
            return True
        self._proven = found
        self._order = (FULL, found, *_ORDER)
        self._place = 0
        return False

    def ended(self) -> None:
        """Note the end of an accepted connection: the next broker at the address may have no limits."""
        self._place = 0
