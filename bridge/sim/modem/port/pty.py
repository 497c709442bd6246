"""One serial port as a pty, seen from the modem's side.

While no process has the slave open, reading the master fails with EIO and ``poll`` reports POLLHUP; this
decides. inotify on the slave's device reports when to check, so that a closed port costs nothing. It also
reports a host that closed and reopened the port between two checks.

[inotify(7), pty(7)]
"""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import struct
import termios
import tty
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bridge.errors import OperationError

_IN_MODIFY: Final = 0x002
IN_CLOSE: Final = 0x018
IN_OPEN: Final = 0x020
_EVENT: Final = struct.Struct("iIII")
_LONGEST_QUEUE: Final = 1 << 20
"""Bytes kept for a host that does not read; further bytes are lost, as in a modem's own buffer."""


class Watch:
    """Reports the opening, closing and modification of files in their order.

    The kernel merges equal consecutive events, so their number is not exact.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OperationError(
                f"inotify: {os.strerror(ctypes.get_errno())}; raise fs.inotify.max_user_instances"
            )
        self._callbacks: dict[int, Callable[[list[int]], None]] = {}
        loop.add_reader(self._fd, self.look)

    def add(self, path: str, callback: Callable[[list[int]], None]) -> int:
        """Call ``callback`` with the event masks of ``path``; return a handle for `drop`."""
        handle: int = self._libc.inotify_add_watch(
            self._fd, os.fsencode(path), IN_OPEN | IN_CLOSE | _IN_MODIFY
        )
        if handle < 0:
            raise OperationError(f"{path}: {os.strerror(ctypes.get_errno())}; it cannot be watched")
        self._callbacks[handle] = callback
        return handle

    def drop(self, handle: int) -> None:
        """Stop watching."""
        self._callbacks.pop(handle, None)
        self._libc.inotify_rm_watch(self._fd, handle)

    def close(self) -> None:
        """Stop watching everything."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def look(self) -> None:
        """Call the callbacks for all events until now."""
        try:
            events = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        at = 0
        seen: dict[int, list[int]] = {}
        while at < len(events):
            handle, mask, _cookie, name = _EVENT.unpack_from(events, at)
            at += _EVENT.size + name
            seen.setdefault(handle, []).append(mask)
        for handle, masks in seen.items():
            if callback := self._callbacks.get(handle):
                callback(masks)


