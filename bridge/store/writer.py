"""Group commit: what comes within one turn of the event loop becomes one transaction.

Two kinds of operations::

    settle   makes the store smaller or keeps its size: a result, a retry, an acknowledged report
    grow     makes it larger: a new message, an inbound one

An operation is a callable that writes through the outbox; it may be run again after a rolled-back
transaction, so it changes nothing but the store. Its ``done`` is called with its value after the commit,
which is when an acknowledgement may leave the house.

On a full disk growing operations wait in memory (the broker keeps what it is not acknowledged), the reserve
is released, and settling goes on; when there is room again the waiting ones run.
"""

import sqlite3
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from bridge.core.pulse import Pulse
from bridge.errors import StoreFull
from bridge.store.database import Database, translate
from bridge.store.reserve import DELETIONS, Reserve

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


class _Batch(NamedTuple):
    """The operations of one transaction, and what they returned."""

    settling: list[_Pending]
    growing: list[_Pending]
    values: list[Any]


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
        self._reserve = reserve
        self._call_soon = call_soon
        self._call_later = call_later
        self._on_full = on_full
        self._settling: list[_Pending] = []
        self._growing: list[_Pending] = []
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
        reserve.hold()

    def settle(self, operation: Operation, done: Done | None = None) -> None:
        """Run ``operation`` in the next transaction, full disk or not."""
        self._settling.append(_Pending(operation, done))
        self._schedule()

    def grow(self, operation: Operation, done: Done | None = None, *, size: int = 0) -> None:
        """Run ``operation``, which stores ``size`` bytes, in the next transaction that has room for it."""
        self._growing.append(_Pending(operation, done, size))
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

    def _schedule(self) -> None:
        if self._scheduled or self._committing or self.starved:
            return  # while starved the timer alone tries, so that failures do not pile up
        self._scheduled = True
        since = time.monotonic() - self._committed
        if since >= PACE:
            self._call_soon(self._commit)
        else:
            self._call_later(PACE - since, self._commit)

    def _commit(self) -> None:
        """Run everything that waits in one transaction; then tell who asked."""
        self._scheduled = False
        batch = _Batch(self._settling, [] if self.full else self._take_growing(), [])
        self._settling = []
        if self._closed or (not batch.settling and not batch.growing):
            return
        self._committing = True
        try:
            self._database.begin()
            batch.values.extend(pending.operation() for pending in batch.settling + batch.growing)
            self._volatile.flush()
            if batch.growing and not self._reserve.covers(self._database.growth()):
                raise StoreFull("no room to copy the log into the file")
        except (sqlite3.Error, StoreFull) as exc:
            self._ended(batch, exc)
        except BaseException:
            self._committing = False
            self._give_up()
            raise
        else:
            self._aside(self._database.commit, lambda error: self._ended(batch, error))

    def _take_growing(self) -> list[_Pending]:
        """Return what one transaction takes: a larger one may need more room in the log than is left."""
        taken, size = 0, 0
        for pending in self._growing:
            if taken and size + pending.size > GROWTH:
                break
            taken, size = taken + 1, size + pending.size
        growing, self._growing = self._growing[:taken], self._growing[taken:]
        return growing

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
        self.starved = False
        for pending, value in zip(batch.settling + batch.growing, batch.values, strict=True):
            if pending.done:
                pending.done(value)
        if self._settling or (self._growing and not self.full):
            self._schedule()

    def _failed(self, batch: "_Batch", error: BaseException) -> None:
        self._give_up()
        if isinstance(error, sqlite3.Error):
            ours = translate(error)
            if not isinstance(ours, StoreFull):
                raise ours from error
        elif not isinstance(error, StoreFull):
            raise error
        self._settling = batch.settling + self._settling
        self._growing = batch.growing + self._growing
        self._ran_full()

    def _give_up(self) -> None:
        self._database.rollback()
        self._volatile.reset()

    def _ran_full(self) -> None:
        """Release the reserve and go on with what settles; from then on look for room.

        What is released is used at once, before others on the disk take it: the log is copied, so that it
        can be written from its start again and again, and gets room for that.
        """
        if self.full:
            if self._recycle():
                self._schedule()
                return
            # The reserve is spent as well: nothing can be recorded until somebody makes room.
            self.starved = True
            if not self._retrying:
                self._retrying = True
                self._call_later(CHECK_EVERY, self._retry_settling)
            return
        self.full = True
        self._reserve.release()
        self._recycle()
        self._database.extend_log(DELETIONS)
        self._on_full(True)
        self._schedule()
        self._call_later(CHECK_EVERY, self._look_for_room)

    def _recycle(self) -> bool:
        """Copy the log, for a transaction to write where it was; return whether that is worth a try.

        It is not if nothing has been committed since the last time.
        """
        if self._recycled == self._stored:
            return False
        self._recycled = self._stored
        return self._copied(self._database.copy_log)

    @staticmethod
    def _copied(copy: Callable[[], None]) -> bool:
        """Whether there was room for it."""
        try:
            copy()
        except sqlite3.Error as exc:
            if not isinstance(translate(exc), StoreFull):
                raise translate(exc) from exc
            return False
        return True

    def _retry_settling(self) -> None:
        self._retrying = False
        if self._settling and not self._committing and not self._scheduled:
            self._scheduled = True
            self._call_soon(self._commit)

    def _look_for_room(self) -> None:
        if self._closed:
            return
        if self._committing:
            self._call_later(PACE, self._look_for_room)
            return
        self._copied(self._database.give_back)
        if self._reserve.hold(self._growing[0].size if self._growing else 0):
            self.full = self.starved = False
            self._on_full(False)
            self._schedule()
        else:
            self._call_later(CHECK_EVERY, self._look_for_room)
