"""Time: the clocks, the timers and the pauses in one value, so that whoever moves one moves them all.

What decides by a clock and waits by another cannot be tested in a time that a test lets go by, and waits
wrongly where the two differ. The event loop's is `bridge.adapters.system.loop_time`; the tests have one
that stands still until it is moved.
"""

from collections.abc import Callable
from typing import Any, Protocol

from bridge.core.messages import Now


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Let it not come."""


class Time(Protocol):
    """Both clocks, and what happens later; used in the event loop's thread."""

    def now(self) -> Now:
        """Return both clocks."""

    def knows(self) -> bool:
        """Return whether the box knows the time [`bridge.core.known_time`]."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        """Call back in the next turn of the event loop."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call back after ``delay`` seconds."""

    async def sleep(self, seconds: float) -> None:
        """Pause for ``seconds``."""
