"""The disk below the store: which one it is, what is wrong with it, and files that are surely ours."""

import contextlib
import errno
import os
from pathlib import Path

from bridge.core.files import other_kind
from bridge.errors import StoreError, StoreFull

FULL = {errno.ENOSPC, errno.EDQUOT}
"""What says that there is no room: none on the disk, or none within the user's quota."""

INSTALLED = "/var/lib/hologram-bridge/outbox.db"

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def find_file(path: Path) -> Path:
    """Return the file that ``path`` leads to, as SQLite keeps its log beside that one.

    Raises `StoreError` for what is there and is no file: opening a pipe would wait for ever.
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
    """Return the descriptor of a new file at ``path``; what had the name is removed, never written to.

    Raises:
        OSError: it cannot be made.

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
    """Return why nothing can be written beside ``path``, or None where it can.

    SQLite keeps the reason to itself: EIO, a quota and a file system that was made read-only are one code.
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
    """Return our name for what the system says of ``path``, which was there and is ours."""
    if error.errno == errno.ENOENT:
        return StoreError(f"{path} was removed or replaced by another while it was used")
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in FULL:
        return StoreFull(f"no room for the outbox {path}: {reason}")
    return StoreError(f"{disk_of(path)} failed: {reason} ({path})")


def disk_of(path: Path) -> str:
    """Return what to call the disk of ``path``: its device and where it is mounted [proc(5), mountinfo]."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        device = path.parent.stat().st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields = line.split()
            if fields[2] == number:
                return f"the disk {fields[fields.index('-') + 2]} at {fields[4]}"
    return "the disk of the outbox"