class PtyPort:
    """A port that exists between `plug` and `unplug`, each time as another device behind the same link.

    ``on_data``, ``on_open`` and ``on_close`` are called from the loop.
    """

    def __init__(
        self,
        watch: Watch,
        loop: asyncio.AbstractEventLoop,
        link: Path | None,
        *,
        on_data: Callable[[bytes], None],
        on_open: Callable[[], None],
        on_close: Callable[[], None],
    ) -> None:
        self.link = link
        self.device = ""
        self.is_open = False
        """Whether a host has the slave open."""
        self._watch = watch
        self._loop = loop
        self._on_data = on_data
        self._on_open = on_open
        self._on_close = on_close
        self._master = -1
        self._reserve: tuple[int, str] | None = None
        self._handle = -1
        self._openings = 0
        self._queue = bytearray()

    @property
    def path(self) -> str:
        """Path for the user: the link, or the device without a link."""
        return str(self.link or self.device)

    # -- plugging ----------------------------------------------------------------------------------------

    def plug(self) -> None:
        """Create the device and its link.

        Raises:
            OperationError: the link cannot be created.

        """
        self._master, self.device = self._reserve or _new_pty()
        self._reserve = None
        self._handle = self._watch.add(self.device, self._look)
        try:
            self._make_link()
        except OperationError:
            self.unplug(last=True)
            raise

    def unplug(self, *, last: bool = False) -> None:
        """Remove the device; a host sees a hang-up. Reserve the next device unless ``last``."""
        if last and self._reserve:
            os.close(self._reserve[0])
            self._reserve = None
        if self._master < 0:
            return
        self._watch.drop(self._handle)
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        self._remove_link()
        if not last:
            self._reserve = _new_pty()  # created before the old one closes, so that its name differs
        master, self._master = self._master, -1
        self._openings = 0
        os.close(master)
        self._closed()

    def _make_link(self) -> None:
        if self.link is None:
            return
        fresh = self.link.with_name(f".{self.link.name}.new")
        try:
            if self.link.exists() and not self.link.is_symlink():
                raise OperationError(f"--link: {self.link} exists and is no link; name another path")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self.device)
            fresh.replace(self.link)
        except OSError as error:
            raise OperationError(f"--link: {self.link}: {error.strerror}") from None

    def _remove_link(self) -> None:
        if self.link is not None:
            with contextlib.suppress(OSError):
                if self.link.readlink() == Path(self.device):
                    self.link.unlink()

    # -- open and closed ---------------------------------------------------------------------------------

    def _look(self, masks: Sequence[int] = ()) -> None:
        """Check whether a host has the slave open, or has closed and reopened it."""
        for mask in masks:
            if mask & IN_CLOSE:
                self._openings = max(0, self._openings - 1)
            elif mask & IN_OPEN:
                if self.is_open and not self._openings:
                    self._reopened()
                self._openings += 1
        if self._master < 0 or self.is_open or self._nobody():
            return
        self.is_open = True
        self._openings = self._openings or 1
        self._loop.add_reader(self._master, self._read)
        self._on_open()

    def _nobody(self) -> bool:
        """Whether no host has the slave open, and all data of the last host is read."""
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        events = dict(poll.poll(0)).get(self._master, 0)
        return bool(events & select.POLLHUP) and not events & select.POLLIN

    def _read(self) -> None:
        self._watch.look()  # before reading, because the bytes may come from a new host
        if self._master < 0:
            return
        try:
            data = os.read(self._master, 65536)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._loop.remove_reader(self._master)
            self._loop.remove_writer(self._master)
            self._openings = 0
            self._clean()
            self._closed()
            self._look()
            return
        self._on_data(data)

    def _reopened(self) -> None:
        with contextlib.suppress(OSError):
            slave = os.open(self.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            termios.tcflush(slave, termios.TCIFLUSH)
            os.close(slave)
        self._queue.clear()
        self._on_close()
        self._on_open()

    def _closed(self) -> None:
        self._queue.clear()
        if self.is_open:
            self.is_open = False
            self._on_close()

    def _clean(self) -> None:
        """Discard unread data, and an exclusive lock (TIOCEXCL) of the last host.

        A real port's driver does so at the last close. For a pty the kernel keeps both while the master is
        open. Where the lock prevents even this process from opening the slave, a new pty replaces it.
        """
        try:
            slave = os.open(self.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            if self._nobody():
                self._replace()
            return
        fcntl.ioctl(slave, termios.TIOCNXCL)
        termios.tcflush(slave, termios.TCIFLUSH)
        os.close(slave)

    def _replace(self) -> None:
        self._watch.drop(self._handle)
        self._remove_link()
        os.close(self._master)
        self._master, self.device = _new_pty()
        self._handle = self._watch.add(self.device, self._look)
        self._make_link()

    # -- writing -----------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send to the host that has it open; without one the data is lost, as on a real port."""
        if not self.is_open or not data:
            return
        if not self._queue:
            data = data[self._push(data) :]
            if data and self._master >= 0:
                self._loop.add_writer(self._master, self._drain)
        self._queue += data[: max(0, _LONGEST_QUEUE - len(self._queue))]

    def _push(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._master, data)
        except OSError:
            return 0

    def _drain(self) -> None:
        del self._queue[: self._push(self._queue)]
        if not self._queue:
            self._loop.remove_writer(self._master)


def _new_pty() -> tuple[int, str]:
    """Return a non-blocking master and its slave's device, in raw mode as a modem's port begins."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)
        return master, os.ttyname(slave)
    finally:
        os.close(slave)
