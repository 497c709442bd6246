"""Follow-ups: queries that announcements call for, run one at a time by a task that ends after the last."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from bridge.errors import ModemError

log = logging.getLogger("modem")


class FollowUps:
    """Runs follow-ups by name, each once even if requested often; owned by the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lock: asyncio.Lock,
        followups: Mapping[str, Callable[[], Awaitable[None]]],
    ) -> None:
        """``followups`` are in the order of running; each runs under ``lock``."""
        self._loop = loop
        self._lock = lock
        self._followups = followups
        self._wanted: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def want(self, name: str) -> None:
        """Request the follow-up ``name``."""
        self._wanted.add(name)
        if self._task is None:
            self._task = self._loop.create_task(self._run())
            self._task.add_done_callback(_unnoticed)

    def drop(self) -> None:
        """Drop all follow-ups, including the running one."""
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
            log.debug("following up: %s", exc)  # the next poll finds the same, and its owner acts on it
            self._wanted.clear()
        self._task = None

    async def _next(self) -> None:
        name = next((name for name in self._followups if name in self._wanted), None)
        if name is not None:
            self._wanted.discard(name)
            await self._followups[name]()


def _unnoticed(task: asyncio.Task[None]) -> None:
    """Raise the exception of a defect, so that the loop's exception handler gets it."""
    if not task.cancelled():
        task.result()
