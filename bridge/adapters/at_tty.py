"""Opening and closing a tty for one owner, by pyserial, without waiting for a carrier."""

import contextlib
import fcntl
import os
import termios
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge.errors import ModemGone

if TYPE_CHECKING:
    from serial import Serial


def open_port(path: str, baud: int) -> "Serial":
    """Open the tty for one owner; raises ModemGone. May take as long as its driver likes.

    Locked twice: ``flock`` keeps those away that ask, ``TIOCEXCL`` all but root.
    """
    import serial

    try:
        port = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
    except (OSError, ValueError) as exc:  # pyserial's own error is an OSError
        raise ModemGone(f"cannot open {path}: {_reason(exc)}") from exc
    try:
        fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
        _no_empty_reads(port.fileno())
        termios.tcflush(port.fileno(), termios.TCIOFLUSH)
    except (OSError, termios.error) as exc:
        port.close()
        raise ModemGone(f"cannot open {path}: {_reason(exc)}") from exc
    return port


def _no_empty_reads(fd: int) -> None:
    """Make an empty read mean a hang-up: with VMIN 0, as pyserial sets it, it also means "nothing yet"."""
    attributes: list[Any] = termios.tcgetattr(fd)
    attributes[6][termios.VMIN] = 1
    attributes[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None) or (error.args[0] if isinstance(error, termios.error) else None)
    if number in (11, 16):  # EAGAIN of flock(2), EBUSY of TIOCEXCL
        return "another process uses it"
    return os.strerror(number) if isinstance(number, int) else str(error)


def release(fd: int) -> None:
    """Let go of a port at once: its closing may take its time."""
    for release in (
        partial(termios.tcflush, fd, termios.TCIOFLUSH),  # else the driver waits for a hung modem to take it
        partial(fcntl.ioctl, fd, termios.TIOCNXCL),
        partial(fcntl.flock, fd, fcntl.LOCK_UN),
    ):
        with contextlib.suppress(OSError, termios.error):
            release()


def drop_unwritten(fd: int) -> None:
    """Drop what the modem has not taken yet."""
    with contextlib.suppress(OSError, termios.error):
        termios.tcflush(fd, termios.TCOFLUSH)


def close_port(port: "Serial") -> None:
    """Close; may take as long as its driver likes."""
    with contextlib.suppress(OSError, termios.error):
        port.close()
