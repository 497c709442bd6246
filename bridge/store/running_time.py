"""Running time: a clock that never steps, and that a box without a clock has too.

It follows the monotonic clock. At a new boot it goes on from the last note of it, plus the seconds since that
boot; so time that the box was off is left out at first. Once the wall clock is later than anything in the
store [`bridge.store.clock`], the time off is added. A timer on this clock comes to its end even if the box
never learns the time, as when the network that would tell it is what has failed.
"""

import json
from math import inf
from typing import NamedTuple

from bridge.store.clock import Times
from bridge.store.database import Database

NOTED = 20.0
"""Seconds between notes while a timer runs: what a power cut may add to it on a box without a clock."""

KEY = "running_time"
"""Key in `meta`."""


class _Note(NamedTuple):
    boot: int
    mono: float
    ran: float
    """The running time at ``mono`` of the boot."""
    dated: tuple[int, float, float] | None = None
    """A boot, and the running time and the wall time that it had at the same moment."""


class RunningTime:
    """The running time of a store; what writes runs inside the writer's transaction."""

    def __init__(self, database: Database, times: Times) -> None:
        self._database = database
        self._times = times
        self._note: _Note | None
        self._lead: float
        """The running time minus the monotonic time."""
        self.reset()

    def reset(self) -> None:
        """Read the last note, as after a transaction that was rolled back."""
        row = self._database.execute("meta_get", (KEY,)).fetchone()
        self._note = note = _read(row[0]) if row else None
        if note is None:
            self._lead = 0.0
        else:
            self._lead = note.ran - (note.mono if note.boot == self._times.boot else 0.0)

    def now(self) -> float:
        """Return the running time in seconds."""
        self._add_time_off()
        return self._times.now().mono + self._lead

    def at(self, mono: float) -> float:
        """Return the running time at ``mono`` of this boot."""
        return mono + self._lead

    def _add_time_off(self) -> None:
        dated, wall = self._note.dated if self._note else None, self._wall
        if dated is not None and wall is not None and dated[0] != self._times.boot:
            off = dated[1] + (wall - dated[2]) - self._times.now().mono
            self._lead = max(self._lead, off)
            assert self._note is not None
            self._note = self._note._replace(dated=None)

    @property
    def _wall(self) -> float | None:
        found = self._times.judge()["earlier_now"]
        return None if found == -inf else found

    @property
    def stale(self) -> bool:
        """Whether the last note is too old."""
        note = self._note
        return note is None or note.boot != self._times.boot or self.now() - note.ran >= NOTED

    def note(self) -> None:
        """Write the present running time down."""
        now, wall = self.now(), self._wall
        dated = self._note.dated if self._note else None
        if wall is not None:
            dated = (self._times.boot, now, wall)
        self._note = _Note(self._times.boot, self._times.now().mono, now, dated)
        self._database.execute("meta_set", (KEY, json.dumps(self._note)))


def _read(text: object) -> _Note | None:
    """Return a note; None for one that damage has left unreadable."""
    try:
        boot, mono, ran, dated = json.loads(str(text))
        where = None if dated is None else (int(dated[0]), float(dated[1]), float(dated[2]))
        return _Note(int(boot), float(mono), float(ran), where)
    except (ValueError, TypeError, IndexError, RecursionError):
        return None
