"""Group commit: what comes within one turn of the event loop becomes one transaction.

Two kinds of operations::

    settle   makes the store smaller or keeps its size: a result, a retry, an acknowledged report
    grow     makes it larger: a new message, an inbound one

An operation is a callable that writes through the outbox; it may be run again after a rolled-back
transaction, so it changes nothing but the store. Its ``done`` is called with its value after the commit,
which is when an acknowledgement may leave the house.

On a full disk growing operations wait in memory (the broker keeps what it is not acknowledged), the reserve
is released, and settling goes on as far as `bridge.store.room` finds room for it, what makes room first; when
there is room again the waiting ones run. A start that cannot hold the reserve begins like that.
"""

import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from bridge.core.pulse import Pulse
from bridge.errors import StoreFull
from bridge.store.database import Database, translate
from bridge.store.reserve import Reserve
from bridge.store.room import Room

Operation = Callable[[], Any]
Done = Callable[[Any], None]

PACE = 0.002
"""Seconds between transactions under load: a lone message is committed at once, a stream shares more of
each sync. Far below what an exchange takes."""

GROWTH = 1_000_000
"""Payload bytes that one transaction stores, if there is more than one message in it."""

CROWD = 256
"""Waiting operations at which whoever brings them should pause. Mosquitto lets far more messages under way
than Receive Maximum allows, and memory is what the box has least of."""

PORTION = 256
"""Settling operations that one transaction takes on a full disk; where they find no room, fewer."""

CHECK_EVERY = 2.0
"""Seconds between looks for room while the disk is full."""


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
    except sqlite3.Error as exc:
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

    settling: list[_Pending]
    growing: dict[object, _Pending]
    values: list[Any]

    @property
    def frees(self) -> bool:
        """Whether it is there to make room on a full disk."""
        return all(pending.frees for pending in self.settling)


