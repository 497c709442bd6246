"""Workers: the tasks of an assembly. A task that ends by itself is a failure of the whole process."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Self


class Workers:
    """Runs tasks until `stop`; lives in the event loop's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, *works: Coroutine[Any, Any, None], ends: bool = False) -> None:
        """Run ``works``; ``ends``: they may end by themselves, but not by an exception."""
        for work in works:
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._ended if ends else self._ended_too_soon)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self, seconds: float = 0.0) -> None:
        """Wait ``seconds`` for the tasks to end, cancel those that have not, and forget them."""
        tasks, self._tasks = self._tasks, set()
        if tasks and seconds:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended_too_soon(self, task: "asyncio.Task[None]") -> None:
        self._ended(task, RuntimeError("a task ended by itself"))

    def _ended(self, task: "asyncio.Task[None]", otherwise: BaseException | None = None) -> None:
        if task not in self._tasks or task.cancelled():
            return  # `stop` has cancelled or forgotten it
        self._tasks.discard(task)
        if error := task.exception() or otherwise:
            self._loop.call_exception_handler({"message": "a task failed", "exception": error})
