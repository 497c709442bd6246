"""Commands from afar: the largest counter that was accepted, and the commands without an answer yet.

The counter is in the store, and in a small file beside it; the larger counts. So a store that is restored or
lost alone brings no used line back to life.
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import NamedTuple

from bridge.store import disk
from bridge.store.journal import Journal
from bridge.store.writer import CommitWorker

log = logging.getLogger("remote")

_COUNTER = "remote_counter"
_PENDING = "remote:"
"""Prefix of the keys in `meta` of commands without an answer."""

_LONGEST = 32
"""Bytes of the counter's file at most."""

MAX_COUNTER = 2**53 - 1
"""The largest counter; one that a damaged file holds must not be larger."""


def _at_once(call: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
    try:
        call()
    except OSError as exc:
        done(exc)
    else:
        done(None)


class Pending(NamedTuple):
    """An accepted command that has no answer yet."""

    counter: int
    name: str
    """The command, with the key that it is about and without its value."""
    door: str
    """``tcp`` or ``sms``."""
    peer: str
    """The address or number that it came from."""
    after: str | None = None
    """The answer that the next start gives; None: the command was interrupted."""


class RemoteStore:
    """The state of commands from afar; lives in the event loop's thread."""

    def __init__(self, journal: Journal, worker: CommitWorker | None = None) -> None:
        """``worker`` writes the counter's file outside the event loop. Without it the loop waits."""
        self._database, self._outbox = journal.database, journal.outbox
        self._file = journal.path.with_name(journal.path.name + ".counter")
        self._worker = worker or _at_once
        self._beside, self._writing = 0, Lock()
        """The counter in the file, and the lock that its writers hold; threads of the worker's."""
        stored = journal.outbox.meta(_COUNTER)
        self.last = max(stored if isinstance(stored, int) else 0, self._read())
        """The largest counter that was accepted."""

    def claim(self, counter: int) -> None:
        """Accept no other command with ``counter`` from now on."""
        self.last = counter

    def accept(self, counter: int, pending: Pending | None) -> None:
        """Keep the counter, and the command if it is carried out; runs inside the transaction."""
        self._outbox.set_meta(_COUNTER, counter)
        if pending is not None:
            self.keep(pending)

    def keep(self, pending: Pending) -> None:
        """Keep a command until `drop`; runs inside the transaction."""
        self._outbox.set_meta(f"{_PENDING}{pending.counter}", json.dumps(pending[1:]))

    def drop(self, counter: int) -> None:
        """Forget a command; runs inside the transaction."""
        self._database.execute("meta_drop", (f"{_PENDING}{counter}",))

    def left(self) -> list[Pending]:
        """Return the commands that an earlier run has left, oldest first."""
        rows = self._database.execute("meta_get_like", (f"{_PENDING}*",)).fetchall()
        return sorted(found for key, text in rows if (found := _pending(key, text)) is not None)

    def keep_beside(self, counter: int, done: Callable[[], None]) -> None:
        """Write the counter into the file beside the store, then call ``done``.

        An error is logged and changes nothing else: the store has the counter.
        """

        def written(error: BaseException | None) -> None:
            if error is not None:
                log.warning("%s cannot be written: %s; the store alone has the counter", self._file, error)
            done()

        self._worker(partial(self._write, counter), written)

    def _write(self, counter: int) -> None:
        """Replace the file, unless it has a larger counter; runs in the worker's thread."""
        with self._writing:
            if counter > self._beside:
                self._replace(counter)
                self._beside = counter

    def _replace(self, counter: int) -> None:
        new = self._file.with_name(self._file.name + ".new")
        try:
            handle = disk.create(new, 0o600)
            try:
                os.write(handle, b"%d\n" % counter)
                os.fsync(handle)
            finally:
                os.close(handle)
            new.replace(self._file)
            disk.sync_folder(self._file.parent)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise

    def _read(self) -> int:
        """Return the counter in the file; 0 without one."""
        try:
            handle = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return _counter(os.read(handle, _LONGEST))
            finally:
                os.close(handle)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as exc:
            log.warning("%s cannot be read: %s; the store alone has the counter", self._file, exc)
            return 0


def _pending(key: str, text: str) -> Pending | None:
    """Return the command of a row; None for one that damage has left unreadable."""
    try:
        name, door, peer, after = json.loads(text)
        return Pending(int(key.removeprefix(_PENDING)), str(name), str(door), str(peer), after and str(after))
    except (ValueError, TypeError, RecursionError):
        log.warning("the store's note %r is damaged and left out", key)
        return None


def _counter(content: bytes) -> int:
    """Return the counter that a file holds; raises ValueError for what is none."""
    counter = int(content)
    if not 0 < counter <= MAX_COUNTER:
        raise ValueError("no counter")
    return counter
