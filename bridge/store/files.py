"""Opening the store: lock, check, and repair where a damaged file was found."""

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from bridge.core.messages import Now
from bridge.errors import StoreDamaged, StoreFull
from bridge.store.database import Database, translate
from bridge.store.outbox import Limits, Outbox
from bridge.store.reserve import Reserve
from bridge.store.salvage import salvage

log = logging.getLogger("store")

CHECKED_SIZE = 32 * 1024 * 1024
"""Bytes up to which a file is read through at every start; a larger one only when it gave cause."""


def open_outbox(
    path: Path, reserve: Reserve, boot: str, clock: Callable[[], Now], limits: Limits
) -> tuple[Database, Outbox]:
    """Open the outbox at ``path``; on a full disk with what ``reserve`` gives back.

    Raises `StoreError`, and `StoreFull` where even that is too little.
    """
    try:
        return _open(path, boot, clock, limits)
    except StoreFull:
        log.error("the disk is full: the outbox is opened with the room that was held back for it")
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
        # This copies the log of an earlier run, so that the next try writes it from its start.
        database.close()
        if isinstance(exc, sqlite3.Error):
            raise translate(exc) from exc
        raise


def open_store(path: Path) -> Database:
    """Open the database at ``path``, repaired if need be; raises `StoreError` where that is impossible."""
    suspect = _marker(path)
    check = suspect.exists() or (path.exists() and path.stat().st_size <= CHECKED_SIZE)
    try:
        database = Database(path, check=check)
    except StoreDamaged as exc:
        log.error("%s", exc)
        database = _repair(path)
    suspect.unlink(missing_ok=True)
    return database


def mark_suspect(path: Path) -> None:
    """Have the next start read the whole file, because something in it could not be read."""
    _marker(path).touch()


def _marker(path: Path) -> Path:
    return path.with_name(path.name + ".suspect")


def _repair(path: Path) -> Database:
    """Keep the damaged file, and move what can be read of it into a new one."""
    damaged = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(damaged.with_name(damaged.name + suffix))
    database = Database(path)
    kept = salvage(damaged, database)
    log.error(
        "THE OUTBOX WAS DAMAGED: %d messages and %d reports were recovered; the damaged file is kept as %s",
        kept.get("message", 0),
        kept.get("report", 0),
        damaged,
    )
    return database
