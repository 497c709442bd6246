"""Processes that tests start: each with its own log file, ended by process id whatever happens."""

import contextlib
import functools
import itertools
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
"""Where ``python -m bridge`` finds the package."""

_TAIL = 40  # lines


PROMISED = 5.0
"""Seconds below which a wait is a promise of the bridge's, such as one second until a status changes."""


def patient(timeout: float) -> float:
    """Return the seconds to wait on a busy machine for what takes ``timeout`` at most on an idle one.

    It costs time only where a test fails; what is a promise is left as it is.
    """
    return timeout if timeout < PROMISED else 4 * timeout


def eventually(condition: Callable[[], T], timeout: float = 10.0, *, what: str = "") -> T:
    """Poll until ``condition()`` is true and return its value; fail after ``timeout`` seconds.

    ``what`` names what was waited for in the failure.
    """
    timeout = patient(timeout)
    deadline = time.monotonic() + timeout
    pause = 0.005
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what or 'the condition'}"
        threading.Event().wait(pause)
        pause = min(0.1, pause * 1.5)
    return value


SHARES = 24
"""Processes on this machine that can run tests at the same time and have ports of their own."""

_PORTS = 12000 // SHARES
_draws = itertools.count(random.randrange(_PORTS))


@functools.cache
def _share() -> tuple[int, socket.socket]:
    """Return which share of the ports is this process's, and the socket that holds it until the process ends.

    An abstract address [unix(7)] belongs to one socket of a network namespace, as a port does: other runs of
    the tests are kept off too, also those with another root folder.
    """
    for share in range(SHARES):
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0hologram-bridge-test-ports-{share}")
        except OSError:
            held.close()
        else:
            return share, held
    raise AssertionError(f"{SHARES} processes run tests on this machine; no ports are left for one more")


def free_port() -> int:
    """Return a loopback TCP port that nobody uses, outside the range of outgoing connections.

    A port of that range could be taken by any connection while its server is down, even by the connection
    to it: Linux lets a socket connect to itself. A port is given long before somebody listens on it: each
    process that runs tests draws from a share of its own, and gives none again before all others.
    """
    share, _ = _share()
    while True:
        port = 20000 + share + SHARES * (next(_draws) % _PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Process:
    """A command that runs in the background; its output is appended to ``log``."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.popen: subprocess.Popen[bytes] | None = None
        self.started_at = 0
        """Bytes of the log when the process was last started."""

    def launch(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start ``command``; ``env`` is added to the environment."""
        assert not self.running, f"{self.name} runs already"
        self.started_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
            )

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.popen is not None and self.popen.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.popen is not None, f"{self.name} was not started"
        return self.popen.pid

    def hang(self) -> None:
        """Stop it with SIGSTOP: the kernel still takes what is sent to it, and it answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after `hang`."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait(10)

    def stop(self, timeout: float = 15.0) -> int:
        """End it with SIGTERM and return its exit code; one that does not go is killed and fails the test."""
        if self.popen is None:
            return 0
        self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout} s of SIGTERM") from None

    def wait(self, timeout: float = 10.0) -> int:
        """Wait for it to end by itself; return its exit code."""
        assert self.popen is not None, f"{self.name} was not started"
        return self.popen.wait(timeout)

    def said(self, *, since_start: bool = False) -> str:
        """Return what it wrote, all of it or only since its last start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(self.started_at if since_start else 0)
            return file.read().decode(errors="backslashreplace")

    def memory(self) -> int:
        """Return the bytes of memory it holds now [proc(5), status, VmRSS]."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024

    def end(self) -> None:
        """End it, politely if it goes; for teardown."""
        with contextlib.suppress(AssertionError):
            self.stop(5)


class Keeper:
    """Ends everything that a test started, newest first, and keeps what it said."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self._ends: list[Callable[[], None]] = []

    def keep(self, process: Process) -> None:
        """End ``process`` when the test is over."""
        self.processes.append(process)
        self._ends.append(process.end)

    def finally_(self, end: Callable[[], None]) -> None:
        """Call ``end`` when the test is over."""
        self._ends.append(end)

    def close(self) -> None:
        """End everything."""
        with contextlib.ExitStack() as stack:
            for end in self._ends:
                stack.callback(end)
        self._ends.clear()

    def tails(self) -> list[tuple[str, str]]:
        """Return (name, last lines) of each process."""
        return [
            (f"{each.name} said", "\n".join(each.said().splitlines()[-_TAIL:])) for each in self.processes
        ]
