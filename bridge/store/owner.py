"""The owner of the outbox: root acts as that user while it works on the outbox."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner(path: Path) -> Iterator[None]:
    """As root, act as the owner of the folder of ``path``, or of the file if root owns the folder.

    So every file stays the daemon's, and root follows no link that the daemon's user may have put there.
    Other users act as themselves. The change applies to the whole process, so it is for commands that do
    nothing else at the time.

    Raises:
        OSError: neither the folder nor the file exists.

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
