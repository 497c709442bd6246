"""A tty with one owner: bytes in, bytes out, opened and closed without waiting for a carrier.

pyserial opens and closes it, each in a thread of its own, because both may hang in the driver of a device
that is gone. Everything else runs in the event loop.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import termios
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge.adapters.system.threads import in_thread
from bridge.adapters.usb.sysfs import held_by
from bridge.errors import ModemGone

if TYPE_CHECKING:
    from serial import Serial

READ = 4096
"""Bytes of one read: what a tty holds."""

OPEN_TIMEOUT = 15.0
"""Seconds that the driver may take to open a port."""


class Tty:
    """One tty, open or closed; lives in the event loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_data: Callable[[bytes], None],
        on_broken: Callable[[str], None],
    ) -> None:
        """``on_broken`` gets the reason why an open tty is unusable; the owner then closes it."""
        self.path = ""
        self.generation = 0
        """A count of openings and closings; callbacks of an earlier generation are ignored."""
        self._loop = loop
        self._on_data = on_data
        self._on_broken = on_broken
        self._serial: Serial | None = None
        self._fd = -1
        self._out = bytearray()

    @property
    def is_open(self) -> bool:
        """Whether the tty can be read and written."""
        return self._fd >= 0

    async def open(self, path: str, baud: int) -> None:
        """Open the tty at ``path`` exclusively; raises `ModemGone` if it is missing or taken."""
        generation = self.generation
        opening = in_thread(self._loop, partial(open_port, path, baud))
        opening.add_done_callback(partial(self._close_late, generation))
        try:
            serial = await asyncio.wait_for(asyncio.shield(opening), OPEN_TIMEOUT)
        except TimeoutError:
            self.generation += 1
            raise ModemGone(
                f"cannot open {path}: its driver has not answered in {OPEN_TIMEOUT:g} s"
            ) from None
        except asyncio.CancelledError:
            self.generation += 1
            raise
        if generation != self.generation:  # closed, or opened again, while it was opened
            in_thread(self._loop, partial(close_port, serial))
            raise ModemGone(f"{path} was closed")
        self._serial, self._fd, self.path = serial, serial.fileno(), path
        self._loop.add_reader(self._fd, self._readable)

    def _close_late(self, generation: int, opening: "asyncio.Future[Serial]") -> None:
        """Close a port whose opener has given up waiting."""
        if opening.cancelled() or opening.exception() is not None:
            return
        if generation != self.generation:
            in_thread(self._loop, partial(close_port, opening.result()))

    def close(self) -> None:
        """Release the tty; does nothing if it is not open."""
        self.generation += 1
        fd, self._fd = self._fd, -1
        serial, self._serial = self._serial, None
        if serial is not None:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
            release(fd)
            in_thread(self._loop, partial(close_port, serial))
        self._out.clear()

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ)
        except BlockingIOError:
            return
        except OSError as exc:
            self._break(f"{self.path}: {exc.strerror}", self.generation)
            return
        if data:
            self._on_data(data)
        else:
            self._break(f"{self.path} was hung up", self.generation)

    def _break(self, reason: str, generation: int) -> None:
        if generation == self.generation and self.is_open:
            self._on_broken(reason)

    def write(self, data: bytes) -> None:
        """Write ``data`` as the tty accepts it; does nothing if the tty is not open."""
        if not data or not self.is_open:
            return
        blocked = bool(self._out)
        self._out += data
        if not blocked:
            self._writable()

    def _writable(self) -> None:
        try:
            while self._out:
                written = os.write(self._fd, self._out)
                del self._out[:written]
        except BlockingIOError:
            self._loop.add_writer(self._fd, self._writable)
            return
        except OSError as exc:
            self._out.clear()
            # Deferred, because the writer may be in the middle of an operation.
            self._loop.call_soon(self._break, f"{self.path}: {exc.strerror}", self.generation)
            return
        self._loop.remove_writer(self._fd)

    def drop_unwritten(self) -> None:
        """Drop bytes that a hung modem has not accepted: they must not reach it minutes later."""
        if self._out:
            self._out.clear()
            self._loop.remove_writer(self._fd)
        if self.is_open:
            drop_unwritten(self._fd)


def open_port(path: str, baud: int) -> "Serial":
    """Open the tty exclusively; raises ModemGone. Blocks as long as the driver does.

    Locked twice: ``flock`` excludes programs that check it, ``TIOCEXCL`` all but root. The error names the
    process that has the port.
    """
    import serial

    try:
        port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
    except (OSError, ValueError) as exc:  # pyserial's own error is an OSError
        raise ModemGone(f"cannot open {path}: {_reason(exc, path)}") from exc
    try:
        fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
        _no_empty_reads(port.fileno())
        termios.tcflush(port.fileno(), termios.TCIOFLUSH)
    except (OSError, termios.error) as exc:
        port.close()
        raise ModemGone(f"cannot open {path}: {_reason(exc, path)}") from exc
    return port


def _no_empty_reads(fd: int) -> None:
    """Make an empty read mean a hang-up: with VMIN 0, as pyserial sets it, it also means "nothing yet"."""
    attributes: list[Any] = termios.tcgetattr(fd)
    attributes[6][termios.VMIN] = 1
    attributes[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def _reason(error: Exception, path: str) -> str:
    number = getattr(error, "errno", None) or (error.args[0] if isinstance(error, termios.error) else None)
    if number in (11, 16):  # EAGAIN of flock(2), EBUSY of TIOCEXCL
        return f"{held_by(path) or 'another process'} uses it"
    if number == errno.EACCES:
        return f"{os.strerror(number)}; use sudo, or a user of the group dialout"
    return os.strerror(number) if isinstance(number, int) else str(error)


def release(fd: int) -> None:
    """Release a port at once; its closing goes on in a thread, because it may block."""
    for release in (
        partial(termios.tcflush, fd, termios.TCIOFLUSH),  # otherwise the driver waits for a hung modem
        partial(fcntl.ioctl, fd, termios.TIOCNXCL),
        partial(fcntl.flock, fd, fcntl.LOCK_UN),
    ):
        with contextlib.suppress(OSError, termios.error):
            release()


def drop_unwritten(fd: int) -> None:
    """Drop bytes that the modem has not accepted yet."""
    with contextlib.suppress(OSError, termios.error):
        termios.tcflush(fd, termios.TCOFLUSH)


def close_port(port: "Serial") -> None:
    """Close the port; blocks as long as the driver does."""
    with contextlib.suppress(OSError, termios.error):
        port.close()
