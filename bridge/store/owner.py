"""Whose the outbox is: root that looks into it acts as its owner meanwhile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner(path: Path) -> Iterator[None]:
    """As root, act as whoever may write beside ``path``.

    So all of it stays the daemon's, and root follows no link that the daemon's user puts in a file's place.
    Nothing changes for others. It is the whole process's: for commands that do nothing else meanwhile.

    Raises:
        OSError: neither its folder nor the file is there.

    """
    folder = path.parent.stat()
    owner = folder if folder.st_uid != 0 else path.lstat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
