"""A file that holds disk space back, since even deleting from a database needs some."""

import os
from pathlib import Path

SIZE = 4 * 1024 * 1024
"""Bytes held back: the size to which the log is kept, which deletions go through."""

DELETIONS = SIZE // 4
"""Bytes of such a reserve that stay for deletions when the file has grown into the rest."""


class Reserve:
    """The reserve beside a store."""

    def __init__(self, store: Path, size: int = SIZE) -> None:
        self._path = store.with_name(store.name + ".reserve")
        self.size = size
        """Bytes that are held back."""
        self.deletions = size * DELETIONS // SIZE
        """Bytes of these that stay for deletions."""

    def hold(self, ahead: int = 0) -> bool:
        """Take the space if enough stays free for messages; return whether it is held.

        Enough is as much again, and what `covers` will ask for the ``ahead`` bytes of the message that comes
        next: otherwise it would find no room at once, and the outbox would call itself full and not full in
        turns.
        """
        if self.held:
            return True
        if self.free() < self.size + max(self.size, 2 * (ahead + self.deletions)):
            return False
        return self._take(self.size)

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

    def covers(self, growth: int) -> bool:
        """Whether the file can still grow by ``growth`` bytes if all else on the disk fills up.

        What is beyond the reserve has to be free, twice: it goes into the log, and from there into the file.
        """
        if growth <= self.size - self.deletions and self.held:
            return True
        return self.free() >= 2 * growth

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
