"""The locks of apt and dpkg: a box is not restarted while packages are being installed.

They are record locks on these files, and a file that is there says nothing [fcntl(2); dpkg,
lib/dpkg/dbmodify.c; apt, apt-pkg/contrib/fileutl.cc: GetLock]. Only root may open them.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from bridge.errors import OperationError

LOCKS = (
    Path("/var/lib/dpkg/lock-frontend"),
    Path("/var/lib/dpkg/lock"),
    Path("/var/lib/apt/lists/lock"),
    Path("/var/cache/apt/archives/lock"),
)
"""The lock files, in the order in which apt takes them; a system without dpkg has none."""


@contextlib.contextmanager
def kept_out(locks: tuple[Path, ...] = LOCKS) -> Iterator[None]:
    """Keep apt and dpkg from beginning anything; raises `OperationError` if they have begun.

    A shared lock is enough for it, and needs no right to write.
    """
    with contextlib.ExitStack() as opened:
        for path in locks:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                continue
            except OSError as exc:
                raise OperationError(f"{path} cannot be looked at: {exc.strerror}") from exc
            opened.callback(os.close, fd)
            try:
                fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise OperationError(f"apt or dpkg is at work: {path} is locked") from None
            except OSError as exc:
                raise OperationError(f"{path} cannot be locked: {exc.strerror}") from exc
        yield
