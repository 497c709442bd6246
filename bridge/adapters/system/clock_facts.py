"""What the box tells about its wall clock: the kernel's word, a hardware clock, a time service.

Everything is read from the kernel and its file systems, so no process is started. The shipped unit hides the
processes of other users (``ProtectProc=invisible``) and not the control groups, which have a folder for each
unit that runs.
"""

import ctypes
from contextlib import suppress
from pathlib import Path

from bridge.core.known_time import PLAUSIBLE, ClockFacts

STA_UNSYNC = 0x0040
"""Status bit of a clock that is not synchronised [linux/timex.h]."""

SERVICES = ("systemd-timesyncd", "chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd")
"""Units of the time services on Debian and its relatives."""

PROCESSES = {"systemd-timesyn", "chronyd", "ntpd"}
"""Their processes as ``/proc/<pid>/comm`` has them, cut to 15 characters [proc(5)]."""


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex`` [adjtimex(2)], and room for its rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def read_facts(root: Path = Path("/")) -> ClockFacts:
    """Return the facts about the wall clock; ``root`` is where the file systems are."""
    return ClockFacts(is_synchronised(), has_hardware_clock(root), has_time_service(root))


def is_synchronised() -> bool:
    """Return whether the kernel calls the clock synchronised; False where it may not be asked."""
    timex = _Timex()  # all zeros: `modes` 0 reads and sets nothing
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return False
    return state >= 0 and not timex.status & STA_UNSYNC


def has_hardware_clock(root: Path) -> bool:
    """Return whether there is a hardware clock.

    One whose battery is empty does not count: it begins in 1970 or 2000, or the kernel refuses to read it.
    """
    clocks = sorted(root.glob("sys/class/rtc/rtc*"))
    return any(map(_holds_time, clocks)) if clocks else any(root.glob("dev/rtc*"))


def _holds_time(clock: Path) -> bool:
    with suppress(OSError, ValueError):
        return int((clock / "since_epoch").read_text()) >= PLAUSIBLE
    return False


def has_time_service(root: Path) -> bool:
    """Return whether a time service runs."""
    groups = [root / "sys/fs/cgroup/system.slice", root / "sys/fs/cgroup/systemd/system.slice"]
    if any((group / f"{name}.service").is_dir() for group in groups for name in SERVICES):
        return True
    return any(_command(process) in PROCESSES for process in root.glob("proc/[0-9]*/comm"))


def _command(process: Path) -> str:
    with suppress(OSError):  # it has ended meanwhile
        return process.read_text(errors="replace").strip()
    return ""
