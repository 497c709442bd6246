"""A disk that hangs or fails: a program's syncs wait until they are let go, or end in an error.

Linux hands each `fsync` and `fdatasync` of the program to us, and holds its thread meanwhile
[seccomp_unotify(2)]; no root is needed, nor a disk. As a program this module sets that up for the command
that it becomes. SQLite and nothing else here writes by `pwrite64` and reads by `pread64`: a disk that fails
has those handed over, too.
"""

import ctypes
import fcntl
import os
import platform
import select
import socket
import struct
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_CALLS = {
    "x86_64": (317, 74, 75, 18, 17),
    "aarch64": (277, 82, 83, 68, 67),
    "armv7l": (383, 118, 148, 181, 180),
}
"""The numbers of `seccomp`, `fsync`, `fdatasync`, `pwrite64` and `pread64` by machine [linux, syscall
tables]."""

_NEW_PRIVILEGES, _FILTER, _LISTENER = 38, 1, 8  # PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, its flag
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV and _SEND
_NOTICE = struct.Struct("=QIIi60x")  # its id, process and flags, and the number of the call
_GO_ON = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE


class HungDisk:
    """Holds the syncs of the program that `wrap` runs while it hangs."""

    calls = 2
    """How many kinds of calls are handed over."""

    def __init__(self, folder: Path) -> None:
        self._errors: dict[int, int] = {}
        self.path = folder / "disk"
        """The socket by which the program hands its syncs over."""
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen()
        self._works = threading.Event()
        self._works.set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.waiting = 0
        """Syncs that are held now."""
        self._thread.start()

    @property
    def wrap(self) -> Sequence[str]:
        """What to put before a command; run where `tests` can be imported."""
        return [sys.executable, "-m", "tests.harness.hung_disk", str(self.path), str(self.calls)]

    def hang(self) -> None:
        """Hold every sync from now on."""
        self._works.clear()

    def go_on(self) -> None:
        """Let them go."""
        self._works.set()

    def close(self) -> None:
        """Let everything go, and hold nothing any more."""
        self._over.set()
        self._works.set()
        self._thread.join(10)
        self._server.close()

    def _serve(self) -> None:
        self._server.settimeout(0.1)
        while not self._over.is_set():
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            with connection:
                _, (listener, *_), _, _ = socket.recv_fds(connection, 1, 1)
            try:
                self._supervise(listener)
            finally:
                os.close(listener)

    def _supervise(self, listener: int) -> None:
        """Answer until the program is gone."""
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while not self._over.is_set():
            for _, event in poll.poll(100):
                if not event & select.POLLIN:
                    return
                self._answer(listener)

    def _answer(self, listener: int) -> None:
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, notice)
            self.waiting += 1
            self._works.wait()
            number, *_, call = _NOTICE.unpack(notice)
            error = self._errors.get(call, 0)
            fcntl.ioctl(listener, _SEND, struct.pack("=QqiI", number, 0, -error, 0 if error else _GO_ON))
        except FileNotFoundError:
            pass  # whoever called is gone
        finally:
            self.waiting = 0


class FailingDisk(HungDisk):
    """Has the calls of the program fail as well; each read and write takes longer, to ask us."""

    calls = 4

    def fail_writes(self, error: int) -> None:
        """Have every write and sync end in ``error`` from now on."""
        self._errors = dict.fromkeys(_CALLS[platform.machine()][1:4], error)

    def fail_reads(self, error: int) -> None:
        """Have every read end in ``error`` from now on."""
        self._errors = {_CALLS[platform.machine()][4]: error}

    def mend(self) -> None:
        """Have all calls go well again."""
        self._errors = {}


def _filter(*calls: int) -> bytes:
    """Return the filter that notifies of ``calls``: load the call's number, compare, allow or notify."""
    steps = [(0x20, 0, 0, 0)]
    steps += [(0x15, len(calls) - place, 0, call) for place, call in enumerate(calls)]
    return b"".join(
        struct.pack("HBBI", *step) for step in (*steps, (0x06, 0, 0, _ALLOW), (0x06, 0, 0, _NOTIFY))
    )


def main(path: str, number: str, *command: str) -> None:
    """Have ``number`` kinds of calls of ``command`` held by whoever listens at ``path``, and become it."""
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp, *calls = _CALLS[platform.machine()]
    program = _filter(*calls[: int(number)])
    memory = ctypes.create_string_buffer(program, len(program))
    described = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(memory)))
    libc.prctl(_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener = libc.syscall(seccomp, _FILTER, _LISTENER, described)
    if listener < 0:
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
    with socket.socket(socket.AF_UNIX) as supervisor:
        supervisor.connect(path)
        socket.send_fds(supervisor, [b"x"], [listener])
    os.close(listener)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
