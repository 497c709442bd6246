"""Group commit: what comes within one turn of the event loop becomes one transaction.

Two kinds of operations::

    settle   makes the store smaller or keeps its size: a result, a retry, an acknowledged report
    grow     makes it larger: a new message, an inbound one

An operation is a callable that writes through the outbox; it may be run again after a rolled-back
transaction, so it changes nothing but the store. Its ``done`` is called with its value after the commit,
which is when an acknowledgement may leave the house.

What there is room for is `Space`, judged in `bridge.store.space`. Growing operations wait in memory while
it is not OK; the broker keeps what it has no acknowledgement for. While it is EXHAUSTED each operation
has a transaction of its own, and those that free pages go first.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from bridge.core.progress import Progress
from bridge.core.time import Time
from bridge.errors import StoreError, StoreFull
from bridge.store.database import Database, translate
from bridge.store.reserve import Reserve
from bridge.store.space import Disk, Space

Operation = Callable[[], Any]
Done = Callable[[Any], None]

PACE = 0.002
"""Seconds between transactions under load: a lone message is committed at once, a stream shares more of
each sync. Far below what an exchange takes."""

GROWTH = 1_000_000
"""Payload bytes that one transaction stores, if there is more than one message in it."""

CROWD = 256
"""Waiting operations at which whoever brings them should pause. Mosquitto lets far more messages in flight
than Receive Maximum allows, and memory is what the box has least of."""

CHECK_EVERY = 2.0
"""Seconds between looks for room while the disk is full, and at what results have used while it is not."""

LONGEST_WAIT = 60.0
"""Seconds between looks at a disk that has room and still refuses, as under a quota; they double up to it."""


class Volatile(Protocol):
    """What the outbox keeps in memory beside the transaction."""

    def flush(self) -> None:
        """Write what was added up during the transaction."""

    def reset(self) -> None:
        """Forget it: the transaction was rolled back."""


Aside = Callable[[Callable[[], None], Callable[[BaseException | None], None]], None]
"""Runs the first call, in another thread perhaps, and then the second, in the loop, with its exception."""


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
    """The operations of one transaction, and what they returned."""

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
        aside: Aside | None = None,
    ) -> None:
        """``aside`` runs the commit beside the event loop, which waits for the disk otherwise.

        That is 10 to 50 ms for each sync of an SD card.
        """
        self.on_full: Callable[[bool], None] = lambda _: None
        """Is told when room has run out (True) and when it is back (False)."""
        self._aside = aside or _at_once
        self._database = database
        self._volatile = volatile
        self._disk = Disk(database, reserve)
        self._time = time
        self._writes: list[_Pending] = []
        self._appends: dict[object, _Pending] = {}
        self._scheduled = False
        self._committing = False
        self._again: dict[Callable[[], None], None] = {}
        self._closed = False
        self._committed = self._measured = 0.0
        self._commits = 0
        """Transactions that ended, well or not."""
        self._copied = True
        """Nothing has been committed since the log was copied for a transaction that found no room."""
        self.space = Space.OK
        self._wait = CHECK_EVERY
        self.full = False
        """Nothing new is taken; after room was found until the first that waits is stored."""
        if not self._disk.hold():
            self._enter_low()

    def write(self, operation: Operation, done: Done | None = None, *, frees: bool = False) -> None:
        """Run ``operation`` in the next transaction, full disk or not.

        One that only ``frees`` pages runs before the others while the disk is exhausted.
        """
        self._writes.append(_Pending(operation, done, frees=frees))
        self._schedule()

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

        One that comes ``again`` takes the place of the one with its ``key`` that still waits; of that one
        ``replaced`` is called instead of ``done``. The broker sends what it has no acknowledgement for at
        each connection, and on a full disk all of that would wait in memory each time.
        """
        known = self._appends.get(key) if key is not None else None
        if key is None or (known and not again):
            key = object()
        elif known and known.replaced:
            known.replaced()
        self._appends[key] = _Pending(operation, done, size, replaced=replaced)
        if not self.full:
            self._schedule()

    def busy(self, again: Callable[[], None]) -> bool:
        """Whether a commit is under way; ``again`` is then called after it.

        What the transaction holds shows in reads before it is durable, and is gone if it fails: whoever acts
        on what he reads waits for its end.
        """
        if self._committing:
            self._again[again] = None
        return self._committing

    def crowded(self, again: Callable[[], None]) -> bool:
        """Whether more comes in than the disk takes; ``again`` is then called after the next commit.

        Not on a full disk: that may last for days, and the broker stops by itself without acknowledgements.
        """
        if self.full or len(self._appends) < CROWD:
            return False
        self._again[again] = None
        return True

    def close(self) -> None:
        """Write nothing more: the database is about to be closed."""
        self._closed = True

    @property
    def waiting(self) -> int:
        """How many operations are not durable yet."""
        return len(self._writes) + len(self._appends)

    @property
    def idle(self) -> bool:
        """Whether everything is durable that there is room for."""
        return not self._writes and not self._committing and (self.full or not self._appends)

    @property
    def committing(self) -> bool:
        """Whether a commit is under way: a read would wait for its end, and so would the loop."""
        return self._committing

    @property
    def needed(self) -> int:
        """The bytes that have to be free on a full disk for the next message to be taken."""
        return self._disk.needed_again(self._next_size)

    @property
    def _next_size(self) -> int:
        return next((pending.size for pending in self._appends.values()), 0)

    def progress(self) -> tuple[Progress, ...]:
        """Return how far the commits have come, for the watchdog."""
        return (Progress("writer", self._commits, busy=not self.idle and not self._closed),)

    def _schedule(self) -> None:
        if self._scheduled or self._committing:
            return
        self._scheduled = True
        since = self._time.now().mono - self._committed
        if since >= PACE:
            self._time.call_soon(self._commit)
        else:
            self._time.call_later(PACE - since, self._commit)

    def _commit(self) -> None:
        """Run everything that waits in one transaction; then tell who asked."""
        self._scheduled = False
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
            self._aside(self._database.commit, lambda error: self._ended(batch, error))

    def _take(self) -> _Batch:
        """Return what the next transaction takes."""
        if self.space is Space.EXHAUSTED and self._writes:
            one = next((each for each in self._writes if each.frees), self._writes[0])
            self._writes.remove(one)
            return _Batch([one], {}, [])
        writes, self._writes = self._writes, []
        appends = self._take_appends() if self.space is Space.OK and self._appends else {}
        return _Batch(writes, appends, [])

    def _take_appends(self) -> dict[object, _Pending]:
        """Return what one transaction takes: a larger one may need more room in the log than is left."""
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
        """The transaction is durable, or it failed."""
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
            with contextlib.suppress(sqlite3.Error):  # what failed may fail again
                self._give_up()
            raise ours
        self._give_up()
        self._writes += batch.writes  # at the end: one that is too large must not keep the others out
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
        """Take nothing more; from then on look for room."""
        self.space = Space.LOW
        self._wait = min(2 * self._wait, LONGEST_WAIT) if self.full else CHECK_EVERY
        self._time.call_later(self._wait, self._look_for_room)
        if not self.full:
            self.full = True
            self._time.call_soon(lambda: self.on_full(True))  # whoever is told may not have said so yet

    def _recovered(self) -> None:
        if self.full and self.space is Space.OK:
            self.full = False
            self.on_full(False)

    def _found_no_room(self) -> None:
        """SQLite found the disk full: release the reserve, write the log from its start, or wait for room."""
        if self.space is Space.OK:
            self._enter_low()
        elif self.space is Space.LOW:
            self.space = Space.EXHAUSTED
        released = self._disk.release()
        copied, self._copied = self._copied, True
        if (self._disk.copy_log() and not copied) or released:
            self._schedule()
        # Else `_look_for_room` tries again.

    def _measure(self) -> None:
        """See whether what is sent next finds room for its result; now and then while there is enough."""
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
