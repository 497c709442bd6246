"""Repair: a damaged database gives way to what can be read of it, whatever ends the work in between.

::

    outbox.db                    the damaged original with its log; nothing writes to it
    outbox.db.repairing          the new one as far as it is: worth nothing, and begun anew
    outbox.db.repairing.copy     what is read, as SQLite writes even where it only reads
    outbox.db.repaired-<stamp>   the new one, complete, checked and durable
    outbox.db.damaged-<stamp>    the original, kept

One rename decides, that of ``.repairing`` to ``.repaired``. Before it only the original counts, and all else
is thrown away. After it the original is moved aside, its log before it, and last the new one takes its name:
each start goes on with that where the one before was ended. A new one that is damaged meanwhile is thrown
away, and the original is put back.
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
"""Damaged databases that are kept, this one included; older ones go, and go first where room is wanted."""

SLACK = 4 * 1024 * 1024
"""Bytes that a repair needs beyond what it copies and writes: the new file's own log."""

_PARTS = ("-wal", "-shm", "-journal", "")
"""What belongs to a database, in the order in which it is moved: without its file a log is nobody's."""


def resume(path: Path) -> bool:
    """End the repair that an earlier run began, if it did; return whether the file is to be read through.

    Raises OSError and `StoreError`.
    """
    begun = _named(path, ".repairing")
    for new in _named(path, ".repaired-"):
        if new.name.endswith(_PARTS[:-1]):
            continue
        try:
            _put_in_place(path, new)
        except StoreDamaged as exc:
            log.error("a repair is begun again, its outcome is damaged as well: %s", exc)
            _put_back(path, new)
            begun.append(new)
    _remove(_named(path, ".repairing"))
    return bool(begun)


def repair(path: Path) -> None:
    """Put in the place of the damaged file a new one with what can be read of it.

    Raises `StoreFull`, naming what it needs, where there is no room for it: nothing has changed then. Raises
    OSError and `StoreError` where the disk fails.
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
    """Write what is readable of ``path`` to ``new``, durably and without a log."""
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
    """Call ``new`` done, durably; return its new name."""
    with new.open("rb") as file:
        os.fsync(file.fileno())
    done = new.rename(path.with_name(f"{path.name}.repaired-{_stamp(path)}"))
    disk.sync_folder(path.parent)
    return done


def _stamp(path: Path) -> str:
    """Return a name for the damaged file that none has: a box without a clock sees the same second again."""
    now = time.strftime("%Y%m%d-%H%M%S")
    taken = {each.name for each in _named(path, ".damaged-")}
    names = (now if number == 1 else f"{now}.{number}" for number in count(1))
    return next(name for name in names if f"{path.name}.damaged-{name}" not in taken)


def _damaged(path: Path, new: Path) -> Path:
    return path.with_name(new.name.replace(".repaired-", ".damaged-"))


def _put_in_place(path: Path, new: Path) -> None:
    """Move the damaged file aside, have the new one take its name, and say so.

    Raises `StoreDamaged` before that where the new one is damaged, too.
    """
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
    """Return how many messages and reports a repaired database holds, read through."""
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
    """Let go of what is left of older damage as far as needed; `StoreFull` where that is too little."""
    older = sorted(_originals(path), key=lambda each: each.stat().st_ctime)
    needed = 2 * size_of(path) + SLACK
    while older and (len(older) >= KEPT or _free(path) < needed):
        gone = older.pop(0)
        log.warning("%s, kept of an older damage, goes: there is newer damage", gone)
        _remove([gone.with_name(gone.name + part) for part in _PARTS])
    if _free(path) < needed:
        raise StoreFull(
            f"the outbox {path} is damaged, and its repair needs {needed} bytes beside it, of which "
            f"{_free(path)} are free on {disk.disk_of(path)}; until then it stays as it is"
        )


def _originals(path: Path) -> Iterator[Path]:
    """Return the damaged databases that are kept, without what belongs to them."""
    return (each for each in _named(path, ".damaged-") if not each.name.endswith(_PARTS[:-1]))


def _named(path: Path, ending: str) -> list[Path]:
    """Return what stands beside ``path`` under its name and an ``ending`` that may go on."""
    return [each for each in path.parent.iterdir() if each.name.startswith(path.name + ending)]


def _remove(files: list[Path]) -> None:
    for each in files:
        each.unlink(missing_ok=True)


def _free(path: Path) -> int:
    """Return the bytes that are free beside ``path``."""
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize
