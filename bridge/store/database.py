"""The SQLite file: opened durably, locked and migrated; SQLite's errors become the bridge's own.

WAL with ``synchronous=FULL`` is SQLite's only setting that keeps a committed transaction through a power cut
in WAL mode [SQLite documentation, PRAGMA synchronous]. ``locking_mode=EXCLUSIVE`` keeps the index of the WAL
in memory, so that a full disk cannot prevent access to it. ``auto_vacuum=INCREMENTAL`` allows deleted pages
to be returned to a full disk.
"""

import contextlib
import errno
import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from bridge.errors import StoreDamaged, StoreError, StoreFull, StoreInUse, StoreNewer
from bridge.store import disk

_WRITING = {
    "SQLITE_IOERR_WRITE",
    "SQLITE_IOERR_SHMSIZE",
    "SQLITE_IOERR_FSYNC",
    "SQLITE_IOERR_DIR_FSYNC",
    "SQLITE_IOERR_TRUNCATE",
    "SQLITE_READONLY",
    "SQLITE_CANTOPEN",
}
"""Codes of SQLite with several possible reasons: a failing disk, a quota, a file system made read-only."""

Row = tuple[Any, ...]

PAGE, OLD_PAGE = 1024, 4096
"""Bytes of a page of our files, and of those of earlier versions. A message changes one row on each of some
pages, and a page that changes is written whole: SQLite's own 4096 bytes are mostly what did not change."""

CONVERTED = 16 * 1024 * 1024
"""Bytes up to which a file of an earlier version is converted to the small pages at a start. A larger one is
converted at a later start, when it is smaller."""

EXTENSION = 64 * 1024
"""Bytes by which the file is extended at once."""

LOG_SIZE = 512 * 1024
"""Pages in the log at which SQLite copies it into the file."""

GIVE_BACK_SIZE, GIVE_BACK_STEPS = 800 * 1024, 10
"""Pages returned to the file system in one step, and steps in one call."""


CLOSE_WAIT = 5.0
"""Seconds that closing waits for a commit."""


def load_queries(text: str) -> dict[str, str]:
    """Return the statements of an SQL file by the names in its ``-- name:`` headings."""
    found: dict[str, str] = {}
    for block in text.split("-- name: ")[1:]:
        name, _, body = block.partition("\n")
        statement = body.split(";", 1)[0]
        found[name.strip()] = statement.strip()
    return found


def _sql(name: str) -> str:
    return resources.files("bridge.store").joinpath(name).read_text()


MIGRATIONS = ("schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql", "schema_5.sql", "schema_6.sql")
"""SQL files; the n-th upgrades a store of version n to version n + 1."""


def known_tables(version: int, page_size: int) -> list[tuple[str, int, str]]:
    """Return the name, first page and definition of each table in a store of ``version``."""
    with contextlib.closing(sqlite3.connect(":memory:")) as ours:
        ours.execute(f"PRAGMA page_size = {page_size}")
        ours.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for name in MIGRATIONS[:version]:
            ours.executescript(_sql(name))
        if page_size == PAGE:
            ours.execute("VACUUM")  # as `_use_small_pages` leaves it
        found = ours.execute("SELECT name, rootpage, sql FROM sqlite_schema WHERE type = 'table'")
        return found.fetchall()


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """Return SQLite's error at the store at ``path`` as one of ours.

    Writes a probe file to find the reason.
    """
    name = getattr(error, "sqlite_errorname", None) or "no code"
    if name == "SQLITE_FULL":
        return StoreFull(f"no room for the outbox {path}: {error}")
    if str(error).startswith(
        "Could not decode"
    ):  # the sqlite3 module's own message; the text itself follows it and is left out
        return StoreDamaged(f"the outbox {path} is damaged: a text in it is not UTF-8")
    if name.startswith("SQLITE_CORRUPT") or name == "SQLITE_NOTADB":
        # SQLite reports a read that fails with EIO in the same way [sqlite3: unixRead].
        return StoreDamaged(f"the outbox {path} is damaged, or {disk.disk_of(path)} cannot be read: {error}")
    if name in _WRITING and (found := disk.write_error(path)):
        return disk.failed(path, found)
    return StoreError(f"{disk.disk_of(path)} failed: {error} ({name}, {path})")


def _identity(part: Path) -> tuple[int, int] | None:
    """Return device and inode of a file, None without one."""
    try:
        found = part.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Lock:
    """A lock for one process per store: an advisory lock on a file beside it, which ends with its process."""

    def __init__(self, store: Path) -> None:
        path = store.with_name(store.name + ".lock")
        try:
            store.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise StoreError(
                f"cannot use {path}: {exc.strerror}; check store.path, and that its folder belongs to "
                f"user {os.geteuid()}"
            ) from exc
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._fd)
            raise StoreInUse(f"another hologram-bridge is running on {store}") from exc

    def release(self) -> None:
        """Release the lock."""
        os.close(self._fd)


