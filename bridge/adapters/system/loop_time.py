"""The event loop's time: the kernel's clocks, the loop's timers."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from bridge.core.messages import Now


def read_clock() -> Now:
    """Return both clocks; the monotonic one counts suspended time too [clock_gettime(2), CLOCK_BOOTTIME]."""
    return Now(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


class LoopTime:
    """`bridge.core.time.Time` on an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = read_clock
        self._loop = loop

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        """Call back in the loop's next turn."""
        return self._loop.call_soon(callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call back after ``delay`` seconds; those in which the machine is suspended do not count."""
        return self._loop.call_later(delay, callback, *args)

    async def sleep(self, seconds: float) -> None:
        """Pause for ``seconds``."""
        await asyncio.sleep(seconds)
