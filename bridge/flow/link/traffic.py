"""Traffic: what the network manager knows of the messages that use its link."""

from collections.abc import Callable
from typing import NamedTuple

from bridge.core.messages import Now

IDLE = 30.0
"""Seconds without anything to send after which an on-demand link is hung up."""

LAST_CALL = 600.0
"""Seconds between calls for what waits for its batch, before a link is hung up: what comes in the meantime
must not keep the link up."""


class Traffic(NamedTuple):
    """The messages as far as they matter to the link; each default stands for no traffic."""

    pending: Callable[[], bool]
    """Returns whether a message waits to be sent."""
    sent: Callable[[], int] = lambda: 0
    """Returns the count of sent messages: one may come and go between two calls of ``pending``."""
    in_flight: Callable[[], int] = lambda: 0
    """Returns the number of messages in flight."""
    unreached_since: Callable[[], float | None] = lambda: None
    """Returns since when, in monotonic seconds, nothing was reached over the link."""
    send_batches: Callable[[], bool] = lambda: False
    """Has what waits for its batch sent; returns whether there is anything."""


class Idleness:
    """Whether a link has had nothing to carry for `IDLE` seconds."""

    def __init__(self, traffic: Traffic, clock: Callable[[], Now]) -> None:
        self._traffic = traffic
        self._clock = clock
        self._sent = 0
        self._busy_at = 0.0
        self._called_at = 0.0

    def came_up(self) -> None:
        """Record that the link is new."""
        self._busy_at = self._clock().mono
        self._called_at = -LAST_CALL

    def look(self) -> bool:
        """Return whether to hang the link up."""
        now = self._clock().mono
        before, self._sent = self._sent, self._traffic.sent()
        if self._traffic.pending() or before != self._sent:
            self._busy_at = now
        return now - self._busy_at >= IDLE and not self._last_call(now)

    def _last_call(self, now: float) -> bool:
        """Have incomplete batches sent, once before the link is hung up; return whether there are any."""
        if now - self._called_at < LAST_CALL or not self._traffic.send_batches():
            return False
        self._called_at = self._busy_at = now
        return True
