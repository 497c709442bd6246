"""Salvage: reading what is readable of a damaged database.

The sqlite3 tool's ``.recover`` would be the natural means, but Debian bookworm's cannot: its library is built
without ``SQLITE_ENABLE_DBPAGE_VTAB``, and the command ends in "SQL logic error" on any file. So the rows are
read by SQL, table by table in the order of their row ids; where a page cannot be read, the next row id behind
it that can be is looked for. A copy is read, so that the damaged file stays as it was found.
"""

import contextlib
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from bridge.store.database import Database, Row

log = logging.getLogger("store")

TABLES = {
    "boot": "id",
    "lane": "id",
    "message": "seq",
    "report": "seq",
    "receipt": "slot",
    "text_part": "seq",
    "text_seen": "seq",
    "text_sent": "seq",
    "set_aside": "id",
    "meta": None,
    "chosen": None,
    "usage": None,
}
"""What is worth saving, with the column that is the row id; `depth` is counted anew."""

CLOSE_LOOKS = 5000
"""Row ids tried one by one behind a broken page, before the steps grow."""

FAR = 1 << 40
"""A step at which the end of the table must have been passed."""

_MAGIC = b"SQLite format 3\0"


def salvage(damaged: Path, database: Database) -> dict[str, int]:
    """Copy what is readable of ``damaged`` into ``database``; return the number of rows by table."""
    copy = damaged.with_name(damaged.name + ".copy")
    try:
        _copy(damaged, copy)
        with contextlib.closing(sqlite3.connect(copy)) as source:
            # Lets a file that was cut off be opened as far as it goes [sqlite3: lockBtree].
            source.execute("PRAGMA writable_schema = ON")
            return _copy_tables(source, database)
    finally:
        for suffix in ("", "-wal", "-shm"):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)


def _copy(damaged: Path, copy: Path) -> None:
    """Copy the file and its log; mend the first bytes where they say that it is no database.

    The pages behind them may well be whole [SQLite documentation, "Database File Format", 1.3].
    """
    for suffix in ("", "-wal"):
        part = damaged.with_name(damaged.name + suffix)
        if part.exists():
            shutil.copyfile(part, copy.with_name(copy.name + suffix))
    with copy.open("r+b") as file:
        file.write(_MAGIC)


def _copy_tables(source: sqlite3.Connection, database: Database) -> dict[str, int]:
    kept: dict[str, int] = {}
    database.begin()
    for table, row_id in TABLES.items():
        columns = database.columns(table)
        rows = (
            _plain_rows(source, table, columns) if row_id is None else _rows(source, table, columns, row_id)
        )
        kept[table] = sum(_insert(database, table, columns, row) for row in rows)
    database.rebuild()
    database.commit()
    return kept


def _insert(database: Database, table: str, columns: list[str], row: Row) -> int:
    try:
        return database.insert_row(table, columns, row)
    except sqlite3.Error as exc:  # a value that no column of ours takes
        log.error("a row of %s was not recovered: %s", table, exc)
        return 0


def _rows(source: sqlite3.Connection, table: str, columns: list[str], row_id: str) -> Iterator[Row]:
    """Return the readable rows of a table, in order of their row ids, leaping over what is broken."""
    select = (
        f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED "  # noqa: S608  # our own names
        f"WHERE {row_id} > ? ORDER BY {row_id}"
    )
    place = columns.index(row_id)
    last, tries = 0, 0
    while True:
        try:
            for row in source.execute(select, (last,)):
                last, tries = row[place], 0
                yield row
        except sqlite3.Error as exc:
            if tries == 0:
                log.error("table %s is damaged behind row %d: %s", table, last, exc)
            tries += 1
            step = 1 if tries <= CLOSE_LOOKS else 2 ** (tries - CLOSE_LOOKS)
            if step >= FAR:
                return
            last += step
        else:
            return


def _plain_rows(source: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[Row]:
    """Return the rows of a table without row ids, as far as they are readable."""
    try:
        yield from source.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608  # our own names
    except sqlite3.Error as exc:
        log.error("table %s is damaged: %s", table, exc)
