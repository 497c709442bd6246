"""Messages at an interval [hologram-python 0.10, ``sendPeriodicMessage``]."""

import logging
import threading
from collections.abc import Callable

from bridge.sdk.engine.errors import HologramError

log = logging.getLogger("CustomCloud")

MIN_PERIODIC_INTERVAL = 1
"""Least interval, in seconds."""


class Periodic:
    """One periodic job, whose thread keeps the script running until it is stopped, as the SDK's does."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self, interval: float, send: Callable[[], bool]) -> None:
        """Call ``send`` now and every ``interval`` seconds until it returns False, raises, or `stop`."""
        if interval < MIN_PERIODIC_INTERVAL:
            raise HologramError(f"Interval cannot be less than {MIN_PERIODIC_INTERVAL} seconds.")
        if self.running:
            raise HologramError("Cannot have more than 1 periodic message job at once")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(interval, send, self._stop), name="periodic")
        self._thread.start()

    def _work(self, interval: float, send: Callable[[], bool], stop: threading.Event) -> None:
        """Send until `stop`, a refused message, or an exception."""
        while not stop.is_set():
            try:
                if not send():
                    break
            except Exception:
                log.exception("the periodic message could not be sent")
                break
            stop.wait(interval)

    def stop(self) -> None:
        """End the job and wait for its last message; do nothing without a job."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    @property
    def running(self) -> bool:
        """Whether a job is active."""
        return self._thread is not None and self._thread.is_alive()
