"""Room on the disk: whether a transaction fits in, and what becomes of the reserve on a full disk.

Whoever else writes there, and for however long, two things have to stay possible. What the log holds is
copied into the file, so that the log can be written from its start: so the file never grows by more than is
left. And results are recorded, though most are larger than the message that they take the place of: so the
file has free pages for them, and where those are used up what makes room (reports that the broker has) goes
first. The reserve is released for this at once, before others take it.
"""

import sqlite3
from collections.abc import Callable
from functools import partial

from bridge.errors import StoreFull
from bridge.store.database import Database, translate
from bridge.store.reserve import DELETIONS, SIZE, Reserve

ASIDE = 768 * 1024 / SIZE
"""Free pages that the file gets out of the reserve, and keeps: some 2000 results.

A part of the reserve, like all that follows: less where less is at stake.
"""

MARGIN = 128 * 1024 / SIZE
"""What of these is left to what makes room."""

TIGHT = 384 * 1024 / SIZE
"""Below this reports should go out before more is sent: what is under way needs the others."""

STEP = 64 * 1024 / SIZE
"""Free pages for which the file is not written anew."""

LOG = 1 - DELETIONS / SIZE
"""What the log gets out of the reserve, and keeps."""


class Room:
    """Judges the transactions of one store, and makes room on a full disk."""

    def __init__(self, database: Database, reserve: Reserve) -> None:
        self._database = database
        self._reserve = reserve
        self._used = 0
        self._aside, self._margin, self._tight, self._step, self._log = (
            int(part * min(reserve.size, SIZE)) for part in (ASIDE, MARGIN, TIGHT, STEP, LOG)
        )

    def hold(self, ahead: int = 0) -> bool:
        """Hold the reserve, if there is room for it and for a message of ``ahead`` bytes."""
        return self._reserve.hold(ahead)

    def begin(self) -> None:
        """A transaction has begun that `fits_full` will judge."""
        self._used = self._database.used()

    def fits(self) -> bool:
        """Whether the reserve and what is free would do for the open transaction."""
        return self._reserve.covers(self._database.growth())

    def fits_full(self, *, frees: bool) -> bool:
        """Whether the open transaction leaves enough on a full disk; ``frees``: it is there to make room."""
        left = self._left()
        if left < 0:
            return False
        shrinks = self._database.used() <= self._used
        return frees or shrinks or left + self._database.spare() >= self._margin

    @property
    def tight(self) -> bool:
        """Whether little is left for results on a full disk."""
        return self._left() + self._database.spare() < self._tight

    def spend(self) -> None:
        """Release the reserve and use at once what it gives back."""
        self._reserve.release()
        self.copy_log()
        self._set_aside()
        self._database.extend_log(self._log)

    def copy_log(self) -> bool:
        """Copy the log, for a transaction to write where it was; return whether there was room for that."""
        return _done(self._database.copy_log)

    def give_back(self) -> None:
        """Return deleted pages to the file system, but for those that results need."""
        # Where the log has no room in the file it has when the file is smaller.
        _done(partial(self._database.give_back, self._aside if self.copy_log() else 0))
        self._set_aside()

    def _set_aside(self) -> None:
        """Have free pages in the file, as many as there is room for: what it has no others can take."""
        spare = self._database.spare()
        missing = self._aside - spare
        while missing >= self._step:
            size = spare + missing
            if _done(partial(self._database.set_aside, size, partial(self._has_room, size))):
                return
            missing //= 2

    def _has_room(self, size: int) -> bool:
        """Whether ``size`` bytes can go into the log, and from there into the file."""
        return self._left() >= max(0, size + self._step - self._database.log_size())

    def _left(self) -> int:
        """Return the bytes that are free when the log is copied."""
        return self._reserve.free() - self._database.growth()


def _done(call: Callable[[], None]) -> bool:
    """Whether there was room for it."""
    try:
        call()
    except StoreFull:
        return False
    except sqlite3.Error as exc:
        ours = translate(exc)
        if not isinstance(ours, StoreFull):
            raise ours from exc
        return False
    return True
