"""Sampler: takes a sample at regular intervals."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bridge.core.progress import Progress
from bridge.errors import LinkError

log = logging.getLogger("wifi")


class Sampler:
    """Lives in the event loop's thread."""

    def __init__(self, name: str, sample: Callable[[], Awaitable[None]], every: float) -> None:
        """``name`` is for the watchdog; ``every`` is the seconds between one sample's end and the next."""
        self._name = name
        self._sample = sample
        self._every = every
        self._samples = 0
        self._sampling = False

    def progress(self) -> tuple[Progress, ...]:
        """Return the sampler's progress, for the watchdog."""
        return (Progress(self._name, self._samples, busy=self._sampling),)

    async def run(self) -> None:
        """Take samples until cancelled; a failed sample is skipped."""
        while True:
            await asyncio.sleep(self._every)
            self._sampling = True
            try:
                await self._sample()
            except LinkError as exc:
                log.debug("%s", exc)
            self._sampling = False
            self._samples += 1
