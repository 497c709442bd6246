"""Space: a watermark for accepting, a lower one for sending, and the reserve below both.

Nothing that the bridge has acknowledged may be lost, and its result needs room, although it is often larger
than the message that it replaces. So nothing is accepted below the watermark: the room down to a quarter of
it is for results. Below that quarter nothing is sent, because the result might find no room; the results of
messages in flight use the rest. When SQLite itself reports a full disk, the reserve is released for them.

::

    OK ──── below the watermark, or SQLite found no room ────> LOW
    LOW ─── below a quarter of it, or SQLite found no room ──> EXHAUSTED
    EXHAUSTED ─── half of the watermark is free again ───────> LOW
    LOW ─── the watermark, the next message, the reserve ────> OK

Deleted pages of the file count as room, so reports that the broker has taken restore a state. For results the
reserve counts as room too. Other programs may fill the disk to the last byte: sending pauses when the reserve
is used up, and resumes by itself when there is room.
"""

import sqlite3
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Final

from bridge.errors import StoreFull
from bridge.store.database import Database, translate
from bridge.store.reserve import Reserve

WATERMARK: Final = 16 * 1024 * 1024
"""Bytes kept free for results. The results of a million small messages are larger, but most are published
while the others are sent."""

SHARE: Final = 4
"""The watermark is at most this fraction of a small disk: a quarter."""


class Space(Enum):
    """What the disk has room for."""

    OK = "ok"
    """Messages are accepted and sent."""
    LOW = "low"
    """Messages are sent, and none is accepted."""
    EXHAUSTED = "exhausted"
    """Messages are neither accepted nor sent, because a result might find no room."""


class Disk:
    """Measures the disk of one store; called between transactions."""

    def __init__(self, database: Database, reserve: Reserve) -> None:
        self._database = database
        self._reserve = reserve
        self.watermark = min(WATERMARK, reserve.disk_size() // SHARE)
        """Free bytes below which nothing is accepted."""

    def room(self) -> int:
        """Return the bytes that will be free when the log has been copied into the file."""
        return self._reserve.free() + self._database.spare()

    def needed(self, size: int) -> int:
        """Return the room that a message of ``size`` bytes needs, once in the log and once in the file."""
        return self.watermark + 2 * size

    def has_room_for_results(self, *, again: bool = False) -> bool:
        """Whether the result of a message sent now finds room.

        ``again`` asks for twice as much, after there was none, so that the state does not alternate.
        """
        reserve = self._reserve.size if self._reserve.held else 0
        return self.room() + reserve >= self.watermark // (2 if again else 4)

    def needed_again(self, size: int) -> int:
        """Return the room that a message of ``size`` bytes needs after there was none.

        It adds the reserve, and a distance to the watermark that keeps the state from alternating.
        """
        return self.needed(size) + self.watermark // 4 + (0 if self._reserve.held else self._reserve.size)

    def recovers(self, size: int) -> bool:
        """Take the reserve if it and a message of ``size`` bytes have room; return whether it did."""
        return self.room() >= self.needed_again(size) and self._reserve.hold()

    def hold(self) -> bool:
        """Take the reserve at a start; return whether there is room for messages beside it."""
        return self.room() >= self.needed(0) and self._reserve.hold()

    def release(self) -> bool:
        """Release the reserve to the database; return whether there was one."""
        held = self._reserve.held
        self._reserve.release()
        return held

    def copy_log(self) -> bool:
        """Copy the log, so that the next transaction writes it from its start.

        Return whether there was room.
        """
        return self._had_room(self._database.copy_log)

    def give_back(self) -> None:
        """Return deleted pages to the file system, except as many as the watermark asks for."""
        if self.copy_log():
            self._had_room(partial(self._database.give_back, self.watermark))

    def _had_room(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except sqlite3.Error as exc:
            error = translate(exc, self._database.path)
            if not isinstance(error, StoreFull):
                raise error from exc
            return False
        return True
