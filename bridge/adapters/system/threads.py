"""Blocking calls beside the event loop."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def in_thread(loop: asyncio.AbstractEventLoop, call: Callable[[], T]) -> "asyncio.Future[T]":
    """Run ``call`` in a daemon thread; the future gets its value or its exception.

    A daemon thread instead of asyncio's executor, because a call that hangs in the kernel must not keep the
    process from ending.
    """
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(value)  # type: ignore[arg-type]  # without an error there is a value
        else:
            future.set_exception(error)

    def run() -> None:
        value: T | None = None
        error: BaseException | None = None
        try:
            value = call()
        except BaseException as exc:  # noqa: BLE001  # handed to whoever awaits the future
            error = exc
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:
            return  # the loop is closed: the process is ending

    threading.Thread(target=run, name=getattr(call, "__name__", "call"), daemon=True).start()
    return future


class Worker:
    """One daemon thread that runs calls in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._queue: SimpleQueue[tuple[Callable[[], None], Callable[[BaseException | None], None]]] = (
            SimpleQueue()
        )
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def run(self, call: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Run ``call`` in the thread, then ``done`` in the loop with the call's exception or None."""
        self._queue.put((call, done))

    def _work(self) -> None:
        """Run calls until the process ends."""
        while True:
            call, done = self._queue.get()
            error: BaseException | None = None
            try:
                call()
            except BaseException as exc:  # noqa: BLE001  # handed to whoever asked
                error = exc
            try:
                self._loop.call_soon_threadsafe(done, error)
            except RuntimeError:
                return  # the loop is closed: the process is ending
