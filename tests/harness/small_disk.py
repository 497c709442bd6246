"""A disk of 16 MB, in a mount namespace of its own."""

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.harness.process import ROOT, Keeper, Process, eventually

_MOUNT = 'mount -t tmpfs -o size={}m none "$0" && exec "$@"'
_HOLD = 'mount -t tmpfs -o size=16m none "$0" && echo mounted && exec sleep infinity'


def small_disk(folder: Path, size: int = 16) -> Sequence[str]:
    """Return a command that runs another where ``folder`` is a disk of ``size`` MB of its own."""
    command = [*_unshare(), "sh", "-c", _MOUNT.format(size), str(folder)]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.strip()}")
    return command


def _unshare() -> Sequence[str]:
    return ["unshare", "-m" if os.geteuid() == 0 else "-rm"]


class KeptDisk:
    """A small disk that outlives the programs that use it; others can fill it."""

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        """Mount it at ``folder``, for the programs that `wrap` runs."""
        small_disk(folder)
        self._holder = Process("disk", folder.with_name("disk.log"))
        keeper.keep(self._holder)
        self._holder.launch([*_unshare(), "sh", "-c", _HOLD, str(folder)])
        eventually(lambda: "mounted" in self._holder.said(), what="the disk is mounted")
        self._others = Path(f"/proc/{self._holder.pid}/root{folder}") / "others"

    @property
    def wrap(self) -> Sequence[str]:
        """What to put before a command for it to run where the disk is."""
        user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
        enter = ["nsenter", "-t", str(self._holder.pid), *user, "-m"]
        return [*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(ROOT)]

    def fill(self, leave: int = 0) -> None:
        """Have others take what is free, but for ``leave`` bytes."""
        taken = self._others.stat().st_size if self._others.exists() else 0
        with self._others.open("ab") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, taken + free(self._others) - leave)

    def empty(self) -> None:
        """Have others give back what they took."""
        self._others.unlink(missing_ok=True)


def free(path: Path) -> int:
    """Return the bytes that are free on the disk of ``path``."""
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize
