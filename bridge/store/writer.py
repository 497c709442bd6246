"""Group commit: the operations of one turn of the event loop share one transaction.

Two kinds of operations::

    write    keeps the store's size or reduces it: a result, a retry, an acknowledged report
    append   enlarges it: a new message, an inbound message

An operation is a callable that writes through the outbox. It may run again after a rollback, so it changes
nothing but the store. Its ``done`` is called with its value after the commit; only then may an
acknowledgement be sent.

`Space` says what there is room for (`bridge.store.space`). While it is not OK appends wait in memory, and the
broker keeps the unacknowledged messages. While it is EXHAUSTED each operation has a transaction of its own,
and those that free pages go first.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from bridge.core.progress import Progress
from bridge.core.time import Time, Timer
from bridge.errors import StoreError, StoreFull
from bridge.store.database import Database, translate
from bridge.store.reserve import Reserve
from bridge.store.space import Disk, Space

Operation = Callable[[], Any]
Done = Callable[[Any], None]

PACE = 0.002
"""Seconds between transactions under load. A lone message is committed at once; a stream of them shares each
sync. It is far shorter than an exchange."""

GROWTH = 1_000_000
"""Payload bytes of one transaction at most, unless it has a single message."""

CROWD = 256
"""Waiting appends at which their sources should pause. Mosquitto sends far more messages ahead than Receive
Maximum allows, and memory is scarce."""

LINGER = 2.0
"""Seconds that an operation whose loss does no harm may wait for a transaction with other writes. One of its
own would cost the card some pages and a sync."""

CHECK_EVERY = 2.0
"""Seconds between checks: for room while the disk is full, and of the room for results while it is not."""

LONGEST_WAIT = 60.0
"""Seconds between checks at most. They double up to this on a disk that has room and still refuses writes, as
under a quota."""


class Volatile(Protocol):
    """The outbox's values in memory that belong to the transaction."""

    def flush(self) -> None:
        """Write the sums of the transaction."""

    def reset(self) -> None:
        """Go back to the values on disk after a rollback."""


CommitWorker = Callable[[Callable[[], None], Callable[[BaseException | None], None]], None]
"""Function that runs its first argument, possibly in another thread, and then calls the second in the loop
with the exception or None."""


