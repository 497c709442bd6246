"""A file that holds disk space back, since even deleting from a database needs some."""

import os
from pathlib import Path
from typing import Final

SIZE: Final = 4 * 1024 * 1024
"""Bytes held back: the size to which the log is kept, which deletions go through."""

SHARE: Final = 8
"""The reserve takes at most this fraction of a small disk: an eighth."""


class Reserve:
    """The reserve beside a store."""

    def __init__(self, store: Path, size: int = SIZE) -> None:
        self._path = store.with_name(store.name + ".reserve")
        self._size = size

    @property
    def size(self) -> int:
        """Bytes that are held back."""
        return min(self._size, self.disk_size() // SHARE)

    def hold(self) -> bool:
        """Take all of the space; return whether it is held. A quota shows here and not in `free`."""
        return self.held or self._take(self.size)

    def take(self) -> None:
        """Take as much as is free, for the next start: the log, which gave it back, has to be made anew."""
        if not self.held:
            self.release()
            self._take(min(self.size, self.free()))

    def _take(self, size: int) -> bool:
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError:
            self.release()
            return False
        return True

    @property
    def held(self) -> bool:
        """Whether all of the space is held."""
        return self._path.exists() and self._path.stat().st_size >= self.size

    def release(self) -> None:
        """Give the space to the database."""
        self._path.unlink(missing_ok=True)

    def free(self) -> int:
        """Return the bytes that are free on the disk."""
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

    def disk_size(self) -> int:
        """Return the bytes that the disk has in all."""
        disk = os.statvfs(self._path.parent)
        return disk.f_blocks * disk.f_frsize
