"""A disk of 16 MB, in a mount namespace of its own."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_MOUNT = 'mount -t tmpfs -o size=16m none "$0" && exec "$@"'


def small_disk(folder: Path) -> Sequence[str]:
    """Return a command that runs another where ``folder`` is a disk of 16 MB of its own."""
    flags = "-m" if os.geteuid() == 0 else "-rm"
    command = ["unshare", flags, "sh", "-c", _MOUNT, str(folder)]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.strip()}")
    return command
