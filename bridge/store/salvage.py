"""Salvage: reads the readable rows of a damaged database.

The sqlite3 tool has ``.recover`` for this, but not in Debian bookworm: its library is built without
``SQLITE_ENABLE_DBPAGE_VTAB``, and the command ends in "SQL logic error" on any file. So the rows are read by
SQL, table by table in the order of their row ids. Behind an unreadable page the next readable row id is
searched. It reads a copy, so that the damaged file does not change.

Nothing in the file is trusted. The copy gets our own header. If its table definitions are not exactly ours,
they are written again. A row id that does not increase is damage, so that pages which refer to themselves
come to an end. A row is at most as long as ours can be, and each value has the type of its column.
"""

import contextlib
import errno
import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bridge.store import disk
from bridge.store.accepted import is_accepted
from bridge.store.batches import is_ends
from bridge.store.database import MIGRATIONS, OLD_PAGE, PAGE, Database, Row, known_tables
from bridge.store.ledger import is_sums
from bridge.store.rows import is_lane, is_topics

log = logging.getLogger("store")

TABLES = {
    "boot": "id",
    "lane": "id",
    "message": "seq",
    "batch": "lane",
    "report": "seq",
    "receipt": "slot",
    "text_part": "seq",
    "text_seen": "seq",
    "text_sent": "seq",
    "set_aside": "id",
    "ended": "seq",
    "escalation": "seq",
    "escalated": "seq",
    "sums": "id",
    "meta": None,
    "chosen": None,
    "usage": None,
}
"""Tables to recover, with the column that is the row id. Of the sums only the counts are kept."""

CLOSE_LOOKS = 5000
"""Row ids tried one by one behind a damaged page before the steps grow."""

FAR = 1 << 40
"""A step that has certainly passed the end of the table."""

LONGEST = 64 * 1024 * 1024
"""Bytes of a row at most, far above ours, so that a damaged length does not ask for all the memory."""

PORTION = 2 * 1024 * 1024
"""Bytes of payload in one transaction on the new file. An interrupted repair starts again, so the file
need not be complete at a commit."""

BLOCK = 4096
"""Bytes that are read at once: what a disk cannot read is at least as large."""

_NOT_OURS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, OverflowError)
"""Errors for a row that does not fit our tables; every other error is the disk's."""

_MAGIC, _FIXED = b"SQLite format 3\0", bytes((2, 2, 0, 64, 32, 32))
"""The beginning of all our files: magic, page size, write-ahead log and fixed values [SQLite documentation,
"Database File Format", 1.3]."""

_LAST = (1 << 63) - 1
"""The largest row id."""

_OF_THE_DISK = {"SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_READ", "SQLITE_NOMEM"}
"""Errors that do not come from damage of the file that is read."""

_TYPES: dict[str, tuple[type, ...]] = {
    "INTEGER": (int,),
    "REAL": (float, int),
    "TEXT": (str,),
    "BLOB": (bytes,),
    "ANY": (int, float, str, bytes),
}
_TIMES = (-1e9, 1e11)
"""Seconds that a time or a duration can have; values beyond cannot be written as a date."""


def size_of(damaged: Path) -> int:
    """Return the bytes of the pages of ``damaged`` and its log that are not all zeros; raises OSError."""
    sizes = (
        sum(BLOCK for _, block in _blocks(part) if block.strip(b"\0"))
        for part in (damaged, damaged.with_name(damaged.name + "-wal"))
        if part.exists()
    )
    return sum(sizes)


def _page_size(damaged: Path) -> int:
    """Return the bytes of a page of ``damaged``, as it or its log says; raises OSError.

    The log has a header of its own [SQLite documentation, "Database File Format", 4.1]. If both headers are
    damaged, it is the size of new files.
    """
    for part, place, width in ((damaged, 16, 2), (damaged.with_name(damaged.name + "-wal"), 8, 4)):
        first = next((block for _, block in _blocks(part)), b"") if part.exists() else b""
        size = int.from_bytes(first[place : place + width])
        if size in (PAGE, OLD_PAGE):
            return size
    return PAGE


def _header(page: int) -> bytes:
    """Return how a file with pages of ``page`` bytes begins."""
    return _MAGIC + page.to_bytes(2) + _FIXED


