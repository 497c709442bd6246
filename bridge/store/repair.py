"""Repair: replaces a damaged database by its readable rows, and survives an interruption at any point.

::

    outbox.db                    the damaged original with its log; nothing writes to it
    outbox.db.repairing          the new file, incomplete; a later start deletes it
    outbox.db.repairing.copy     the copy that is read, because SQLite may write to a file that it reads
    outbox.db.repaired-<stamp>   the new file, complete, checked and durable
    outbox.db.damaged-<stamp>    the original, kept

The rename of ``.repairing`` to ``.repaired`` decides. Before it only the original counts, and everything else
is deleted. After it the original and its log are moved aside (the log first), and the new file gets the name
of the original. An interrupted start is continued by the next one. If the new file is damaged by then, it is
deleted and the original is put back.
"""

import logging
import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from bridge.errors import StoreDamaged, StoreFull
from bridge.store import disk
from bridge.store.database import Database
from bridge.store.salvage import copy_readable, salvage, size_of

log = logging.getLogger("store")

KEPT = 2
"""Damaged databases that are kept, the present one included. Older ones are deleted, even sooner if their
room is needed."""

SLACK = 4 * 1024 * 1024
"""Bytes that a repair needs beyond the copy and the new file: the new file's log."""

_PARTS = ("-wal", "-shm", "-journal", "")
"""The files of a database in the order of their moves. The database is last, because a log without it belongs
to nothing."""


def resume(path: Path) -> bool:
    """Finish a repair that an earlier run began; return whether the file has to be read through.

    Raises OSError and `StoreError`.
    """
    begun = _named(path, ".repairing")
    for new in _named(path, ".repaired-"):
        if new.name.endswith(_PARTS[:-1]):
            continue
        try:
            _put_in_place(path, new)
        except StoreDamaged as exc:
            log.error("a repair starts again, because the repaired file is damaged too: %s", exc)
            _put_back(path, new)
            begun.append(new)
    _remove(_named(path, ".repairing"))
    return bool(begun)


def repair(path: Path) -> None:
    """Replace the damaged file by a new one with its readable rows.

    Raises `StoreFull` with the room that it needs, and then has changed nothing. Raises OSError and
    `StoreError` if the disk fails.
    """
    _make_room(path)
    new = path.with_name(path.name + ".repairing")
    try:
        _build(path, new)
        done = _rename_done(path, new)
    finally:
        _remove(_named(path, ".repairing"))
    _put_in_place(path, done)


def _build(path: Path, new: Path) -> None:
    """Write the readable rows of ``path`` to ``new``, durably and without a log."""
    copy = new.with_name(new.name + ".copy")
    copy_readable(path, copy)
    os.close(disk.create(new))
    database = Database(new)
    try:
        salvage(copy, database)
        database.copy_log()
    finally:
        database.close()
    if new.with_name(new.name + "-wal").exists():
        raise StoreFull(f"no room for the repaired outbox {new}")


def _rename_done(path: Path, new: Path) -> Path:
    """Mark ``new`` as complete, durably, by a new name; return that name."""
    with new.open("rb") as file:
        os.fsync(file.fileno())
    done = new.rename(path.with_name(f"{path.name}.repaired-{_stamp(path)}"))
    disk.sync_folder(path.parent)
    return done


def _stamp(path: Path) -> str:
    """Return an unused stamp for the damaged file. A box without a clock may see the same second twice."""
    now = time.strftime("%Y%m%d-%H%M%S")
    taken = {each.name for each in _named(path, ".damaged-")}
    names = (now if number == 1 else f"{now}.{number}" for number in count(1))
    return next(name for name in names if f"{path.name}.damaged-{name}" not in taken)


def _damaged(path: Path, new: Path) -> Path:
    return path.with_name(new.name.replace(".repaired-", ".damaged-"))


def _put_in_place(path: Path, new: Path) -> None:
    """Move the damaged file aside, give its name to the new one, and log it.

    Raises `StoreDamaged` before any move if the new file is damaged too.
    """
    # Checked before anything is moved, because after the moves the new file is the outbox.
    messages, reports = _count(new)
    damaged = _damaged(path, new)
    for part in _PARTS:
        _move(path.with_name(path.name + part), damaged.with_name(damaged.name + part))
    disk.sync_folder(path.parent)
    new.rename(path)
    disk.sync_folder(path.parent)
    log.error(
        "THE OUTBOX WAS DAMAGED: %d messages and %d reports were recovered; the damaged file is kept as %s",
        messages,
        reports,
        damaged,
    )


def _count(new: Path) -> tuple[int, int]:
    """Return the number of messages and reports in a repaired database, which is read through."""
    database = Database(new, check=True)
    try:
        return tuple(database.execute(query).fetchone()[0] for query in ("message_count", "report_count"))
    finally:
        database.close()


def _put_back(path: Path, new: Path) -> None:
    damaged = _damaged(path, new)
    for part in reversed(_PARTS):
        _move(damaged.with_name(damaged.name + part), path.with_name(path.name + part))
    disk.sync_folder(path.parent)
    _remove([new.with_name(new.name + part) for part in _PARTS])


def _move(part: Path, to: Path) -> None:
    if os.path.lexists(part):
        part.rename(to)


def _make_room(path: Path) -> None:
    """Delete older damaged files as far as needed; raises `StoreFull` if that is too little."""
    older = sorted(_originals(path), key=lambda each: each.stat().st_ctime)
    needed = 2 * size_of(path) + SLACK
    while older and (len(older) >= KEPT or _free(path) < needed):
        gone = older.pop(0)
        log.warning("%s, an older damaged outbox, is deleted: there is a newer one", gone)
        _remove([gone.with_name(gone.name + part) for part in _PARTS])
    if _free(path) < needed:
        raise StoreFull(
            f"the outbox {path} is damaged, and its repair needs {needed} bytes beside it, of which "
            f"{_free(path)} are free on {disk.disk_of(path)}; until then the outbox stays as it is"
        )


def _originals(path: Path) -> Iterator[Path]:
    """Return the damaged databases that are kept, without their logs."""
    return (each for each in _named(path, ".damaged-") if not each.name.endswith(_PARTS[:-1]))


def _named(path: Path, ending: str) -> list[Path]:
    """Return the files beside ``path`` whose names begin with its name and ``ending``."""
    return [each for each in path.parent.iterdir() if each.name.startswith(path.name + ending)]


def _remove(files: list[Path]) -> None:
    for each in files:
        each.unlink(missing_ok=True)


def _free(path: Path) -> int:
    """Return the bytes that are free beside ``path``."""
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize
