"""Traffic: what the network manager asks about the messages that use its link."""

from collections.abc import Callable
from typing import NamedTuple

from bridge.core.messages import Now

IDLE = 30.0
"""Seconds without anything to send after which a link on demand is hung up."""


class Traffic(NamedTuple):
    """The messages, as far as they matter to the link; what is left out is quiet."""

    pending: Callable[[], bool]
    """Whether anything waits to be sent."""
    sent: Callable[[], int] = lambda: 0
    """How many were sent: a message may come and go between two looks at ``pending``."""
    in_flight: Callable[[], int] = lambda: 0
    """How many are being sent."""
    unreached_since: Callable[[], float | None] = lambda: None
    """Since when, in monotonic seconds, nothing was reached over the link."""


class Idleness:
    """Whether a link has had nothing to carry for `IDLE` seconds."""

    def __init__(self, traffic: Traffic, clock: Callable[[], Now]) -> None:
        self._traffic = traffic
        self._clock = clock
        self._sent = 0
        self._busy_at = 0.0

    def came_up(self) -> None:
        """Learn that it is a new link."""
        self._busy_at = self._clock().mono

    def look(self) -> bool:
        """Whether it is to be hung up."""
        now = self._clock().mono
        before, self._sent = self._sent, self._traffic.sent()
        if self._traffic.pending() or before != self._sent:
            self._busy_at = now
        return now - self._busy_at >= IDLE
