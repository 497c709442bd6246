"""A child process whose output is read line by line, and leftover processes of its kind."""

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from bridge.errors import LinkError
from bridge.protocol.ppp.dial import ours
from bridge.protocol.ppp.pppd_log import Lines

READ = 65536
"""Bytes of one read: what a pipe holds."""

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
"""The child's whole environment: its messages are parsed, so they must come in one language."""

LAST_WAIT = 5.0
"""Seconds that the kernel may need to end a process after SIGKILL."""


class Child:
    """One process in a group of its own; lives in the event loop's thread.

    ``ended`` gets the exit code, negative for a signal, when the process is gone and its lines are read. Its
    own children are ended with it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        command: Callable[[str | None], list[str]],
        secrets: bytes | None,
        on_line: Callable[[str], None],
        on_end: Callable[[int], None],
    ) -> None:
        """Start ``command``, a function of the path of a file that holds ``secrets``; raises OSError."""
        self._loop = loop
        self._on_line = on_line
        self._on_end = on_end
        self._lines = Lines()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._process = _start(command, secrets)
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._output, self._readable)
        loop.add_reader(self._pidfd, self._gone)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def _readable(self) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = os.read(self._output, READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._output)
        for line in self._lines.feed(data):
            self._on_line(line)
        return bool(data)

    def _gone(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            # A chat script would keep the port open. Killed before the wait, because until then the pid is
            # ours.
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        while self._readable():
            pass
        for line in self._lines.close():
            self._on_line(line)
        self._loop.remove_reader(self._output)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.ended.set_result(code)
        self._on_end(code)

    async def end(self, grace: float, patience: float = 0.0) -> None:
        """End the process with SIGTERM, and after ``grace`` seconds with SIGKILL; return when it is gone.

        Before the SIGTERM it has ``patience`` seconds to end by itself.
        """
        if patience:
            await asyncio.wait({self.ended}, timeout=patience)
        for number, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, LAST_WAIT)):
            if self.ended.done():
                break
            self._process.send_signal(number)
            await asyncio.wait({self.ended}, timeout=wait)
        await self._alone()

    async def _alone(self) -> None:
        """Wait until the process's own children are gone too: a killed chat script may hold the port."""
        with contextlib.suppress(ProcessLookupError, PermissionError, TimeoutError):
            async with asyncio.timeout(LAST_WAIT):
                while True:
                    os.killpg(self._process.pid, 0)
                    await asyncio.sleep(0.01)


def _start(command: Callable[[str | None], list[str]], secrets: bytes | None) -> "subprocess.Popen[bytes]":
    """Start the process; its secrets are in memory that only it inherits, never on disk."""
    keep: tuple[int, ...] = ()
    if secrets is not None:
        descriptor = os.memfd_create("options", 0)
        os.write(descriptor, secrets)
        keep = (descriptor,)
    try:
        return subprocess.Popen(  # noqa: S603  a program and values of ours
            command(f"/proc/self/fd/{keep[0]}" if keep else None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            pass_fds=keep,
            start_new_session=True,
        )
    finally:
        for descriptor in keep:
            os.close(descriptor)


def left_over(proc: Path = Path("/proc")) -> list[tuple[int, int]]:
    """Return (pid, pidfd) of each pppd of ours whose owner is gone; the caller closes the pidfds.

    Raises:
        LinkError: the owner of one still runs: another process of ours keeps the link.

    """
    found: list[tuple[int, int]] = []
    try:
        for folder in _processes(proc):
            with contextlib.suppress(OSError, ValueError):
                pidfd = _if_left_over(folder)
                if pidfd is not None:
                    found.append((int(folder.name), pidfd))
    except LinkError:
        for _, pidfd in found:
            os.close(pidfd)
        raise
    return found


def _processes(proc: Path) -> list[Path]:
    return [folder for folder in proc.iterdir() if folder.name.isdecimal()]


def _if_left_over(folder: Path) -> int | None:
    """Return a pidfd of the process if it is an ownerless pppd of ours; the pidfd pins its identity."""
    if ours((folder / "cmdline").read_bytes()) is None:
        return None
    pidfd = os.pidfd_open(int(folder.name))
    try:
        mine = ours(
            (folder / "cmdline").read_bytes()
        )  # again: the number may have had another process before
        if mine and folder.stat().st_uid == os.geteuid():
            status = (folder / "status").read_text()
            parent = int(status.partition("PPid:")[2].split()[0])
            if parent == mine.owner and parent != os.getpid():
                raise LinkError(f"another hologram-bridge (pid {parent}) keeps the link")
            kept, pidfd = pidfd, -1
            return kept
    finally:
        if pidfd >= 0:
            os.close(pidfd)
    return None


async def end_process(loop: asyncio.AbstractEventLoop, pidfd: int, grace: float) -> None:
    """End a process that is not our child: SIGTERM, and after ``grace`` seconds SIGKILL."""
    gone: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pidfd, _settle, gone)
    try:
        for number, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, LAST_WAIT)):
            if not gone.done():
                _signal(pidfd, number)
                await asyncio.wait({gone}, timeout=wait)
    finally:
        loop.remove_reader(pidfd)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _signal(pidfd: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except OSError as exc:
        if exc.errno != errno.ESRCH:
            raise LinkError(f"a pppd that was left over cannot be ended: {exc.strerror}") from exc
