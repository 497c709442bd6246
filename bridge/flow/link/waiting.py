"""Waiting for a condition that callbacks change."""

import asyncio
from collections.abc import Callable


class Waiters:
    """Tasks that wait for a change; lives in the event loop's thread."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        """Wake all waiters, because something has changed; each checks its condition again."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def until(self, condition: Callable[[], bool], seconds: float | None) -> bool:
        """Wait until ``condition`` holds; return whether it did within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await self._next()
        except TimeoutError:
            return condition()
        return True

    async def _next(self) -> None:
        """Wait for the next notification; a cancelled waiter is removed."""
        each = asyncio.get_running_loop().create_future()
        self._waiting.append(each)
        try:
            await each
        finally:
            if each in self._waiting:
                self._waiting.remove(each)
