"""The journal: one store, opened and closed as a whole by the daemon, the offline command and the SDK.

Opening takes the lock, repairs a damaged file, starts on a full disk with the room of the reserve, and takes
the reserve again as soon as there is room. Closing leaves the reserve for the next start.
"""

import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from bridge.core.time import Time
from bridge.store.database import Database, Lock, boot_id, translate
from bridge.store.disk import disk_of
from bridge.store.files import note_failure, open_outbox
from bridge.store.outbox import Limits, Outbox
from bridge.store.reserve import Reserve
from bridge.store.writer import CommitWorker, Writer


class Journal:
    """The outbox, its writer and their time; lives in the event loop's thread."""

    def __init__(
        self, lock: Lock, reserve: Reserve, database: Database, outbox: Outbox, writer: Writer, time: Time
    ) -> None:
        """Take parts that are open already; `open` opens them."""
        self.path = database.path
        self.database = database
        self.outbox = outbox
        self.writer = writer
        self.time = time
        self._lock = lock
        self._reserve = reserve

    @classmethod
    def open(cls, path: Path, limits: Limits, time: Time, *, worker: CommitWorker | None = None) -> Self:
        """Open and lock the store at ``path``; ``worker`` runs the commits.

        Raises `StoreInUse` if another process has it, `StoreFull` if the reserve is too little for the start,
        and `StoreError` if it cannot be used or repaired.
        """
        with ExitStack() as undo:
            lock = Lock(path)
            undo.callback(lock.release)
            reserve = Reserve(path)
            database, outbox = open_outbox(path, reserve, boot_id(), time.now, limits)
            undo.callback(database.close)
            try:
                writer = Writer(database, outbox, reserve, time, worker=worker)
            except sqlite3.Error as exc:
                raise translate(exc, path) from exc
            undo.pop_all()
        return cls(lock, reserve, database, outbox, writer, time)

    def room(self) -> str:
        """Return a text about the room that messages need, and the room that is free."""
        free, where = self._reserve.free(), disk_of(self.path)
        return f"{self.writer.needed} bytes have to be free on {where}, and {free} are"

    def failure(self, error: BaseException) -> BaseException:
        """Return ``error`` as one of ours; if a row may have caused it, the next start checks all of them."""
        if isinstance(error, sqlite3.Error):
            error = translate(error, self.path)
        note_failure(self.path, error)
        return error

    def close(self, *, reserve: bool = True) -> None:
        """Close and unlock the store; ``reserve`` takes the reserve for the next start.

        The reserve is taken after the database has returned its log, and not after a disk failure.
        """
        self.writer.close()
        try:
            self.database.close()
            if reserve:
                self._reserve.take()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
