"""Opening the store: lock, check, and repair where a damaged file was found."""

import logging
import sqlite3
import subprocess
import time
from pathlib import Path

from bridge.errors import StoreDamaged
from bridge.store.database import Database

log = logging.getLogger("store")

CHECKED_SIZE = 32 * 1024 * 1024
"""Bytes up to which a file is read through at every start; a larger one only when it gave cause."""

RECOVER_WAIT = 600
"""Seconds that sqlite3's recovery may take."""

TABLES = ("meta", "boot", "lane", "message", "report", "chosen", "receipt", "usage")
"""What is worth recovering; `depth` is counted anew."""


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
    recovered = path.with_name(path.name + ".recovered")
    recovered.unlink(missing_ok=True)
    _recover(damaged, recovered)
    database = Database(path)
    kept = _copy(database, recovered)
    recovered.unlink(missing_ok=True)
    log.error(
        "THE OUTBOX WAS DAMAGED: %d messages and %d reports were recovered; the damaged file is kept as %s",
        kept.get("message", 0),
        kept.get("report", 0),
        damaged,
    )
    return database


def _recover(damaged: Path, recovered: Path) -> None:
    """Let the sqlite3 tool read what can be read [SQLite documentation, "Recovering data"].

    Without the tool the damaged file itself is read as far as it goes.
    """
    try:
        with recovered.with_name(recovered.name + ".sql").open("wb+") as script:
            subprocess.run(  # noqa: S603  # a fixed program, a path of ours
                ["sqlite3", damaged, ".recover"],  # noqa: S607  # found on the path: Debian's package
                stdout=script, stderr=subprocess.DEVNULL, timeout=RECOVER_WAIT, check=False,
            )  # fmt: skip
            script.seek(0)
            subprocess.run(  # noqa: S603  # as above
                ["sqlite3", recovered],  # noqa: S607
                stdin=script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=RECOVER_WAIT,
                check=False,
            )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as exc:
        log.error("the sqlite3 tool could not be used (%s); apt-get install sqlite3", exc)
        recovered.write_bytes(damaged.read_bytes())
    finally:
        recovered.with_name(recovered.name + ".sql").unlink(missing_ok=True)


def _copy(database: Database, recovered: Path) -> dict[str, int]:
    """Copy each table's readable rows; then make lanes and sums agree with the messages."""
    kept: dict[str, int] = {}
    try:
        source = sqlite3.connect(recovered)
    except sqlite3.Error:
        return kept
    database.begin()
    for table in TABLES:
        kept[table] = _copy_table(database, source, table)
    database.rebuild()
    database.commit()
    source.close()
    return kept


def _copy_table(database: Database, source: sqlite3.Connection, table: str) -> int:
    columns = database.columns(table)
    copied = 0
    try:
        for row in source.execute(f"SELECT {', '.join(columns)} FROM {table}"):  # noqa: S608  # our own names
            copied += database.insert_row(table, columns, row)
    except sqlite3.Error as exc:
        log.error("table %s was not recovered beyond %d rows: %s", table, copied, exc)
    return copied
