"""The disk below the store: its name, the reason of its errors, and safe creation of files."""

import contextlib
import errno
import os
from pathlib import Path

from bridge.core.files import other_kind
from bridge.errors import StoreError, StoreFull

FULL = {errno.ENOSPC, errno.EDQUOT}
"""Error numbers for "no room": on the disk, or within the user's quota."""

INSTALLED = "/var/lib/hologram-bridge/outbox.db"

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def find_file(path: Path) -> Path:
    """Return the file that ``path`` leads to; SQLite keeps its log beside that file.

    Raises `StoreError` if ``path`` exists and is no file. Opening a pipe would block for ever.
    """
    try:
        found = path.resolve()
        kind = other_kind(found.stat().st_mode)
    except FileNotFoundError:
        return found
    except (OSError, RuntimeError) as exc:  # a loop of links is a RuntimeError before Python 3.13
        reason = exc.strerror if isinstance(exc, OSError) else "it is a link to itself"
        raise StoreError(f"store.path: {path} cannot be used: {reason}") from exc
    if kind:
        example = f"{path}/outbox.db" if found.is_dir() else INSTALLED
        raise StoreError(f"store.path: {path} is {kind}; name a file, as {example}")
    return found


def create(path: Path, mode: int = 0o640) -> int:
    """Return the descriptor of a new file at ``path``; an existing file is removed, never written to.

    Raises:
        OSError: it cannot be created.
    """
    path.unlink(missing_ok=True)
    return os.open(path, _NEW, mode)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable; raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_error(path: Path) -> OSError | None:
    """Return the error of a test write beside ``path``, None if it succeeds.

    SQLite reports EIO, a quota and a read-only file system with the same code.
    """
    probe = path.with_name(path.name + ".probe")
    try:
        handle = create(probe, 0o600)
        try:
            os.write(handle, bytes(4096))
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as exc:
        return exc
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    return None


def failed(path: Path, error: OSError) -> StoreError:
    """Return an OSError at ``path``, a file of the store, as one of our errors."""
    if error.errno == errno.ENOENT:
        return StoreError(f"{path} was removed or replaced while it was in use")
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in FULL:
        return StoreFull(f"no room for the outbox {path}: {reason}")
    return StoreError(f"{disk_of(path)} failed: {reason} ({path})")


def disk_of(path: Path) -> str:
    """Return a name for the disk of ``path``: its device and its mount point [proc(5), mountinfo]."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        device = path.parent.stat().st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields = line.split()
            if fields[2] == number:
                return f"the disk {fields[fields.index('-') + 2]} at {fields[4]}"
    return "the disk of the outbox"
