"""The restart of the box: the last rung, where the ladder has not helped for long and something waits.

It happens at most once a day. The note of it is durable before it is asked for, and is taken back only if it
was refused; so no crash makes it happen twice. A day is counted in running time, because the box may come up
without knowing the time.
"""

import asyncio
from collections.abc import Awaitable, Callable

from bridge.core.recovery import Diagnosis
from bridge.errors import OperationError
from bridge.store.journal import Journal

DAY = 86400.0

FIRST_PAUSE, LONGEST_PAUSE = 600.0, 6 * 3600.0
"""Seconds until it is asked for again after a refusal, as while packages are installed; they double."""

COMMIT_WAIT = 30.0
"""Seconds for the note to become durable."""

KEY = "box_restarted"
"""Key in the store of the running time at which the box was restarted last."""

_HELPLESS = (Diagnosis.NONE, Diagnosis.SIM)
"""Nothing is wrong, or a person is needed."""


class BoxRestart:
    """Decides when the box is restarted, and has it done; lives in the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        after: float | None,
        waits: Callable[[], bool],
        restart: Callable[[], Awaitable[None]],
    ) -> None:
        """``after`` is ``network.restart_box_after`` in seconds, None: never.

        ``waits`` returns whether a message waits for the modem. ``restart`` restarts the box, or raises
        `OperationError`.
        """
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._after = after
        self._waits = waits
        self._restart = restart
        self._since: float | None = None
        """When the trouble began, in monotonic seconds; None: there is none."""
        self._refusals = 0
        self._not_before = 0.0

    def due(self, diagnosis: Diagnosis, *, exhausted: bool) -> bool:
        """Whether to restart the box now; ``exhausted`` says that the ladder has had its round."""
        now = self._time.now().mono
        if self._after is None or diagnosis in _HELPLESS:
            self._since, self._refusals = None, 0
            return False
        if self._since is None:
            self._since = now
        if not exhausted or now - self._since < self._after or now < self._not_before:
            return False
        return not self._writer.committing and self._is_rested() and self._waits()

    def _is_rested(self) -> bool:
        """Whether the last restart was a day ago."""
        last = self._outbox.meta(KEY)
        return not isinstance(last, int | float) or self._outbox.running.now() - last >= DAY

    async def carry_out(self) -> None:
        """Have the box restarted; raises `OperationError` if it is refused."""
        before = self._outbox.meta(KEY)
        await self._keep(self._outbox.running.now())
        try:
            await self._restart()
        except OperationError:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._refusals, 16))
            self._refusals += 1
            self._not_before = self._time.now().mono + pause
            await self._keep(before)
            raise
        self._not_before = self._time.now().mono + DAY

    async def _keep(self, at: float | None) -> None:
        """Note durably when the box was restarted; raises `OperationError` if the disk does not take it."""
        durable = asyncio.Event()

        def operation() -> None:
            self._outbox.set_meta(KEY, at)
            self._outbox.running.note()

        self._writer.write(operation, lambda _: durable.set())
        try:
            async with asyncio.timeout(COMMIT_WAIT):
                await durable.wait()
        except TimeoutError:
            raise OperationError("its note cannot be written: the disk does not answer") from None
