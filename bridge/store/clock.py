"""Time for a box without a clock: wall times that follow the monotonic clock when the wall clock jumps."""

from collections.abc import Callable

from bridge.core.messages import Now
from bridge.store.database import Database

PLAUSIBLE = 1_672_531_200.0
"""Unix seconds of 2023-01-01: a clock before this has not been set [older than the first release]."""

STEP = 2.0
"""Seconds of difference between the clocks that count as a step; less is drift or a slewing NTP client."""


class Times:
    """The boots that left rows, and how the times in the store are to be read.

    A message holds its boot's number and the monotonic time; each boot's row tells by how much the wall clock
    led. So messages of this boot follow the monotonic clock: when the wall clock steps, the lead is all that
    changes. Earlier boots are judged by a wall clock that was frozen onto the monotonic one when it was first
    later than anything the store had seen; until then (no clock yet) their rows do not age. Only the ids that
    producers chose hold wall times, which are moved along: their rows are few and small.
    """

    def __init__(self, database: Database, boot: str, clock: Callable[[], Now]) -> None:
        self._database = database
        self._clock = clock
        now = clock()
        self._name = boot
        self.new_boot = database.execute("boot_find", (boot,)).fetchone() is None
        if self.new_boot:
            added = database.execute("boot_add", (boot, now.offset)).lastrowid
            database.execute("boot_forget", {"boot": added})
        self.boot: int
        self._leads: dict[int, float]
        self._lead: float
        self._seen: float
        self._frozen: float | None
        self.reset()
        self.check()

    def reset(self) -> None:
        """Go back to what is on disk: the transaction that noticed a step may have been rolled back."""
        (self.boot,) = self._database.execute("boot_find", (self._name,)).fetchone()
        self._leads = dict(self._database.execute("boot_all").fetchall())
        self._lead = self._leads[self.boot]
        seen = self._database.execute("meta_get", ("last_wall",)).fetchone()
        self._seen = seen[0] if seen else 0.0
        self._frozen = None

    def now(self) -> Now:
        """Return the time in which this boot's rows are written.

        Until `check` has noticed a step it does not show: all rows of this boot agree.
        """
        mono = self._clock().mono
        return Now(mono + self._lead, mono)

    def wall(self) -> float:
        """Return the wall clock as it stands, in Unix seconds."""
        return self._clock().wall

    def check(self) -> float:
        """Notice a step of the clock; return its seconds, 0 without one.

        Runs inside a transaction.
        """
        now = self._clock()
        step = now.offset - self._lead
        if abs(step) > STEP:
            if step < 0:
                self._seen = min(self._seen, now.wall)  # it had been ahead: what it saw then was not yet
                self._database.execute("meta_set", ("last_wall", self._seen))
            self._database.execute("chosen_shift", {"step": step, "boot": self.boot})
            self._set_lead(self.boot, now.offset)
            self._lead = now.offset
        else:
            step = 0.0
        if self._frozen is None and now.wall >= max(self._seen, PLAUSIBLE):
            self._frozen = now.offset
            self._adopt(now.wall)
        if now.wall > self._seen + 60 and self._frozen is not None:
            self._seen = now.wall
            self._database.execute("meta_set", ("last_wall", now.wall))
        return step

    def _set_lead(self, boot: int, lead: float) -> None:
        self._database.execute("boot_set", (lead, boot))
        self._leads[boot] = lead

    def _adopt(self, wall: float) -> None:
        """Have the boots that never had the time end now: what they left begins to age."""
        self._database.execute("chosen_adopt", {"now": wall, "boot": self.boot, "plausible": PLAUSIBLE})
        timeless = [boot for boot, lead in self._leads.items() if boot != self.boot and lead < PLAUSIBLE]
        for boot in timeless:
            self._set_lead(boot, wall - self._last_mono(boot))

    def _last_mono(self, boot: int) -> float:
        """Return when the newest message of ``boot`` came; of later boots are later messages."""
        last, low = 0.0, 0
        high: int = self._database.execute("message_last").fetchone()[0] or -1
        while low <= high:
            middle = (low + high) // 2
            seq, of_boot, mono = self._database.execute("message_from", (middle,)).fetchone()
            if of_boot > boot:
                high = middle - 1
                continue
            low = seq + 1
            if of_boot == boot:
                last = mono
        return last

    def date(self, boot: int, mono: float) -> float:
        """Return the wall time (Unix seconds) of ``mono`` in ``boot``."""
        return mono + self._leads.get(boot, self._lead)

    def present(self, boot: int) -> float:
        """Return the time by which rows of ``boot`` are judged, as `date` has it; -inf while unknown."""
        mono = self._clock().mono
        if boot == self.boot:
            return mono + self._lead
        return float("-inf") if self._frozen is None else mono + self._frozen

    def passed(self) -> list[tuple[int, float]]:
        """Return each boot with the monotonic time that it would have by now."""
        return [(boot, self.present(boot) - lead) for boot, lead in self._leads.items()]

    def judge(self) -> dict[str, float]:
        """Return the query parameters that tell what is due: ``now``, ``earlier_now`` and ``boot``."""
        return {"now": self.present(self.boot), "earlier_now": self.present(0), "boot": self.boot}

    def age(self, boot: int, mono: float) -> float | None:
        """Return the seconds since ``mono`` in ``boot``, or None while nobody can know."""
        present = self.present(boot)
        return max(0.0, present - self.date(boot, mono)) if present > float("-inf") else None
