"""Heads: the oldest messages of the lanes of one destination, read from the outbox once after each commit."""

from collections import deque
from collections.abc import Collection

from bridge.core.messages import Endpoint, Queued
from bridge.store.journal import Journal

AHEAD = 65_536
"""Payload bytes of messages that are read before their turn, at most: memory is scarce, and one message may
have megabytes."""


class Heads:
    """The heads of one destination that may start; lives in the event loop's thread.

    What was read stays true until the next commit, and what it gives away is not given twice. So a slot that
    gets free meanwhile takes the next of those that were read.
    """

    def __init__(self, journal: Journal, endpoint: Endpoint) -> None:
        self._outbox, self._writer = journal.outbox, journal.writer
        self._endpoint = endpoint
        self._ahead: deque[Queued] = deque()
        """Those that were read and not given away yet."""
        self._read_at: tuple[int, bool] | None = None
        """The commit after which they were read, and whether without those that wait for the time. None: they
        are to be read again."""
        self._more = False
        """Whether there may be others beside those that were read."""
        self._large = False
        """Whether those that were read last were too large to be read before their turn."""

    def take(
        self, free: int, room: int, busy: Collection[int], passed_over: Collection[int], *, timed: bool
    ) -> list[Queued]:
        """Return up to ``free`` heads of lanes that are neither ``busy`` nor ``passed_over``.

        ``room`` says how many the next commit leaves room for; so many are read at once, unless they are
        large. Where lanes may become ready without a commit they are read each time. ``timed`` is as for
        `Outbox.heads`.
        """
        now = None if passed_over or self._outbox.lanes.batched else (self._writer.commits, timed)
        if now is None or self._read_at != now or (self._more and not self._ahead):
            limit = free if now is None or self._large else room
            found = self._outbox.heads(self._endpoint, limit, [*busy, *passed_over], timed=timed)
            self._ahead, self._read_at, self._more = deque(found), now, len(found) == limit
            self._large = sum(len(queued.payload) for queued in found) > AHEAD
        taken = [self._ahead.popleft() for _ in range(min(free, len(self._ahead)))]
        if self._large and self._ahead:
            self._ahead.clear()
            self._more = True
        return taken

    def read_again(self) -> None:
        """Read them again the next time: one that was given away did not start."""
        self._read_at = None
