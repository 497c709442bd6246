"""The message flow: what sends from the journal and takes into it, started and ended as one.

Entered, it sends what waits and listens; left, it begins nothing new, and lets what is in flight end and
become durable. After a failure nothing is waited for. The journal is its owner's, and outlives it.
"""

import asyncio
from collections.abc import Callable
from typing import Self

from bridge.adapters.inbound.listener import Listener
from bridge.flow.message.results import Results
from bridge.flow.message.uplink import Paths, Uplink
from bridge.flow.notices import Notices
from bridge.store.journal import Journal

GRACE = 8.0
"""Seconds for what is in flight to end, and for it to become durable."""


class MessageFlow:
    """Messages between a journal and the network; lives in the event loop's thread."""

    def __init__(
        self, journal: Journal, results: Results, paths: Paths, notices: Notices, *, slots: int
    ) -> None:
        """``slots`` is the number of messages that may be in flight to one destination."""
        self.journal = journal
        self.uplink = Uplink(journal, results, paths, notices, slots=slots)
        self.listener: Listener | None = None
        """What takes messages in by the machine's own network, if anything does."""
        self.grace = GRACE
        """Seconds for what is in flight to end."""
        self._started = False

    def start(self) -> None:
        """Take up what an earlier run left; does nothing the second time."""
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
        """Begin nothing new, and let what is in flight end and become durable."""
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