class Writer:
    """Owns the transaction; lives in the event loop's thread."""

    def __init__(
        self,
        database: Database,
        volatile: Volatile,
        reserve: Reserve,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
        on_full: Callable[[bool], None],
        aside: Aside | None = None,
    ) -> None:
        """``on_full`` is told when room has run out (True) and when it is back (False).

        ``aside`` runs the commit beside the event loop, which waits for the disk otherwise: 10 to 50 ms for
        each sync of an SD card.
        """
        self._aside = aside or _at_once
        self._database = database
        self._volatile = volatile
        self._room = Room(database, reserve)
        self._call_soon = call_soon
        self._call_later = call_later
        self._on_full = on_full
        self._settling: list[_Pending] = []
        self._growing: dict[object, _Pending] = {}
        self._portion = PORTION
        self._scheduled = False
        self._committing = False
        self._again: dict[Callable[[], None], None] = {}
        self._retrying = False
        self._closed = False
        self._committed = 0.0
        self._commits = 0
        """Transactions that ended, well or not."""
        self._stored = 0
        """Those that ended well."""
        self._recycled = -1
        """How many had, when the log was copied to be written from its start."""
        self.full = False
        self.starved = False
        """Not even settling has room: nothing more may be sent, since its end could not be recorded."""
        self.tight = False
        """Little is left for results on a full disk: nothing should be sent before reports have gone out."""
        if not self._room.hold():
            self._run_on_spare()

    def settle(self, operation: Operation, done: Done | None = None, *, frees: bool = False) -> None:
        """Run ``operation`` in the next transaction, full disk or not.

        One that only ``frees`` runs before others on a full disk, in a transaction without them.
        """
        self._settling.append(_Pending(operation, done, frees=frees))
        self._schedule(anew=frees)

    def grow(
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
        known = self._growing.get(key) if key is not None else None
        if key is None or (known and not again):
            key = object()
        elif known and known.replaced:
            known.replaced()
        self._growing[key] = _Pending(operation, done, size, replaced=replaced)
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
        if self.full or len(self._growing) < CROWD:
            return False
        self._again[again] = None
        return True

    def close(self) -> None:
        """Write nothing more: the database is about to be closed."""
        self._closed = True

    @property
    def waiting(self) -> int:
        """How many operations are not durable yet."""
        return len(self._settling) + len(self._growing)

    @property
    def idle(self) -> bool:
        """Whether everything is durable that there is room for."""
        return not self._settling and not self._committing and (self.full or not self._growing)

    @property
    def committing(self) -> bool:
        """Whether a commit is under way: a read would wait for its end, and so would the loop."""
        return self._committing

    def pulses(self) -> tuple[Pulse, ...]:
        """Return how far the commits have come, for the watchdog."""
        return (Pulse("writer", self._commits, owes=not self.idle and not self._closed),)

    def _schedule(self, *, anew: bool = False) -> None:
        if self._scheduled or self._committing or (self.starved and not anew):
            return  # while starved only what makes room and the timer try, so that failures do not pile up
        self._scheduled = True
        since = time.monotonic() - self._committed
        if since >= PACE:
            self._call_soon(self._commit)
        else:
            self._call_later(PACE - since, self._commit)

    def _commit(self) -> None:
        """Run everything that waits in one transaction; then tell who asked."""
        self._scheduled = False
        batch = self._take()
        if self._closed or (not batch.settling and not batch.growing):
            return
        self._committing = True
        try:
            self._database.begin()
            if self.full:
                self._room.begin()
            batch.values.extend(pending.operation() for pending in (*batch.settling, *batch.growing.values()))
            self._volatile.flush()
            if not (self._room.fits_full(frees=batch.frees) if self.full else self._room.fits()):
                raise StoreFull("no room to copy the log into the file")
        except (sqlite3.Error, StoreFull) as exc:
            self._ended(batch, exc)
        except BaseException:
            self._committing = False
            self._give_up()
            raise
        else:
            self._aside(self._database.commit, lambda error: self._ended(batch, error))

    def _take(self) -> _Batch:
        """Return what the next transaction takes: on a full disk what makes room, and else a portion."""
        if not self.full:
            settling, self._settling = self._settling, []
            return _Batch(settling, self._take_growing(), [])
        freeing = [pending for pending in self._settling if pending.frees]
        others = [pending for pending in self._settling if not pending.frees]
        first, rest = (freeing, others) if freeing else (others, [])
        self._settling = first[self._portion :] + rest
        return _Batch(first[: self._portion], {}, [])

    def _take_growing(self) -> dict[object, _Pending]:
        """Return what one transaction takes: a larger one may need more room in the log than is left."""
        taken: dict[object, _Pending] = {}
        size = 0
        for key, pending in self._growing.items():
            if taken and size + pending.size > GROWTH:
                break
            taken[key] = pending
            size += pending.size
        for key in taken:
            del self._growing[key]
        return taken

    def _ended(self, batch: "_Batch", error: BaseException | None) -> None:
        """The transaction is durable, or it failed."""
        self._committing = False
        self._committed = time.monotonic()
        self._commits += 1
        again, self._again = self._again, {}
        for callback in again:
            self._call_soon(callback)
        if error is not None:
            self._failed(batch, error)
            return
        self._stored += 1
        self._portion = min(2 * self._portion, PORTION)
        self.starved = self.starved and batch.frees and bool(self._settling)
        self.tight = self.full and self._room.tight
        for pending, value in zip((*batch.settling, *batch.growing.values()), batch.values, strict=True):
            if pending.done:
                pending.done(value)
        if self._settling or (self._growing and not self.full):
            self._schedule(anew=True)

    def _failed(self, batch: "_Batch", error: BaseException) -> None:
        self._give_up()
        if isinstance(error, sqlite3.Error):
            ours = translate(error)
            if not isinstance(ours, StoreFull):
                raise ours from error
        elif not isinstance(error, StoreFull):
            raise error
        self._settling = batch.settling + self._settling
        for key in batch.growing.keys() & self._growing.keys():
            if replaced := batch.growing[key].replaced:
                replaced()
        self._growing = {**batch.growing, **self._growing}
        if self.full:
            self._found_no_room(len(batch.settling))
        else:
            self._run_on_spare()
            self._schedule()

    def _give_up(self) -> None:
        self._database.rollback()
        self._volatile.reset()

    def _run_on_spare(self) -> None:
        """Release the reserve and go on with what settles; from then on look for room."""
        self.full = True
        self._room.spend()
        self.tight = self._room.tight
        self._call_soon(partial(self._on_full, True))
        self._call_later(CHECK_EVERY, self._look_for_room)

    def _found_no_room(self, number: int) -> None:
        """Try fewer than ``number`` operations, or with the log from its start; else they wait."""
        if number > 1:
            self._portion = number // 2
            self._schedule(anew=True)
        elif self._recycle():
            self._schedule(anew=True)
        else:
            # The reserve is spent as well: nothing can be recorded until reports go out, or there is room.
            self.starved = True
            if not self._retrying:
                self._retrying = True
                self._call_later(CHECK_EVERY, self._retry_settling)

    def _recycle(self) -> bool:
        """Copy the log, for a transaction to write where it was; return whether that is worth a try.

        It is not if nothing has been committed since the last time.
        """
        if self._recycled == self._stored:
            return False
        self._recycled = self._stored
        return self._room.copy_log()

    def _retry_settling(self) -> None:
        self._retrying = False
        if self._settling:
            self._schedule(anew=True)

    def _look_for_room(self) -> None:
        if self._closed:
            return
        if self._committing:
            self._call_later(PACE, self._look_for_room)
            return
        self._room.give_back()
        first = next(iter(self._growing.values()), None)
        if self._room.hold(first.size if first else 0):
            self.full = self.starved = self.tight = False
            self._on_full(False)
            self._schedule()
        else:
            self.tight = self._room.tight
            self._call_later(CHECK_EVERY, self._look_for_room)