class Database:
    """One connection, used by the event loop's thread; `execute` takes the names of queries.sql.

    Only `commit` may run in another thread. Each use holds a lock: SQLite keeps the last error per
    connection, and Python asks for it after the call. Without the lock a read beside a failing COMMIT could
    make the COMMIT look successful.
    """

    def __init__(self, path: Path, *, check: bool = False) -> None:
        """Open or create ``path``; ``check`` reads all of it first.

        Raises `StoreDamaged` for a file that is no readable database, `StoreError` for a file that cannot be
        opened, and `StoreNewer` for a file of a newer version.
        """
        self.path = path
        self._queries = load_queries(_sql("queries.sql"))
        self._connection = self._connect(path)
        try:
            # Messages may be private, so only the bridge's user and group may read them.
            path.chmod(0o640)
            self._prepare(check)
        except BaseException as exc:
            self._connection.close()  # a damaged file stays readable for the sqlite3 tool
            if isinstance(exc, sqlite3.Error):
                raise translate(exc, path) from exc
            if isinstance(exc, OSError):
                raise StoreError(f"cannot open {path}: {exc.strerror}") from exc
            raise
        self._lock = threading.Lock()
        # Open as long as the connection: closing it before would end SQLite's lock on the file [fcntl(2)].
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._files = {part: _identity(part) for part in (path, Path(f"{path}-wal"))}
        """Device and inode of the file and its log; None for a log that does not exist yet."""

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        try:
            return sqlite3.connect(path, isolation_level=None, cached_statements=256, check_same_thread=False)
        except sqlite3.Error as exc:
            raise translate(exc, path) from exc

    def _prepare(self, check: bool) -> None:
        run = self._connection.execute
        # This comes first: without it SQLite makes a -shm file, for which a full disk has no room.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run(f"PRAGMA page_size = {PAGE}")  # of a new file; others keep theirs
        run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA journal_size_limit = 4194304")
        run("PRAGMA cache_size = -2000")
        if check:
            # It checks the indices too, because a damaged log leaves pages of different times.
            problem = run("PRAGMA integrity_check(1)").fetchone()[0]
            if problem != "ok":
                raise StoreDamaged(f"the outbox is damaged: {problem}")
        version = run("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise StoreNewer(
                f"{self.path} was written by a newer version (schema {version}, this one knows "
                f"{len(MIGRATIONS)}); install that version again"
            )
        for step in range(version, len(MIGRATIONS)):
            script = f"BEGIN IMMEDIATE;\n{_sql(MIGRATIONS[step])}\nPRAGMA user_version = {step + 1};\nCOMMIT;"
            self._connection.executescript(script)
        if check and not self._sums_agree():
            raise StoreDamaged("the outbox is damaged: its sums do not agree with its messages")
        if version == 0 or self._is_to_be_converted():
            self._use_small_pages()
        self._page_size: int = run("PRAGMA page_size").fetchone()[0]
        run(f"PRAGMA wal_autocheckpoint = {LOG_SIZE // self._page_size}")

    def _sums_agree(self) -> bool:
        """Return whether there are as many messages as the sums say."""
        row = self._connection.execute(self._queries["sums_agree"]).fetchone()
        if row is None:
            return True
        try:
            depth = json.loads(row[1]).get("depth")
            return depth is None or sum(int(held) for _, _, held, _ in depth) == int(row[2])
        except (ValueError, TypeError, AttributeError, RecursionError):
            return False

    def _is_to_be_converted(self) -> bool:
        run = self._connection.execute
        size = int(run("PRAGMA page_size").fetchone()[0])
        return size != PAGE and size * int(run("PRAGMA page_count").fetchone()[0]) <= CONVERTED

    def _use_small_pages(self) -> None:
        """Write the file again with small pages, its tables in the order of `known_tables`.

        SQLite does it in one transaction: a crash leaves either the old file or the new one. If there is no
        room for it, the file stays as it is.
        """
        run = self._connection.execute
        try:
            run("PRAGMA journal_mode = DELETE")  # with a write-ahead log the size of the pages cannot change
            run(f"PRAGMA page_size = {PAGE}")
            run("VACUUM")
        except sqlite3.Error as exc:
            if not isinstance(translate(exc, self.path), StoreFull):
                raise
        finally:
            run("PRAGMA journal_mode = WAL")

    def _run(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        with self._lock:
            return self._connection.execute(statement, parameters)

    def execute(self, query: str, parameters: Iterable[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        """Run the statement called ``query``; errors are SQLite's own, for `translate`."""
        return self._run(self._queries[query], parameters)

    def execute_except(self, query: str, first: Row, busy: Collection[int], limit: int) -> sqlite3.Cursor:
        """Run ``query`` with one placeholder for each of ``busy`` in place of ``{busy}``."""
        statement = self._queries[query].format(busy=",".join("?" * len(busy)))
        return self._run(statement, (*first, *busy, limit))

    def execute_many(self, query: str, parameters: Iterable[Row]) -> None:
        """Run the statement called ``query`` once for each row of ``parameters``."""
        with self._lock:
            self._connection.executemany(self._queries[query], parameters)

    def begin(self) -> None:
        """Open a write transaction."""
        self._run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make the transaction durable: it survives a power cut.

        Raises `StoreError` if the file or its log was removed or replaced. SQLite would go on writing to a
        file that nobody can find.
        """
        for part, known in self._files.items():
            if known != (found := _identity(part)):
                if known is None and found is not None:
                    self._files[part] = found
                    continue
                raise disk.failed(part, FileNotFoundError(errno.ENOENT, ""))
        self._extend()
        self._run("COMMIT")

    def _extend(self) -> None:
        """Extend the file to the length that the open transaction gives it; raises `StoreError`.

        SQLite copies the log into the file later and reports nothing if there is no room then; the log could
        never be emptied [SQLite documentation, Write-Ahead Logging]. So the room is taken before the commit.
        """
        size = self._run("PRAGMA page_count").fetchone()[0] * self._page_size
        if size <= os.fstat(self._file).st_size:
            return
        try:
            os.posix_fallocate(self._file, 0, size + EXTENSION)
        except OSError as exc:
            if exc.errno not in disk.FULL:
                raise disk.failed(self.path, exc) from exc
            self._extend_to(size)

    def _extend_to(self, size: int) -> None:
        try:
            os.posix_fallocate(self._file, 0, size)
        except OSError as exc:
            raise StoreFull(f"no room for the outbox {self.path}: {exc.strerror}") from exc

    def rollback(self) -> None:
        """Roll the transaction back, unless SQLite has done so itself."""
        if self._connection.in_transaction:
            self._run("ROLLBACK")

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns of ``table`` with their types."""
        return {row[1]: row[2] for row in self._run(f"PRAGMA table_info({table})")}

    def insert_row(self, table: str, columns: list[str], row: Row) -> int:
        """Insert a recovered row, unless its key is taken or it breaks a constraint.

        Return the number inserted.
        """
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  # our names
        return self._run(statement, row).rowcount

    def rebuild(self) -> None:
        """Make lanes and sums agree with the messages that exist."""
        for query in (
            "rebuild_boots",
            "rebuild_orphans",
            "rebuild_adopt",
            "rebuild_heads",
            "rebuild_empty",
            "rebuild_sums",
        ):
            self.execute(query)

    def savepoint(self) -> None:
        """Set a savepoint within the transaction."""
        self._run("SAVEPOINT here")

    def rollback_to_savepoint(self) -> None:
        """Undo everything after the savepoint, and remove it."""
        self._run("ROLLBACK TO here")
        self._run("RELEASE here")

    def release(self) -> None:
        """Remove the savepoint, and keep everything after it."""
        self._run("RELEASE here")

    def copy_log(self) -> None:
        """Copy the log into the file.

        The next transaction then writes it from its start, which needs no room.
        """
        self._run("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def spare(self) -> int:
        """Return the bytes of the file's free pages."""
        return int(self._run("PRAGMA freelist_count").fetchone()[0] * self._page_size)

    def give_back(self, keep: int) -> None:
        """Return deleted pages, except ``keep`` bytes, to the file system; a limited number in one call.

        It works in small steps and copies the log after each, because moving pages needs room in the log. The
        log keeps its size: other programs may take the returned room, and results need the log.
        """
        for _ in range(GIVE_BACK_STEPS):
            pages = min(GIVE_BACK_SIZE, self.spare() - keep) // self._page_size
            if pages <= 0:
                return
            # `execute` would step the statement once and free a single page.
            with self._lock:
                self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")
            self.copy_log()

    def close(self) -> None:
        """Close the file; what was committed is durable without this too.

        It waits for a commit in another thread, because closing during a commit ends the process by a
        segmentation fault. A commit that hangs with its disk is left to the end of the process.
        """
        if self._lock.acquire(timeout=CLOSE_WAIT):
            self._connection.close()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            self._lock.release()


def boot_id() -> str:
    """Return the kernel's name for this boot [proc(5)]."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
