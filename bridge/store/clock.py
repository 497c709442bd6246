"""Time on a box without a clock: wall times that follow the monotonic clock when the wall clock jumps."""

from collections.abc import Callable

from bridge.core.known_time import PLAUSIBLE
from bridge.core.messages import Now
from bridge.store.database import Database

STEP = 2.0
"""Seconds of difference between the two clocks that count as a step. Less is drift, or NTP slewing."""


NOTED, NOTED_IDLE = 60.0, 900.0
"""Seconds between notes of the wall clock, and the same while nothing else is written, to spare the card."""


class Times:
    """The boots that stored rows, and the wall time of their rows.

    A message holds the number of its boot and its monotonic time. Each boot has one clock offset: wall time
    minus monotonic time. So messages of this boot follow the monotonic clock, and a step of the wall clock
    changes only the offset.

    Rows of earlier boots are judged by a reference clock: the wall clock at the moment when it was first
    later than anything in the store, continued by the monotonic clock. Before that moment the time is
    unknown, and these rows do not age. Only idempotency keys hold wall times. A step moves them, because they
    are few and small.

    Of each boot it is kept whether the box learned the time in it. What was queued in one in which it did not
    has an order, and no time.
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
        self._offsets: dict[int, float]
        self._offset: float
        self._known: set[int]
        self._seen: float
        self._reference: float | None
        self.reset()
        self.check()

    def reset(self) -> None:
        """Go back to the values on disk: a rollback may have undone the transaction that noticed a step."""
        (self.boot,) = self._database.execute("boot_find", (self._name,)).fetchone()
        boots = self._database.execute("boot_all").fetchall()
        self._offsets = {boot: offset for boot, offset, _ in boots}
        self._known = {boot for boot, _, known in boots if known}
        self._offset = self._offsets[self.boot]
        seen = self._database.execute("meta_get", ("last_wall",)).fetchone()
        self._seen = seen[0] if seen else 0.0
        self._reference = None

    def now(self) -> Now:
        """Return the time for new rows of this boot.

        A step shows only after `check` has noticed it, so that all rows of this boot agree.
        """
        mono = self._clock().mono
        return Now(mono + self._offset, mono)

    def wall(self) -> float:
        """Return the wall clock in Unix seconds."""
        return self._clock().wall

    def present_now(self) -> Now:
        """Return both clocks as they are, noticed steps or not."""
        return self._clock()

    @property
    def trusted(self) -> bool:
        """Whether the wall clock shows the day: the box learned the time, and was not reset since."""
        return self.known and self._clock().wall >= PLAUSIBLE

    def check(self, *, idle: bool = False) -> float:
        """Check for a step of the wall clock; return it in seconds, 0 without one.

        Runs inside a transaction; ``idle``: nothing else is written meanwhile.
        """
        now = self._clock()
        step = now.offset - self._offset
        if abs(step) > STEP:
            if step < 0:
                self._seen = min(
                    self._seen, now.wall
                )  # the clock was ahead, and so was the time that it showed last
                self._database.execute("meta_set", ("last_wall", self._seen))
            for query in ("key_shift", "key_shift_ended"):
                self._database.execute(query, {"step": step, "boot": self.boot})
            self._set_offset(self.boot, now.offset)
            self._offset = now.offset
        else:
            step = 0.0
        if self._reference is None and now.wall >= max(self._seen, PLAUSIBLE):
            self._reference = now.offset
            self._adopt(now.wall)
        if now.wall > self._seen + (NOTED_IDLE if idle else NOTED) and self._reference is not None:
            self._seen = now.wall
            self._database.execute("meta_set", ("last_wall", now.wall))
        return step

    @property
    def known(self) -> bool:
        """Whether the box learned the time in this boot."""
        return self.boot in self._known

    def knows(self, boot: int) -> bool:
        """Return whether the box learned the time in ``boot``."""
        return boot in self._known

    def learn(self) -> None:
        """Note that the wall clock is right; runs inside a transaction.

        The offset is set even without a step, because it dates what was queued before to the second.
        """
        self.check()
        self._offset = self._clock().offset
        self._set_offset(self.boot, self._offset)
        self._database.execute("boot_know", (self.boot,))
        self._known.add(self.boot)

    def _set_offset(self, boot: int, offset: float) -> None:
        self._database.execute("boot_set", (offset, boot))
        self._offsets[boot] = offset

    def _adopt(self, wall: float) -> None:
        """Date boots that never had the time as if they ended now: their rows begin to age."""
        for query in ("key_adopt", "key_adopt_ended"):
            self._database.execute(query, {"now": wall, "boot": self.boot, "plausible": PLAUSIBLE})
        earlier = [(boot, offset) for boot, offset in self._offsets.items() if boot != self.boot]
        for boot in [boot for boot, offset in earlier if offset < PLAUSIBLE]:
            self._set_offset(boot, wall - self._last_mono(boot))

    def _last_mono(self, boot: int) -> float:
        """Return the monotonic time of the newest message of ``boot``.

        Boots are in the order of the messages, but for those that took over a place.
        """
        last: float = self._database.execute("message_renewed_last", (boot,)).fetchone()[0] or 0.0
        low, high = 0, self._database.execute("message_last").fetchone()[0] or -1
        while low <= high:
            middle = (low + high) // 2
            found = self._database.execute("message_from", (middle,)).fetchone()
            if found is None or found[1] > boot:
                high = middle - 1
                continue
            seq, of_boot, mono = found
            low = seq + 1
            if of_boot == boot:
                last = max(last, mono)
        return last

    def date(self, boot: int, mono: float) -> float:
        """Return the wall time (Unix seconds) of ``mono`` in ``boot``."""
        return mono + self._offsets.get(boot, self._offset)

    def present(self, boot: int) -> float:
        """Return the wall time now by the reckoning of ``boot``; -inf while it is unknown."""
        mono = self._clock().mono
        if boot == self.boot:
            return mono + self._offset
        return float("-inf") if self._reference is None else mono + self._reference

    def moved(self, boot: int) -> dict[str, float]:
        """Return the parameters that move a row of ``boot``, an earlier one, into the clock of this boot.

        ``shift`` is infinite while nobody knows how long ago that boot was.
        """
        now = self.now()
        ago = now.mono - (self.present(boot) - self._offsets.get(boot, self._offset))
        return {"boot": self.boot, "shift": ago, "offset": now.offset}

    def passed(self) -> list[tuple[int, float]]:
        """Return each boot with its monotonic time now, as if it had gone on."""
        return [(boot, self.present(boot) - offset) for boot, offset in self._offsets.items()]

    def judge(self) -> dict[str, float]:
        """Return the parameters of queries for due rows: ``now``, ``earlier_now`` and ``boot``."""
        return {"now": self.present(self.boot), "earlier_now": self.present(0), "boot": self.boot}

    def age(self, boot: int, mono: float) -> float | None:
        """Return the seconds since ``mono`` in ``boot``, None while the time is unknown."""
        present = self.present(boot)
        return max(0.0, present - self.date(boot, mono)) if present > float("-inf") else None
