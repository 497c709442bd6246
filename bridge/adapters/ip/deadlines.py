"""Deadlines: when each exchange is to be looked at again, by one timer of the event loop for all of them.

A timer for each exchange would be made, sorted and cancelled with each message, and hardly ever fire.
"""

import asyncio
from collections.abc import Callable
from math import inf


class Deadlines:
    """Calls back when a deadline has passed; lives in the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[Callable[[], None], float] = {}
        self._next = inf
        """When the timer ends; nothing is due before."""
        self._timer: asyncio.TimerHandle | None = None

    def set(self, callback: Callable[[], None], due: float) -> None:
        """Call back at ``due``, a time of the loop, in place of the time that was set before."""
        self._due[callback] = due
        self._arm(due)

    def clear(self, callback: Callable[[], None]) -> None:
        """Call back no more."""
        self._due.pop(callback, None)

    def when(self, callback: Callable[[], None]) -> float:
        """Return when it is called back."""
        return self._due[callback]

    def _arm(self, due: float) -> None:
        if due < self._next:
            if self._timer:
                self._timer.cancel()
            self._next, self._timer = due, self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._next, self._timer = inf, None
        now = self._loop.time()
        for callback in [each for each, due in self._due.items() if due <= now]:
            if callback in self._due:  # another may have ended it
                callback()
        if self._due:
            self._arm(min(self._due.values()))
