"""Files that the configuration names."""

import errno
import os
import stat
from pathlib import Path

from bridge.core.files import other_kind


def open_file(path: Path) -> int:
    """Return a descriptor for reading the file at ``path``, without blocking.

    Raises:
        OSError: the file cannot be opened, or is no file; ``strerror`` says so.

    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    mode = os.fstat(handle).st_mode
    kind = other_kind(mode)
    if kind is None:
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
