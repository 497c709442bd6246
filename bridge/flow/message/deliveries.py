"""Deliveries: what the intake of messages and that of commands have in common."""

import logging
from typing import Protocol

from bridge.core.delivery import NO_PROPERTIES, Delivery, Properties
from bridge.core.log_throttle import LogThrottle
from bridge.store.receipts import Receipt, digest

log = logging.getLogger("intake")


class Acknowledger(Protocol):
    """The part of an MQTT session that the intake uses."""

    def ack(self, delivery: Delivery) -> None:
        """Send the acknowledgement of ``delivery``."""


class SkippedRetained:
    """Acknowledges deliveries that a retained command causes, and does not act on them."""

    def __init__(self) -> None:
        self._log = LogThrottle()

    def skip(self, delivery: Delivery, session: Acknowledger) -> None:
        """Skip the broker's stored copy of a retained command, or the empty message that clears one."""
        if self._log.due():
            what = "the stored copy of a retained message" if delivery.payload else "a retained empty message"
            log.info("skipped %s on %s (%d so far)", what, delivery.topic, self._log.count)
        session.ack(delivery)


def receipt_of(delivery: Delivery, session_number: int) -> Receipt | None:
    """Return the receipt that identifies a repetition of ``delivery``.

    None at QoS 0, which is not repeated.
    """
    if delivery.qos == 0:
        return None
    properties = delivery.properties
    # The properties count as content: with another id the same payload is another message.
    extra = _NO_EXTRA if properties is NO_PROPERTIES else _extra(properties)
    fingerprint = digest(delivery.topic, delivery.payload, extra)
    return Receipt(session_number, delivery.mid, delivery.dup, fingerprint)


def _extra(properties: Properties) -> bytes:
    return repr((properties.response_topic, properties.correlation, properties.user)).encode()


_NO_EXTRA = _extra(NO_PROPERTIES)