def copy_readable(damaged: Path, copy: Path) -> None:
    """Copy the file and its log, as far as the disk can read them; raises OSError.

    The copy begins with our header and has whole pages, at least one, because SQLite deletes the log of an
    empty file.
    """
    page = _page_size(damaged)
    for suffix in ("", "-wal"):
        part, to = damaged.with_name(damaged.name + suffix), copy.with_name(copy.name + suffix)
        size = part.stat().st_size if part.exists() else 0
        if suffix and not size:
            continue
        with os.fdopen(disk.create(to), "wb") as file:
            for place, block in _blocks(part) if size else ():
                if block.strip(b"\0"):
                    file.seek(place)
                    file.write(block)
            file.truncate(size if suffix else max(-(-size // page), 1) * page)
            if not suffix:
                file.seek(0)
                file.write(_header(page))


def _blocks(part: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the places and blocks of a file; a block that the disk cannot read is all zeros."""
    with part.open("rb", buffering=0) as file:
        for place in range(0, part.stat().st_size, BLOCK):
            try:
                block = os.pread(file.fileno(), BLOCK, place)
            except OSError as exc:
                if exc.errno != errno.EIO:
                    raise
                log.error("%s cannot be read at byte %d: %s", part, place, exc.strerror)
                block = bytes(BLOCK)
            yield place, block


def salvage(copy: Path, database: Database) -> dict[str, int]:
    """Copy the readable rows of ``copy`` into ``database``; return the number of rows by table.

    Raises `sqlite3.Error` if ``database`` does not take them.
    """
    with contextlib.closing(_opened(copy)) as source:
        if _has_our_tables(source):
            return _copy_tables(source, database)
    log.error("the list of tables is damaged; it is written again")
    _name_tables(copy)
    with contextlib.closing(_opened(copy)) as source:
        return _copy_tables(source, database)


def find_garbled(path: Path) -> str:
    """Return a text about a garbled row in a database with intact pages; empty without one."""
    table = ""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as source:
            for table in TABLES:
                kinds = {row[1]: row[2] for row in source.execute(f"PRAGMA table_info({table})")}
                for row in source.execute(f"SELECT {', '.join(kinds)} FROM {table}"):  # noqa: S608  # our own names
                    found = dict(zip(kinds, row, strict=True))
                    if _mend(table, dict(found), kinds) != found:
                        return f"a row of table {table} is not as it was written"
    except sqlite3.Error:  # a text that is not UTF-8
        return f"a row of table {table} cannot be read"
    return ""


def _opened(copy: Path) -> sqlite3.Connection:
    source = sqlite3.connect(copy, isolation_level=None)
    source.text_factory = lambda data: data.decode("utf-8", "replace")
    source.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    # Lets SQLite open a file that was cut off [sqlite3: lockBtree].
    source.execute("PRAGMA writable_schema = ON")
    return source


def _has_our_tables(source: sqlite3.Connection) -> bool:
    """Whether the file has exactly the tables of one of our versions, and no views."""
    try:
        version = source.execute("PRAGMA user_version").fetchone()[0]
        found = source.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type IN ('table', 'view')"
        ).fetchall()
    except sqlite3.Error:
        return False
    known = known_tables(version, PAGE) if 0 < version <= len(MIGRATIONS) else []
    return bool(known) and sorted(found, key=str) == sorted(((name, sql) for name, _, sql in known), key=str)


def _name_tables(copy: Path) -> None:
    """Write the table definitions again; in all files of a version a table begins on the same page."""
    # The content of the log is in the file by now, because closing the connection has copied it.
    for suffix in ("-wal", "-shm"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    page = _page_size(copy)
    with copy.open("r+b") as file:
        version = int.from_bytes(file.read(100)[60:64])
        file.seek(0)
        file.write(_empty_first_page(copy.stat().st_size // page, page))
    newest = len(MIGRATIONS)
    with contextlib.closing(_opened(copy)) as source:
        for name, root, sql in known_tables(version if 0 < version <= newest else newest, page):
            source.execute("INSERT INTO sqlite_schema VALUES ('table', ?1, ?1, ?2, ?3)", (name, root, sql))


def _empty_first_page(pages: int, page: int) -> bytes:
    """Return the first page of a file of ``pages`` pages without tables [as above, 1.3 and 1.6]."""
    numbers = (
        1,
        pages,
        0,
        0,
        1,
        4,
        0,
        0,
        1,
        0,
        0,
        0,
    )  # change counter, size, no free pages, schema format 4, UTF-8
    header = _header(page) + b"".join(number.to_bytes(4) for number in numbers) + bytes(20)
    header += (1).to_bytes(4) + bytes(4)  # the change counter again, which makes the size valid
    return (header + bytes((13, 0, 0, 0, 0)) + page.to_bytes(2) + b"\0").ljust(page, b"\0")


def _copy_tables(source: sqlite3.Connection, database: Database) -> dict[str, int]:
    kept = dict.fromkeys(TABLES, 0)
    size = 0
    database.begin()
    for table, row_id in TABLES.items():
        there = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
        columns = {name: kind for name, kind in database.columns(table).items() if name in there}
        for row in _rows(source, table, list(columns), row_id) if columns else ():
            mended = _mend(table, dict(zip(columns, row, strict=True)), columns)
            kept[table] += _insert(database, table, mended)
            size += sum(len(value) for value in row if isinstance(value, bytes | str))
            if size > PORTION:
                database.commit()
                database.begin()
                size = 0
    database.rebuild()
    database.commit()
    return kept


def _insert(database: Database, table: str, row: dict[str, Any] | None) -> int:
    """Insert a row; return the number inserted. Raises `sqlite3.Error` if the disk does not take it."""
    if row is None:
        return 0
    try:
        return database.insert_row(table, list(row), tuple(row.values()))
    except _NOT_OURS as exc:
        log.error("a row of %s was not recovered: %s", table, exc)
        return 0


def _mend(table: str, row: dict[str, Any], kinds: dict[str, str]) -> dict[str, Any] | None:
    """Return ``row`` with usable values; None if the row itself is useless.

    A value that has not the type of its column is replaced by the column's default, and an impossible time by
    0.
    """
    for name, value in list(row.items()):
        if value is not None and not isinstance(value, _TYPES[kinds[name]]):
            del row[name]
        elif kinds[name] == "REAL" and isinstance(value, float) and not _TIMES[0] <= value <= _TIMES[1]:
            row[name] = 0.0
    if table == "report" and not _is_json(row.get("properties") or "[]"):
        row["properties"] = None
    if table == "message" and not is_topics(row.get("topics")):
        row["topics"] = None
    if table == "batch" and not is_ends(row.get("ends", "[]")):
        return None
    if table == "sums" and not is_sums(row.get("value")):
        return None
    if table == "lane" and not is_lane(row.get("endpoint"), row.get("names"), row.get("priority")):
        return None
    return None if table == "meta" and not _is_meta(row.get("key"), row.get("value")) else row


def _is_meta(key: Any, value: Any) -> bool:
    if not isinstance(key, str) or not isinstance(value, int | float | str):
        return False
    if key.startswith("command:"):
        return is_accepted(key, value)
    return not (isinstance(value, str) and value[:1] in ("[", "{")) or _is_json(value)


def _is_json(text: str) -> bool:
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(text)
        return True
    return False


def _rows(source: sqlite3.Connection, table: str, columns: list[str], row_id: str | None) -> Iterator[Row]:
    return _leap(source, table, columns, row_id) if row_id else _both_ends(source, table, columns)


def _leap(source: sqlite3.Connection, table: str, columns: list[str], row_id: str) -> Iterator[Row]:
    """Yield the readable rows of a table in the order of their row ids, and skip what is damaged."""
    select = (
        f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED "  # noqa: S608  # our own names
        f"WHERE {row_id} > ? ORDER BY {row_id}"
    )
    place = columns.index(row_id)
    last, tries = 0, 0
    while True:
        try:
            for row in source.execute(select, (last,)):
                _expect_growth(row[place], last)
                last, tries = row[place], 0
                yield row
        except sqlite3.Error as exc:
            _expect_damage(exc)
            if tries == 0:
                log.error("table %s is damaged behind row %d: %s", table, last, exc)
            tries += 1
            step = 1 if tries <= CLOSE_LOOKS else 2 ** (tries - CLOSE_LOOKS)
            if step >= FAR:
                return
            last = min(last + step, _LAST)
        else:
            return


def _both_ends(source: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[Row]:
    """Yield the rows of a table without row ids from both ends, up to the damage."""
    for order in ("ASC", "DESC"):
        before: Any = None
        try:
            for row in source.execute(
                f"SELECT {', '.join(columns)} FROM {table} ORDER BY {columns[0]} {order}"  # noqa: S608
            ):
                if before is not None:
                    _expect_growth(*((row[0], before) if order == "ASC" else (before, row[0])))
                before = row[0]
                yield row
        except sqlite3.Error as exc:
            _expect_damage(exc)
            log.error("table %s is damaged: %s", table, exc)
        else:
            return


def _expect_growth(later: Any, earlier: Any) -> None:
    """Raise `sqlite3.Error` if rows are out of order: pages that refer to themselves would never end."""
    if type(later) is not type(earlier) or later <= earlier:
        raise sqlite3.DatabaseError("rows are out of order")


def _expect_damage(error: sqlite3.Error) -> None:
    """Raise ``error`` again if the file is not its cause."""
    if getattr(error, "sqlite_errorname", "") in _OF_THE_DISK:
        raise error
