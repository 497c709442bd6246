"""The demo's child processes: their start and end."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bridge.errors import OperationError

STOP_WAIT = 5.0
"""Seconds from SIGTERM until a child is killed."""

START_WAIT = 60.0
"""Seconds for a child to become ready; on a busy machine Python takes ten to start."""

_LAST_LINES = 8

_PORTS = (10_000, 20_000)


class Child:
    """One process in a group of its own, so that Ctrl-C reaches the demo alone.

    ``name`` is for people; ``log`` gets its output.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._command = list(command)
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; raises `OperationError` where that fails."""
        try:
            with self._log.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: S603 the command is ours
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    process_group=0,
                )
        except OSError as error:
            raise OperationError(
                f"cannot start {self.name} ({self._command[0]}): {error.strerror}; run: make setup"
            ) from None

    def check(self) -> None:
        """Raise `OperationError` with the process's last lines if it has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
            lines = [f"{self.name} ended by itself ({how}); its last lines:", *self._last_lines()]
            raise OperationError("\n".join(lines))

    def stop(self) -> None:
        """End the process by SIGTERM, and by SIGKILL after `STOP_WAIT`. A second call changes nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_WAIT)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _last_lines(self) -> list[str]:
        lines = self._log.read_text(errors="backslashreplace").splitlines()[-_LAST_LINES:]
        return [f"  {line}" for line in lines] or ["  (it said nothing)"]


def find_mosquitto(environment: Mapping[str, str], *, sbin: str = "/usr/sbin:/usr/local/sbin:/sbin") -> str:
    """Return the broker's program: ``$MOSQUITTO``, or the first one in ``$PATH`` and ``sbin``.

    Debian keeps it in /usr/sbin, which is not in the path of ordinary users. Raises `OperationError`.
    """
    named = environment.get("MOSQUITTO")
    found = shutil.which(named or "mosquitto", path=f"{environment.get('PATH', '')}:{sbin}")
    if found is None:
        what = f"MOSQUITTO: {named} is no program" if named else "mosquitto is not installed"
        raise OperationError(f"{what}; run: make setup (or apt-get install mosquitto mosquitto-clients)")
    return found


def free_port() -> int:
    """Return a free port of the loopback interface.

    It is below Linux's range for outgoing connections [ip(7), ip_local_port_range]. One of those could take a
    port in the range before its server listens, even the connection that probes for the server.
    """
    while True:
        port = random.randrange(*_PORTS)  # noqa: S311 no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for_port(child: Child, port: int, *, seconds: float = START_WAIT) -> None:
    """Wait until ``child`` listens on ``port``; raises `OperationError` if it ends or takes too long."""

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return True
        return False

    wait_until(child, listens, f"does not listen on port {port}", seconds=seconds)


def wait_until(child: Child, ready: Callable[[], bool], lacking: str, *, seconds: float = START_WAIT) -> None:
    """Wait until ``child`` is ``ready``; raises `OperationError` if it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        child.check()
        if ready():
            return
        if time.monotonic() > deadline:
            raise OperationError(f"{child.name} {lacking} after {seconds:.0f} s")
        time.sleep(0.02)