def _at_once(call: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
    try:
        call()
    except (sqlite3.Error, StoreError) as exc:
        done(exc)
    else:
        done(None)


class _Pending(NamedTuple):
    operation: Operation
    done: Done | None
    size: int = 0
    frees: bool = False
    replaced: Callable[[], None] | None = None


class _Batch(NamedTuple):
    """The operations of one transaction, and the values that they returned."""

    writes: list[_Pending]
    appends: dict[object, _Pending]
    values: list[Any]


class Writer:
    """Owns the transaction; lives in the event loop's thread."""

    def __init__(
        self,
        database: Database,
        volatile: Volatile,
        reserve: Reserve,
        time: Time,
        *,
        worker: CommitWorker | None = None,
    ) -> None:
        """``worker`` runs the commit outside the event loop. Without it the loop waits for the disk.

        One sync of an SD card takes 10 to 50 ms.
        """
        self.on_full: Callable[[bool], None] = lambda _: None
        """Called with True when the disk is full, and with False when it has room again."""
        self._worker = worker or _at_once
        self._database = database
        self._volatile = volatile
        self._disk = Disk(database, reserve)
        self._time = time
        self._writes: list[_Pending] = []
        self._appends: dict[object, _Pending] = {}
        self._lingering: list[_Pending] = []
        """Operations that wait for a transaction with other writes."""
        self._linger_timer: Timer | None = None
        self._may_linger = True
        self._scheduled = self._hurried = False
        self._committing = False
        self._again: dict[Callable[[], None], None] = {}
        self._closed = False
        self._committed = self._measured = 0.0
        self._commits = 0
        """Transactions that ended, successfully or not."""
        self._copied = True
        """Whether nothing was committed since the log was copied to make room for a transaction."""
        self.space = Space.OK
        self._wait = CHECK_EVERY
        self.full = False
        """Whether appends wait for room. After room was found it stays True until the first of them is
        stored."""
        if not self._disk.hold():
            self._enter_low()

    def write(
        self, operation: Operation, done: Done | None = None, *, frees: bool = False, linger: bool = False
    ) -> None:
        """Run ``operation`` in the next transaction, even on a full disk.

        While the disk is exhausted an operation that only ``frees`` pages runs before the others. An
        operation that may ``linger`` waits up to `LINGER` seconds for a transaction with other writes.
        """
        pending = _Pending(operation, done, frees=frees)
        if linger and self._may_linger and self.space is Space.OK:
            if not self._lingering:
                self._linger_timer = self._time.call_later(LINGER, self._end_lingering)
            self._lingering.append(pending)
            return
        self._writes.append(pending)
        self._schedule()

    def hasten(self) -> None:
        """Let no operation linger from now on: the bridge is about to end."""
        self._may_linger = False
        self._end_lingering()

    def _end_lingering(self) -> None:
        if self._lingering:
            self._writes = self._with_lingering(self._writes)
            self._schedule()

    def _with_lingering(self, writes: list[_Pending]) -> list[_Pending]:
        """Return ``writes`` and what lingers, which waits no longer."""
        if self._linger_timer:
            self._linger_timer.cancel()
        lingering, self._lingering, self._linger_timer = self._lingering, [], None
        return [*writes, *lingering]

    def append(
        self,
        operation: Operation,
        done: Done | None = None,
        *,
        size: int = 0,
        key: object = None,
        again: bool = False,
        replaced: Callable[[], None] | None = None,
    ) -> None:
        """Run ``operation``, which stores ``size`` bytes, in the next transaction that has room for it.

        An operation that comes ``again`` takes the place of the waiting one with the same ``key``, whose
        ``replaced`` is called instead of its ``done``. Otherwise every reconnection on a full disk would add
        a copy of each unacknowledged message to memory.
        """
        known = self._appends.get(key) if key is not None else None
        if key is None or (known and not again):
            # Without DUP it is a new delivery, even under a packet identifier that still waits here.
            key = object()
        elif known and known.replaced:
            known.replaced()
        self._appends[key] = _Pending(operation, done, size, replaced=replaced)
        if not self.full:
            self._schedule()

    def waits(self, key: object) -> bool:
        """Return whether an append under ``key`` waits for its transaction."""
        return key in self._appends

    def busy(self, again: Callable[[], None]) -> bool:
        """Return whether a commit is in progress; ``again`` is then called after it.

        A read sees the values of the transaction before they are durable, and they are gone if it fails. So
        whoever acts on a read waits for the end of the commit.
        """
        if self._committing:
            self._again[again] = None
        return self._committing

    def backpressure(self, again: Callable[[], None]) -> bool:
        """Return whether sources should pause for backpressure.

        ``again`` is then called after the next commit.

        It is False on a full disk. That may last for days, and without acknowledgements the broker stops by
        itself.
        """
        if self.full or len(self._appends) < CROWD:
            return False
        self._again[again] = None
        return True

    def close(self) -> None:
        """Write nothing more, because the database is about to be closed."""
        self._closed = True

    @property
    def waiting(self) -> int:
        """The number of operations that are not durable yet."""
        return len(self._writes) + len(self._lingering) + len(self._appends)

    @property
    def idle(self) -> bool:
        """Whether every operation that there is room for is durable."""
        waiting = self._writes or self._lingering or self._committing
        return not waiting and (self.full or not self._appends)

    @property
    def commits(self) -> int:
        """The number of transactions that ended. What is read in none stays true until it changes."""
        return self._commits

    @property
    def committing(self) -> bool:
        """Whether a commit is in progress. A read would wait for its end and block the loop."""
        return self._committing

    @property
    def needed(self) -> int:
        """The free bytes that the next message needs on a full disk."""
        return self._disk.needed_again(self._next_size)

    @property
    def _next_size(self) -> int:
        return next((pending.size for pending in self._appends.values()), 0)

    def progress(self) -> tuple[Progress, ...]:
        """Return the progress of the commits, for the watchdog."""
        return (Progress("writer", self._commits, busy=not self.idle and not self._closed),)

    def hurry(self) -> None:
        """Commit without the pause: whoever brings operations waits for this one."""
        self._hurried = True
        if self._scheduled:
            self._time.call_soon(self._commit)

    def _schedule(self) -> None:
        if self._scheduled or self._committing:
            return
        self._scheduled = True
        since = self._time.now().mono - self._committed
        # A lone message is committed at once; under load each sync carries what came within the pace.
        if since >= PACE or self._hurried:
            self._time.call_soon(self._commit)
        else:
            self._time.call_later(PACE - since, self._commit)

    def _commit(self) -> None:
        """Run all waiting operations in one transaction, then their callbacks."""
        if not self._scheduled:  # another call of a pause that was cut short
            return
        self._scheduled = self._hurried = False
        batch = self._take()
        if self._closed or (not batch.writes and not batch.appends):
            return
        self._committing = True
        try:
            self._database.begin()
            batch.values.extend(pending.operation() for pending in (*batch.writes, *batch.appends.values()))
            self._volatile.flush()
        except (sqlite3.Error, StoreFull) as exc:
            self._ended(batch, exc)
        except BaseException:
            self._committing = False
            self._give_up()
            raise
        else:
            self._worker(self._database.commit, lambda error: self._ended(batch, error))

    def _take(self) -> _Batch:
        """Return the operations of the next transaction."""
        if self.space is Space.EXHAUSTED and self._writes:
            # Alone, because an operation that finds no room must not roll the others back with it.
            one = next((each for each in self._writes if each.frees), self._writes[0])
            self._writes.remove(one)
            return _Batch([one], {}, [])
        writes, self._writes = self._writes, []
        if writes:  # results write the pages of what lingers anyway; messages have others
            writes = self._with_lingering(writes)
        appends = self._take_appends() if self.space is Space.OK and self._appends else {}
        return _Batch(writes, appends, [])

    def _take_appends(self) -> dict[object, _Pending]:
        """Return the appends of one transaction; a larger one may need more room in the log than there is."""
        taken: dict[object, _Pending] = {}
        size, room = 0, self._disk.room()
        for key, pending in self._appends.items():
            if taken and size + pending.size > GROWTH:
                break
            size += pending.size
            if self._disk.needed(size) > room:
                break
            taken[key] = pending
        for key in taken:
            del self._appends[key]
        if not taken:
            self._enter_low()
        return taken

    def _ended(self, batch: "_Batch", error: BaseException | None) -> None:
        """Finish a transaction that is durable, or that failed with ``error``."""
        self._committing = False
        self._committed = self._time.now().mono
        self._commits += 1
        again, self._again = self._again, {}
        for callback in again:
            self._time.call_soon(callback)
        if error is not None:
            self._failed(batch, error)
            return
        self._copied = False
        self._measure()
        if batch.appends:
            self._recovered()
        for pending, value in zip((*batch.writes, *batch.appends.values()), batch.values, strict=True):
            if pending.done:
                pending.done(value)
        if self._writes or (self._appends and self.space is Space.OK):
            self._schedule()

    def _failed(self, batch: "_Batch", error: BaseException) -> None:
        ours = translate(error, self._database.path) if isinstance(error, sqlite3.Error) else error
        if not isinstance(ours, StoreFull):
            with contextlib.suppress(sqlite3.Error):  # the disk that failed may fail again
                self._give_up()
            raise ours
        self._give_up()
        self._writes += batch.writes  # at the end, so that one that is too large does not keep the others out
        for key in batch.appends.keys() & self._appends.keys():
            if replaced := batch.appends[key].replaced:
                replaced()
        self._appends = {**batch.appends, **self._appends}
        self._found_no_room()

    def _give_up(self) -> None:
        self._database.rollback()
        self._volatile.reset()

    # -- a full disk -------------------------------------------------------------------------------------

    def _enter_low(self) -> None:
        """Take no appends, and start checking for room."""
        self.space = Space.LOW
        self._wait = min(2 * self._wait, LONGEST_WAIT) if self.full else CHECK_EVERY
        self._time.call_later(self._wait, self._look_for_room)
        if not self.full:
            self.full = True
            self._time.call_soon(
                lambda: self.on_full(True)
            )  # later, because the caller may be in its constructor

    def _recovered(self) -> None:
        if self.full and self.space is Space.OK:
            self.full = False
            self.on_full(False)

    def _found_no_room(self) -> None:
        """Handle a transaction for which SQLite found no room.

        Release the reserve, and write the log from its start.
        """
        if self.space is Space.OK:
            self._enter_low()
        elif self.space is Space.LOW:
            self.space = Space.EXHAUSTED
        released = self._disk.release()
        copied, self._copied = self._copied, True
        if (self._disk.copy_log() and not copied) or released:
            self._schedule()
        # Otherwise `_look_for_room` tries again.

    def _measure(self) -> None:
        """Measure the room for results; seldom while there is enough."""
        now = self._time.now().mono
        if self.space is Space.OK and now - self._measured < CHECK_EVERY:
            return
        self._measured = now
        if self.space is Space.EXHAUSTED:
            if self._disk.has_room_for_results(again=True):
                self.space = Space.LOW
        elif not self._disk.has_room_for_results():
            if self.space is Space.OK:
                self._enter_low()
            self.space = Space.EXHAUSTED

    def _look_for_room(self) -> None:
        if self._closed or self.space is Space.OK:
            return
        if self._committing:
            self._time.call_later(PACE, self._look_for_room)
            return
        self._disk.give_back()
        if self._writes:
            self._schedule()  # the commit measures
        else:
            self._measure()
        if self.space is Space.LOW and self._disk.recovers(self._next_size):
            self.space = Space.OK
            if not self._appends:
                self._recovered()
            self._schedule()
        else:
            self._time.call_later(self._wait, self._look_for_room)
