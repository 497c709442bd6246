"""Time for a box without a clock: wall times that follow the monotonic clock when the wall clock jumps."""

import time
from collections.abc import Callable

from bridge.core.messages import Now
from bridge.store.database import Database

PLAUSIBLE = 1_672_531_200.0
"""Unix seconds of 2023-01-01: a clock before this has not been set [older than the first release]."""

STEP = 2.0
"""Seconds of difference between the clocks that count as a step; less is drift or a slewing NTP client."""


def read_clock() -> Now:
    """Return both clocks; the monotonic one counts suspended time too."""
    return Now(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


class Times:
    """This boot's row, and how the times in the store are to be read.

    Rows of this boot follow the monotonic clock: when the wall clock steps, their wall times are moved
    along. Rows of earlier boots hold wall times alone; they are judged by a wall clock that was frozen
    onto the monotonic one when it was first later than anything the store had seen, and until then
    (no clock yet) they do not age.
    """

    def __init__(self, database: Database, boot: str, clock: Callable[[], Now]) -> None:
        self._database = database
        self._clock = clock
        now = clock()
        self._name = boot
        self.new_boot = database.execute("boot_find", (boot,)).fetchone() is None
        if self.new_boot:
            database.execute("boot_add", (boot, now.offset))
        self.boot: int
        self._lead: float
        self._seen: float
        self._frozen: float | None
        self.reset()
        self.check()

    def reset(self) -> None:
        """Go back to what is on disk: the transaction that noticed a step may have been rolled back."""
        self.boot, self._lead = self._database.execute("boot_find", (self._name,)).fetchone()
        seen = self._database.execute("meta_get", ("last_wall",)).fetchone()
        self._seen = seen[0] if seen else 0.0
        self._frozen = None

    def now(self) -> Now:
        """Return the time in which this boot's rows are written.

        Until `check` has noticed a step it does not show: all rows of this boot agree, and move together.
        """
        mono = self._clock().mono
        return Now(mono + self._lead, mono)

    def wall(self) -> float:
        """Return the wall clock as it stands, in Unix seconds."""
        return self._clock().wall

    def check(self) -> float:
        """Notice a step of the clock and move this boot's rows along; return its seconds, 0 without one.

        Runs inside a transaction.
        """
        now = self._clock()
        step = now.offset - self._lead
        if abs(step) > STEP:
            if step < 0:
                self._seen = min(self._seen, now.wall)  # it had been ahead: what it saw then was not yet
                self._database.execute("meta_set", ("last_wall", self._seen))
            values = {"step": step, "boot": self.boot}
            self._database.execute("message_shift", values)
            self._database.execute("chosen_shift", values)
            self._database.execute("boot_set", (now.offset, self.boot))
            self._lead = now.offset
        else:
            step = 0.0
        if self._frozen is None and now.wall >= max(self._seen, PLAUSIBLE):
            self._frozen = now.offset
            values = {"now": now.wall, "boot": self.boot, "plausible": PLAUSIBLE}
            self._database.execute("message_adopt", values)
            self._database.execute("chosen_adopt", values)
        if now.wall > self._seen + 60 and self._frozen is not None:
            self._seen = now.wall
            self._database.execute("meta_set", ("last_wall", now.wall))
        return step

    def judge(self) -> dict[str, float]:
        """Return the query parameters that tell what is due: ``now``, ``earlier_now`` and ``boot``."""
        now = self._clock()
        earlier = float("-inf") if self._frozen is None else now.mono + self._frozen
        return {"now": now.mono + self._lead, "earlier_now": earlier, "boot": self.boot}

    def age(self, boot: int, queued_at: float) -> float | None:
        """Return the seconds since ``queued_at`` of a row of ``boot``, or None while nobody can know."""
        judged = self.judge()
        reference = judged["now"] if boot == self.boot else judged["earlier_now"]
        return max(0.0, reference - queued_at) if reference > float("-inf") else None
