"""Events: handlers by name of the event [Python SDK 0.3 and 0.1, "Event"]."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("Event")

Handler = Callable[[], object]


class Event:
    """Registers handlers and calls them, in any thread.

    Events of a send come in the thread that sends, all others in a thread of their own, so a handler may
    itself send. An exception of a handler is logged and does not stop the others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[str, list[Handler]] = {}

    def subscribe(self, event: str, callback: Handler) -> None:
        """Call ``callback`` once for each ``event``; a repeated subscription changes nothing."""
        with self._lock:
            handlers = self._handlers.setdefault(event, [])
            if callback not in handlers:
                handlers.append(callback)

    def unsubscribe(self, event: str, callback: Handler) -> None:
        """Stop calling ``callback``; do nothing if it is not subscribed."""
        with self._lock:
            handlers = self._handlers.get(event, [])
            if callback in handlers:
                handlers.remove(callback)

    def broadcast(self, event: str) -> None:
        """Call every handler of ``event``, in the order of their subscription, in this thread."""
        with self._lock:
            handlers = list(self._handlers.get(event, ()))
        for handler in handlers:
            try:
                handler()
            except Exception:  # the script's code may raise anything, and the other handlers still run
                log.exception("a handler of %s failed", event)
