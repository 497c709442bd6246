"""The bridge's event loop in a thread of its own, for scripts that call and wait.

Each process has one loop, started at the first need. Its thread is a daemon thread, so a script ends when its
main thread ends; `at_end` registers calls for that moment.
"""

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from bridge.errors import BridgeError
from bridge.sdk.engine.errors import HologramError, of_bridge

log = logging.getLogger("Hologram")

T = TypeVar("T")

CALL_WAIT = 30.0
"""Most seconds of the loop for a call that does not wait."""


class Runtime:
    """Owns the thread and its loop; its methods may be called from any other thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._failed)
        self.failure: BaseException | None = None
        """The exception that ended the loop's work; None while it works."""
        self.on_failure: list[Callable[[BaseException], None]] = []
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._work, name="hologram-sdk", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        """Run the loop until it is stopped, or until the process ends."""
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    @property
    def inside(self) -> bool:
        """Whether the caller is in the loop's thread, which must not wait for itself."""
        return threading.current_thread() is self._thread

    @property
    def usable(self) -> bool:
        """Whether the loop runs in this process; a forked child has no loop thread."""
        return self._pid == os.getpid() and self._thread.is_alive() and self.failure is None

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Run ``function`` in the loop; return its value, or raise its exception."""
        if self.inside:
            return function(*args)
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function(*args))
            except BaseException as exc:  # noqa: BLE001  # handed to the thread that waits
                done.set_exception(exc)

        self.soon(run)
        return done.result(CALL_WAIT)

    def soon(self, function: Callable[..., object], *args: object) -> None:
        """Run ``function`` in the loop without waiting for it."""
        if self.failure is not None:
            raise HologramError(f"the SDK stopped working: {self.failure}") from self.failure
        self.loop.call_soon_threadsafe(function, *args)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the loop until it ends; return its value, or raise its exception."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt of the script ends the work too
            raise

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` as `wait` does; raises the SDK's own exceptions."""
        try:
            return self.wait(work)
        except BridgeError as exc:
            raise of_bridge(exc) from exc

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(context.get("message"))
        # A failure of the disk or modem is no bug: it needs one line and no traceback.
        trace = None if isinstance(error, BridgeError) else error
        log.error("the SDK stopped working: %s", error, exc_info=trace)
        self.failure = error
        for told in self.on_failure:
            told(error)


class Dispatcher:
    """One daemon thread that runs the callbacks of background events, in order."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="hologram-events", daemon=True)
        self._thread.start()

    @property
    def inside(self) -> bool:
        """Whether the caller is in the dispatcher's thread, where a wait would delay all later events."""
        return threading.current_thread() is self._thread

    def submit(self, call: Callable[[], object]) -> None:
        """Queue ``call``, which must handle its own exceptions."""
        self._queue.put(call)

    def _work(self) -> None:
        """Run queued calls until the process ends."""
        while True:
            self._queue.get()()


_lock = threading.RLock()
_runtime: Runtime | None = None
_dispatcher: Dispatcher | None = None
_endings: list[Callable[[], None]] = []


def runtime() -> Runtime:
    """Return the process's loop; start it if necessary."""
    global _runtime  # noqa: PLW0603  # one loop for each process
    with _lock:
        if _runtime is None or not _runtime.usable:
            _runtime = Runtime()
        return _runtime


def alive() -> bool:
    """Return whether the process's loop runs, without starting one."""
    return _runtime is not None and _runtime.usable


def dispatcher() -> Dispatcher:
    """Return the process's dispatcher of background events."""
    global _dispatcher  # noqa: PLW0603  # one thread for each process
    with _lock:
        if _dispatcher is None:
            _dispatcher = Dispatcher()
        return _dispatcher


def at_end(ending: Callable[[], None]) -> None:
    """Call ``ending`` when the script ends; the last registered call comes first."""
    with _lock:
        _endings.append(ending)


@atexit.register
def _end() -> None:
    while _endings:
        ending = _endings.pop()
        try:
            ending()
        except Exception:
            log.exception("could not end cleanly")
