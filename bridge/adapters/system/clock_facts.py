"""What the box tells about its wall clock: the kernel's word, a hardware clock, a time service.

The shipped unit does not let us ask the kernel: ``ProtectClock=yes`` refuses adjtimex(2) whole, and not only
to set the clock. The file of systemd-timesyncd, and systemd-timedated over D-Bus, tell its word then.
The unit also hides the processes of other users (``ProtectProc=invisible``). It does not hide the control
groups, which have a folder for each unit that runs.
"""

import asyncio
import ctypes
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bridge.adapters.system.threads import in_thread
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


SYNCHRONISED = "run/systemd/timesync/synchronized"
"""systemd-timesyncd makes this file when it has set the clock in this boot [systemd-timesyncd.service(8)]."""

TIMEDATE = "org.freedesktop.timedate1"
ANSWER_WITHIN = 30.0
"""Seconds for systemd-timedated's answer, which the bus may start first. They are also the time between two
questions, so that a box that never learns the time starts few processes."""


def ask_kernel() -> bool | None:
    """Return whether the kernel calls the clock synchronised; None where it may not be asked."""
    timex = _Timex()  # all zeros: `modes` 0 reads and sets nothing
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else not timex.status & STA_UNSYNC


def read_facts(root: Path = Path("/")) -> ClockFacts:
    """Return the facts for a process that may ask the kernel."""
    return ClockFacts(bool(ask_kernel()), has_hardware_clock(root), has_time_service(root))


def ask_service(program: str = "busctl") -> bool:
    """Return the kernel's word as systemd-timedated passes it on.

    It is the property NTPSynchronized [org.freedesktop.timedate1(5)].
    False without an answer. Waits up to `ANSWER_WITHIN` seconds.
    """
    place = "/" + TIMEDATE.replace(".", "/")
    command = [program, "--system", "get-property", TIMEDATE, place, TIMEDATE, "NTPSynchronized"]
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(  # noqa: S603  our own words
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=ANSWER_WITHIN
        )
        return said.returncode == 0 and said.stdout.strip() == b"b true"
    return False


class ClockSource:
    """Reads the facts about the wall clock; lives in the event loop's thread and never blocks it for long."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        root: Path = Path("/"),
        *,
        kernel: Callable[[], bool | None] = ask_kernel,
        program: str = "busctl",
    ) -> None:
        """``root`` is where the file systems are, ``program`` asks systemd-timedated.

        ``kernel`` returns the kernel's word; None where it may not be asked.
        """
        self._loop = loop
        self._root = root
        self._kernel = kernel
        self._program = program
        self._told = False
        """The last answer of systemd-timedated."""
        self._ask_at = -ANSWER_WITHIN

    def read(self) -> ClockFacts:
        """Return the facts as far as they are known at once."""
        hardware, service = has_hardware_clock(self._root), has_time_service(self._root)
        synchronised = self._kernel()
        if synchronised is None:
            synchronised = (self._root / SYNCHRONISED).exists() or self._told
            if not (synchronised or hardware) and service:
                self._ask_service()
        return ClockFacts(synchronised, hardware, service)

    def _ask_service(self) -> None:
        """Ask systemd-timedated; its answer counts at a later look."""
        if self._loop.time() - self._ask_at < ANSWER_WITHIN:
            return
        self._ask_at = self._loop.time()

        def told(future: "asyncio.Future[bool]") -> None:
            self._told = future.result()

        in_thread(self._loop, lambda: ask_service(self._program)).add_done_callback(told)


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
