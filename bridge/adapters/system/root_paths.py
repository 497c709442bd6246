"""Paths that a root process may act on: files and devices that only root can have placed there.

A path is checked name by name. If each folder on the way belongs to root and nobody else may write to it,
only root can exchange the target of a name in it, both before and after the check. A symbolic link in such a
folder is root's as well, so the check goes on at its target.
"""

import os
import re
import stat
from pathlib import Path

from bridge.errors import OperationError

LINKS = 40
"""Number of symbolic links in one path, as in the kernel [path_resolution(7)]."""

_TTY = re.compile(r"/dev/(tty[A-Za-z]+[0-9]+|pts/[0-9]+)")
"""Serial ports and pseudo terminals, but not consoles (/dev/tty1)."""


def trusted_file(path: Path) -> Path:
    """Return the real path of a file that only root can change; raises `OperationError`."""
    real, found = _walk(path)
    if not stat.S_ISREG(found.st_mode):
        raise OperationError(f"{path} is not a file")
    _only_root_writes(real, found)
    return real


def trusted_port(path: Path) -> Path:
    """Return the real path of a serial port that root has named and owns; raises `OperationError`.

    Its group may write to it, as members of dialout do.
    """
    real, found = _walk(path)
    if not _TTY.fullmatch(str(real)) or not stat.S_ISCHR(found.st_mode):
        raise OperationError(f"{path} is not a serial port")
    if found.st_uid != 0:
        raise OperationError(f"{path} does not belong to root")
    return real


def _walk(path: Path) -> tuple[Path, os.stat_result]:
    """Return the real path and its status; each folder on the way is root's alone."""
    if not path.is_absolute():
        raise OperationError(f"{path} is not an absolute path")
    here, rest, links = Path("/"), list(reversed(path.parts[1:])), 0
    found = _stat(here)
    while rest:
        _only_root_writes(here, found)
        name = rest.pop()
        if name == "..":
            here = here.parent
            found = _stat(here)
            continue
        found = _stat(here / name)
        if not stat.S_ISLNK(found.st_mode):
            here = here / name
            continue
        links += 1
        if links > LINKS:
            raise OperationError(f"{path} leads in a circle")
        target = (here / name).readlink()
        if target.is_absolute():
            here = Path("/")
        rest += reversed([part for part in target.parts if part != "/"])
        found = _stat(here)
    return here, found


def _stat(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as exc:
        raise OperationError(f"{path}: {exc.strerror}") from exc


def _only_root_writes(path: Path, found: os.stat_result) -> None:
    others = found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != 0)
    if found.st_uid != 0 or others:
        raise OperationError(
            f"{path} can be changed by others than root, and root acts on it: chown root, chmod go-w"
        )
