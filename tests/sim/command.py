"""The simulated cloud as users start it: a process, its log file and its output."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

SIMULATE = [sys.executable, "-m", "bridge", "simulate"]


class CloudProcess:
    """A running ``simulate cloud``; ``port`` is read from its first line, ``out`` is its further output."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.out: IO[str] = process.stdout
        self.first_line = self.out.readline()
        assert self.first_line, f"the simulated cloud ended with {process.wait()}: {process.communicate()[1]}"
        self.port = int(self.first_line.rpartition(":")[2])
        self._log = log

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the log file that are whole by now."""
        text = self._log.read_text() if self._log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@contextlib.contextmanager
def cloud_process(log: Path, *options: str) -> Iterator[CloudProcess]:
    """Run ``simulate cloud`` on a free port until the block ends."""
    command = [*SIMULATE, "cloud", "--port", "0", "--log", str(log), *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield CloudProcess(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def simulate(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run ``hologram-bridge simulate`` with these arguments to its end."""
    return subprocess.run([*SIMULATE, *arguments], input=stdin, capture_output=True, timeout=120, check=False)
