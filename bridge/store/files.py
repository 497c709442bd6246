"""Opening the store's file: check it, and repair it if it is damaged."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from bridge.core.messages import Now
from bridge.errors import BridgeError, StoreDamaged, StoreFull
from bridge.store import disk
from bridge.store.database import Database, translate
from bridge.store.outbox import Limits, Outbox
from bridge.store.repair import repair, resume
from bridge.store.reserve import Reserve
from bridge.store.salvage import find_garbled

log = logging.getLogger("store")

CHECKED_SIZE = 32 * 1024 * 1024
"""Bytes up to which a file is checked at every start. A larger file is checked only after an error."""


def open_outbox(
    path: Path, reserve: Reserve, boot: str, clock: Callable[[], Now], limits: Limits
) -> tuple[Database, Outbox]:
    """Open the outbox at ``path``; on a full disk the room of ``reserve`` is released for it.

    Raises `StoreError`, and `StoreFull` if the reserve is too little.
    """
    try:
        return _open(path, boot, clock, limits)
    except StoreFull:
        log.error("the disk is full; the outbox is opened with the room of its reserve")
        reserve.release()
    try:
        return _open(path, boot, clock, limits)
    except StoreFull as exc:
        reserve.take()
        raise StoreFull(f"{exc}; make room on the disk of {path}") from exc


def _open(path: Path, boot: str, clock: Callable[[], Now], limits: Limits) -> tuple[Database, Outbox]:
    database = open_store(path)
    try:
        return database, Outbox(database, boot, clock, limits)
    except BaseException as exc:
        # Closing copies the log of the earlier run, so that the next attempt writes it from its start.
        database.close()
        if isinstance(exc, sqlite3.Error):
            raise translate(exc, path) from exc
        raise


def open_store(path: Path) -> Database:
    """Open the database at ``path`` and repair it if needed; raises `StoreError` if that is impossible."""
    path = disk.find_file(path)
    try:
        begun = resume(path)
        database = _open_sound(path, check=begun or _is_to_be_read(path), rows=os.path.lexists(_marker(path)))
        _marker(path).unlink(missing_ok=True)
    except OSError as exc:
        raise disk.failed(path, exc) from exc
    except sqlite3.Error as exc:
        raise translate(exc, path) from exc
    return database


def _open_sound(path: Path, *, check: bool, rows: bool) -> Database:
    """Open the database; repair it if its pages are damaged, or with ``rows`` if a row is."""
    try:
        if _has_lost_its_file(path):
            raise StoreDamaged(f"the outbox is damaged: {path} is empty, and its log is not")
        database = Database(path, check=check)
        if not rows:
            return database
        database.close()
        if garbled := find_garbled(path):
            raise StoreDamaged(f"the outbox is damaged: {garbled}")
    except StoreDamaged as exc:
        log.error("%s", exc)
        repair(path)
    return Database(path)


def _is_to_be_read(path: Path) -> bool:
    return os.path.lexists(_marker(path)) or (path.exists() and path.stat().st_size <= CHECKED_SIZE)


def _has_lost_its_file(path: Path) -> bool:
    """Whether there is a log without its file. SQLite would delete the log."""
    sizes = [each.stat().st_size if each.exists() else 0 for each in (path, Path(f"{path}-wal"))]
    return sizes[0] == 0 and sizes[1] > 0


def note_failure(path: Path, error: BaseException) -> None:
    """Make the next start read the whole file, unless ``error`` has another cause than its content.

    A row may be garbled in a page that is intact. Reading it fails with any kind of error, and would fail at
    each start.
    """
    if isinstance(error, StoreDamaged) or not isinstance(error, BridgeError | OSError):
        mark_suspect(path)


def mark_suspect(path: Path) -> None:
    """Make the next start read the whole file, because a part of it was unreadable.

    If the disk does not take the marker, the next start goes without the check.
    """
    with contextlib.suppress(OSError):
        os.close(disk.create(_marker(path)))


def _marker(path: Path) -> Path:
    return path.with_name(path.name + ".suspect")
