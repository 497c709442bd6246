"""The message flow: the uplink and the listener of a journal, started and ended as one.

Entering it sends the waiting messages and listens. Leaving it begins nothing new, and waits until the
messages in flight have ended and are durable. After a failure it does not wait. The owner closes the journal.
"""

import asyncio
from collections.abc import Callable
from typing import Self

from bridge.adapters.inbound.listener import Listener
from bridge.flow.message.results import Results
from bridge.flow.message.uplink import Paths, Uplink
from bridge.flow.notices import Notices
from bridge.store.journal import Journal

GRACE = 6.0
"""Seconds for the messages in flight to end, and again for their results to become durable.

Together with the last reports they stay below the 10 s after which container engines kill."""


class MessageFlow:
    """Messages between a journal and the network; lives in the event loop's thread."""

    def __init__(
        self, journal: Journal, results: Results, paths: Paths, notices: Notices, *, slots: int
    ) -> None:
        """``slots`` is the number of exchanges that may be under way with one destination."""
        self.journal = journal
        self.uplink = Uplink(journal, results, paths, notices, slots=slots)
        self.listener: Listener | None = None
        """The listener of the machine's own network; None without one."""
        self.grace = GRACE
        """Seconds for the messages in flight to end."""
        self._started = False

    def start(self) -> None:
        """Begin to send, messages of an earlier run included; a second call changes nothing."""
        if not self._started:
            self._started = True
            self.uplink.start()
            if self.listener:
                self.listener.start()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._stop()
        if kind is None:
            await self.close()

    def _stop(self) -> None:
        self.uplink.stop()
        if self.listener:
            self.listener.stop()

    async def close(self) -> None:
        """Begin nothing new, and wait until the messages in flight have ended and are durable."""
        self._stop()
        await until(self._idle, self.grace)
        await until(lambda: self.journal.writer.idle, GRACE)
        if self.listener:
            self.listener.close()

    def _idle(self) -> bool:
        return self.uplink.in_flight == 0 and (self.listener is None or self.listener.idle)


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until ``condition`` holds, or for ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pass
