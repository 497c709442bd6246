"""The event loop's time: the kernel's clocks, the loop's timers."""

import asyncio
from collections.abc import Callable
from math import inf
from time import CLOCK_BOOTTIME, clock_gettime, time
from typing import Any

from bridge.adapters.system.clock_facts import ClockSource
from bridge.core.known_time import ClockFacts, knows_time
from bridge.core.messages import Now

ASK_EVERY = 3.0
"""Seconds between two looks at whether the box knows the time, at least."""


def read_clock() -> Now:
    """Return both clocks; the monotonic one counts suspended time too [clock_gettime(2), CLOCK_BOOTTIME]."""
    return Now(time(), clock_gettime(CLOCK_BOOTTIME))


class LoopTime:
    """`bridge.core.time.Time` on an event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, facts: Callable[[], ClockFacts] | None = None
    ) -> None:
        """``facts`` returns what the box tells about its wall clock; None: the box itself is asked."""
        self.now = read_clock
        self._loop = loop
        self._facts = facts or ClockSource(loop).read
        self._known = False
        self._asked = -inf

    def knows(self) -> bool:
        """Return whether the box knows the time; once it does, it stays so."""
        now = self.now()
        if not self._known and now.mono >= self._asked + ASK_EVERY:
            self._asked = now.mono
            self._known = knows_time(now.wall, self._facts())
        return self._known

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        """Call back in the loop's next turn."""
        return self._loop.call_soon(callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call back after ``delay`` seconds; those in which the machine is suspended do not count."""
        return self._loop.call_later(delay, callback, *args)

    async def sleep(self, seconds: float) -> None:
        """Pause for ``seconds``."""
        await asyncio.sleep(seconds)
