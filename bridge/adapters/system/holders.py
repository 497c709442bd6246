"""The process that holds a port or a file, found in /proc [proc(5)]."""

import os
from pathlib import Path

PROC = Path("/proc")

_WAITING = ("0A", "07")
"""A TCP socket that listens, a UDP socket without a peer [Linux, include/net/tcp_states.h]."""


def of_port(port: int, tables: tuple[str, ...] = ("tcp", "tcp6"), proc: Path = PROC) -> int | None:
    """Return the process that has ``port``; None where it cannot be seen.

    ``tables`` are those of ``/proc/net`` that are looked through. Mostly it is somebody who listens; a
    connection that goes out from the port keeps others from it too.
    """
    inodes: dict[bool, set[str]] = {True: set(), False: set()}
    for table in tables:
        for fields in _table(proc / "net" / table):
            if int(fields[1].rpartition(":")[2], 16) == port:
                inodes[fields[3] in _WAITING].add(f"socket:[{fields[9]}]")
    return _owner(inodes[True], proc) or _owner(inodes[False], proc)


def _owner(inodes: set[str], proc: Path) -> int | None:
    for process in proc.glob("[0-9]*") if inodes else ():
        if inodes & _open_by(process):
            return int(process.name)
    return None


def locking(path: Path) -> str | None:
    """Return the holder of an flock(2) on ``path``; None if it is not visible."""
    try:
        inode = str(path.stat().st_ino)
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for fields in (line.split() for line in lines):
        if fields[1] == "FLOCK" and fields[-3].rpartition(":")[2] == inode and int(fields[-4]) > 0:
            return describe(int(fields[-4]))
    return None


def describe(pid: int) -> str:
    """Return the program of a process with its number, e.g. ``hologram-bridge (process 123)``."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        words = []
    return f"{_program([word for word in words if word])} (process {pid})"


def _program(words: list[str]) -> str:
    """Return a program's name: an interpreter is named by its script, the bridge by its own name."""
    names = [Path(word).name for word in words]
    if not names:
        return "another program"
    if "hologram-bridge" in names[:2] or words[1:3] == ["-m", "bridge"]:
        return "hologram-bridge"
    if names[0].startswith("python"):
        return next((name for name in names[1:] if not name.startswith("-")), names[0])
    return names[0]


def _table(path: Path) -> list[list[str]]:
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:
        return []
    return [line.split() for line in lines]


def _open_by(process: Path) -> set[str]:
    found = set()
    try:
        for link in (process / "fd").iterdir():
            found.add(os.readlink(link))  # noqa: PTH115  # the text of the link is not a path
    except OSError:
        # Only root may inspect another user's process, and a process that has ended holds nothing. The links
        # read until then count. A holder that is not found is reported as not visible.
        pass
    return found
