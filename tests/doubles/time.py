"""A time that stands still until a test moves it: clocks, timers and pauses together."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any

from bridge.core.messages import Now

NOON = 1_700_000_000.0


class Clock:
    """Both clocks of a box; `pass_` lets time go by, `step` moves the wall clock alone."""

    def __init__(self, wall: float = NOON, mono: float = 100.0) -> None:
        self.wall = wall
        self.mono = mono

    def __call__(self) -> Now:
        return Now(self.wall, self.mono)

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds

    def step(self, seconds: float) -> None:
        self.wall += seconds


class Call:
    """A call that is still to come."""

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args

    def cancel(self) -> None:
        self._callback = None

    @property
    def cancelled(self) -> bool:
        return self._callback is None

    def run(self) -> None:
        if self._callback:
            self._callback(*self._args)


class MovableTime:
    """`bridge.core.time.Time` on a `Clock`: what is due happens in `pass_`, in its order."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.known = True
        """Whether the box knows the time."""
        self._number = itertools.count()
        self._due: list[tuple[float, int, Call]] = []

    def now(self) -> Now:
        return self.clock()

    def knows(self) -> bool:
        return self.known

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.call_later(0.0, callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Call:
        call = Call(callback, args)
        heapq.heappush(self._due, (self.clock.mono + delay, next(self._number), call))
        return call

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.call_later(seconds, woken.set)
        await woken.wait()

    @property
    def pending(self) -> int:
        """How many calls are still to come."""
        return sum(not call.cancelled for _, _, call in self._due)

    def tick(self) -> float:
        """Let time go by until the next call has come; return the seconds."""
        while self._due[0][2].cancelled:
            heapq.heappop(self._due)
        seconds = max(0.0, self._due[0][0] - self.clock.mono)
        self.clock.pass_(seconds)
        heapq.heappop(self._due)[2].run()
        return seconds

    def pass_(self, seconds: float = 0.0) -> None:
        """Let time go by, and what is due in it happen."""
        end = self.clock.mono + seconds
        while self._due and self._due[0][0] <= end:
            at, _, call = heapq.heappop(self._due)
            self.clock.pass_(max(0.0, at - self.clock.mono))
            call.run()
        self.clock.pass_(end - self.clock.mono)


class AtOnce(MovableTime):
    """Nothing is waited for: what is to come later comes now."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Call:
        callback(*args)
        return Call(callback, args)


class SetClock:
    """The running loop's timers beside a clock that a test sets, for what is woken by hand."""

    def __init__(self, now: Callable[[], Now]) -> None:
        self.now = now

    def knows(self) -> bool:
        return True

    def call_soon(self, callback: Callable[..., object], *args: Any) -> object:
        return asyncio.get_running_loop().call_soon(callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay, callback, *args)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
