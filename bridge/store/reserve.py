"""Reserve: a file that keeps disk space for the log, because even deletions need some."""

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from bridge.store import disk

SIZE: Final = 4 * 1024 * 1024
"""Bytes of the reserve: the size of the log, through which deletions go."""

SHARE: Final = 8
"""The reserve takes at most this fraction of a small disk: an eighth."""


class Reserve:
    """The reserve file beside a store."""

    def __init__(self, store: Path, size: int = SIZE) -> None:
        self._path = store.with_name(store.name + ".reserve")
        self._size = size

    @property
    def size(self) -> int:
        """Bytes of a complete reserve."""
        return min(self._size, self.disk_size() // SHARE)

    def hold(self) -> bool:
        """Take the whole reserve; return whether it is there. A quota shows here, and not in `free`."""
        return self.held or self._take(self.size)

    def take(self) -> None:
        """Take as much as is free, for the next start, which has to write the log again."""
        if not self.held:
            self.release()
            self._take(min(self.size, self.free()))

    def _take(self, size: int) -> bool:
        try:
            handle = disk.create(self._path, 0o600)
            try:
                os.posix_fallocate(handle, 0, size)
            finally:
                os.close(handle)
        except OSError:
            self.release()
            return False
        return True

    @property
    def held(self) -> bool:
        """Whether the reserve is complete."""
        try:
            found = self._path.lstat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size >= self.size

    def release(self) -> None:
        """Release the space to the database; an error of the disk is ignored."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def free(self) -> int:
        """Return the free bytes on the disk; raises `StoreError` if the disk does not say."""
        found = self._statvfs()
        return found.f_bavail * found.f_frsize

    def disk_size(self) -> int:
        """Return the size of the disk in bytes; raises `StoreError` if the disk does not say."""
        found = self._statvfs()
        return found.f_blocks * found.f_frsize

    def _statvfs(self) -> os.statvfs_result:
        try:
            return os.statvfs(self._path.parent)
        except OSError as exc:
            raise disk.failed(self._path, exc) from exc
