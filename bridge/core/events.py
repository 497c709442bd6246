"""The types of events, and which of them are told on MQTT."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

EACH_MESSAGE = ("message.queued", "socket.connected", "socket.closed")
"""Types that come with each message. They cost more than the message, so they are not told by default."""

BY_DEFAULT = (
    "message.sent",
    "message.received",
    "message.rejected",
    "message.expired",
    "message.dropped",
    "message.failed",
    "message.escalated",
    "sms.sent",
    "sms.received",
    "sms.report",
    "sms.unconfirmed",
    "network.connected",
    "network.disconnected",
    "cellular.connected",
    "cellular.disconnected",
    "wifi.connected",
    "wifi.disconnected",
    "network.failover",
    "modem.recovery",
    "cloud.auth_failed",
    "cloud.batch_refused",
    "store.full",
    "store.recovered",
    "budget.warning",
    "budget.held",
    "budget.released",
    "remote.command",
)

TYPES = (*BY_DEFAULT, *EACH_MESSAGE)


def matching(patterns: Iterable[str]) -> frozenset[str]:
    """Return the types that ``patterns`` name: whole types, or with ``*`` and ``?`` as in ``network.*``."""
    wanted = tuple(patterns)
    return frozenset(each for each in TYPES if any(fnmatchcase(each, pattern) for pattern in wanted))
