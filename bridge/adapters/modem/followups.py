"""Follow-ups: what announcements call for, done one at a time by one task that ends when none is left."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from bridge.errors import ModemError

log = logging.getLogger("modem")


class FollowUps:
    """Runs follow-ups by name, each once however often it is wanted; owned by the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lock: asyncio.Lock,
        followups: Mapping[str, Callable[[], Awaitable[None]]],
    ) -> None:
        """``followups`` are in their order; each is run under ``lock``."""
        self._loop = loop
        self._lock = lock
        self._followups = followups
        self._wanted: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def want(self, name: str) -> None:
        """Run this follow-up soon."""
        self._wanted.add(name)
        if self._task is None:
            self._task = self._loop.create_task(self._run())
            self._task.add_done_callback(_unnoticed)

    def drop(self) -> None:
        """Forget them all, the one that runs too."""
        self._wanted.clear()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _run(self) -> None:
        try:
            while self._wanted:
                async with self._lock:
                    await self._next()
        except ModemError as exc:
            log.debug("following up: %s", exc)  # the next poll finds out, and its owner acts on it
            self._wanted.clear()
        self._task = None

    async def _next(self) -> None:
        name = next((name for name in self._followups if name in self._wanted), None)
        if name is not None:
            self._wanted.discard(name)
            await self._followups[name]()


def _unnoticed(task: asyncio.Task[None]) -> None:
    """A defect must not pass unnoticed; raising here reaches the loop's exception handler."""
    if not task.cancelled():
        task.result()
