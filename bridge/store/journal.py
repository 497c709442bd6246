"""The journal: one store, opened and closed as a whole, by the daemon, the offline command and the SDK alike.

Opening takes the lock, repairs what is damaged, starts on a full disk with the room that was held back for
it, and holds that room again as soon as there is some. Closing leaves it held for the next start.
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
from bridge.store.writer import Aside, Writer


class Journal:
    """The outbox, its writer and the time that both go by; lives in the event loop's thread."""

    def __init__(
        self, lock: Lock, reserve: Reserve, database: Database, outbox: Outbox, writer: Writer, time: Time
    ) -> None:
        """Hold what is open already; `open` is what opens it."""
        self.path = database.path
        self.database = database
        self.outbox = outbox
        self.writer = writer
        self.time = time
        self._lock = lock
        self._reserve = reserve

    @classmethod
    def open(cls, path: Path, limits: Limits, time: Time, *, aside: Aside | None = None) -> Self:
        """Open the store at ``path``, and keep others from it; ``aside`` is where commits run.

        Raises `StoreInUse` where another process has it, `StoreFull` where even the room that was held back
        is too little, and `StoreError` where it cannot be used or repaired.
        """
        with ExitStack() as undo:
            lock = Lock(path)
            undo.callback(lock.release)
            reserve = Reserve(path)
            database, outbox = open_outbox(path, reserve, boot_id(), time.now, limits)
            undo.callback(database.close)
            try:
                writer = Writer(database, outbox, reserve, time, aside=aside)
            except sqlite3.Error as exc:
                raise translate(exc, path) from exc
            undo.pop_all()
        return cls(lock, reserve, database, outbox, writer, time)

    def room(self) -> str:
        """Say how much room messages need, and what there is."""
        free, where = self._reserve.free(), disk_of(self.path)
        return f"{self.writer.needed} bytes have to be free on {where}, and {free} are"

    def failure(self, error: BaseException) -> BaseException:
        """Return ``error`` by our name; what a row may have caused has the next start read them all."""
        if isinstance(error, sqlite3.Error):
            error = translate(error, self.path)
        note_failure(self.path, error)
        return error

    def close(self, *, reserve: bool = True) -> None:
        """Close the store, and let others have it; ``reserve``: leave room for the next start.

        That is taken after the database gave back its log, and not where the disk has failed.
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
