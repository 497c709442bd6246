"""The official SDK on a Python that it loads on, installed once and kept beside our own environment."""

import fcntl
import shutil
import subprocess
from pathlib import Path

SDK = "hologram-python==0.10.3"
CACHE = Path(__file__).parents[2] / ".venv" / "official-sdk"

ABSENT = "no Python 3.9 here, and the official SDK loads on no other (python3.9 or pyenv's)"


def python39() -> str | None:
    """Return a Python 3.9 that runs: the SDK's compiled part loads on no other."""
    candidates = [shutil.which("python3.9"), *sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python"))]
    for candidate in (str(found) for found in candidates if found):
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def official_python() -> Path | None:
    """Return the Python of a virtual environment that holds the SDK; None where there is no Python for it."""
    base = python39()
    if base is None:
        return None
    python = CACHE / "bin" / "python"
    ready = CACHE / f".{SDK}"
    CACHE.parent.mkdir(exist_ok=True)
    with CACHE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            subprocess.run([base, "-m", "venv", "--clear", str(CACHE)], check=True)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", SDK]
            subprocess.run(pip, check=True)
            ready.touch()
    return python
