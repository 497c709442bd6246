"""Waiting for a condition that callbacks change."""

import asyncio
from collections.abc import Callable


class Waiters:
    """Tasks that wait for a change; lives in the event loop's thread."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        """Set at the next notification, which puts a new one in its place."""

    def notify(self) -> None:
        """Wake all waiters, because something has changed; each checks its condition again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def until(self, condition: Callable[[], bool], seconds: float | None) -> bool:
        """Wait until ``condition`` holds; return whether it did within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return True
