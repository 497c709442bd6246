"""Checks of the machine: its clock, its disk, its memory, its power."""

import ctypes
import os
import shlex
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bridge.doctor.context import Context, text_of
from bridge.doctor.finding import Finding, fail, ok, skipped, warn
from bridge.store.space import SHARE, WATERMARK

TIME_ERROR = 5  # the clock is not synchronised [adjtimex(2)]
_CLOCK_UNITS = ("chrony.service", "ntpsec.service", "openntpd.service", "ntp.service")
"""Debian's time services beside timesyncd; timedatectl does not know all of them."""

_TIMEX_SIZE = 512
"""Number of bytes, more than struct timex has anywhere; zeros mean: change nothing."""

SLOW_SYNC, AWFUL_SYNC = 0.1, 1.0
"""Slow and very slow median writes, in seconds; an SD card needs 10 to 50 ms."""

LEAST_MEMORY = 48 * 1024 * 1024
HOT = 80.0
"""Degrees Celsius at which a Raspberry Pi slows down [Raspberry Pi documentation, "Thermal control"]."""


def clock(context: Context) -> Finding:
    """Check that the time is plausible, and that a service keeps it right."""
    from bridge.core.known_time import PLAUSIBLE

    totp = context.settings.cloud.auth == "totp"
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    fix = _setting_the_clock(context.usr)
    if now < PLAUSIBLE:
        text = f"the time here is {shown}: the clock was never set"
        return fail("clock", f"{text}; the cloud refuses time-based codes" if totp else text, fix)
    synchronised = _synchronised()
    if synchronised is False:
        text = f"{shown}, and no service keeps it right"
        return (fail if totp else warn)("clock", text, fix)
    return ok("clock", f"{shown}{', synchronised' if synchronised else ''}")


def _setting_the_clock(usr: Path) -> str:
    """Return the command that sets the clock here [systemd-timedated.service(8), ntp-units.d]."""
    lists = sorted((usr / "lib/systemd/ntp-units.d").glob("*.list"))
    known = [unit for path in lists for unit in path.read_text(errors="replace").split()]
    there = [unit for unit in (*known, *_CLOCK_UNITS) if (usr / "lib/systemd/system" / unit).is_file()]
    if not there:
        return "sudo apt install systemd-timesyncd"
    if there[0] in known:
        return f"sudo timedatectl set-ntp true, which starts {there[0]}; timedatectl shows the outcome"
    return f"sudo systemctl enable --now {there[0]}; systemctl status {there[0]} shows the outcome"


def _synchronised() -> bool | None:
    """Return whether the kernel's clock is synchronised; None if the kernel does not say."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


def disk(context: Context) -> Finding:
    """Check that the outbox has room."""
    store = context.settings.store
    folder = store.path.parent
    if not folder.is_dir():
        fix = f"the bridge creates it at its start if it may; otherwise: {_folder_for_it(folder)}"
        return warn("disk", f"{folder} does not exist yet", fix)
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    seen = f"{_size(free)} free at {folder}"
    if space.f_flag & os.ST_RDONLY:
        return fail(
            "disk",
            f"{folder} is on a file system that is read-only",
            "look for errors in dmesg; replace a worn card",
        )
    least = min(WATERMARK, space.f_blocks * space.f_frsize // SHARE)
    if free < least:
        needed = f"free some space there: {_size(least)} must stay free"
        return fail("disk", f"{seen}: the bridge takes no messages, or soon will not", needed)
    used = store.path.stat().st_size if store.path.exists() else 0
    if free + used < store.max_bytes + least:
        seen += f"; the outbox may grow to {_size(store.max_bytes)}"
        return warn("disk", seen, "free some space, or lower store.max_bytes")
    return ok("disk", seen + _reserve(store.path))


def _folder_for_it(folder: Path) -> str:
    make = f"sudo install -d -o hologram -g hologram -m 750 {shlex.quote(str(folder))}"
    return f"{make}, and ReadWritePaths={folder} below [Service] in sudo systemctl edit hologram-bridge"


def speed(context: Context) -> Finding:
    """Check that a write becomes durable fast enough."""
    folder = context.settings.store.path.parent
    if not folder.is_dir():
        return skipped("write speed", f"{folder} does not exist yet")
    try:
        latency = _sync_latency(folder)
    except OSError as exc:
        return skipped(
            "write speed", f"this user cannot write to {folder}: {exc.strerror}", "run it with sudo"
        )
    seen = f"{1000 * latency:.1f} ms until a small write is durable"
    if latency >= AWFUL_SYNC:
        return fail("write speed", seen, "the card is worn or overloaded: replace it, or move store.path")
    if latency >= SLOW_SYNC:
        return warn("write speed", seen, "use a faster card, or put store.path on a USB disk")
    return ok("write speed", seen)


def _reserve(store: Path) -> str:
    reserve = store.with_name(store.name + ".reserve")
    return f", {_size(reserve.stat().st_size)} held in reserve" if reserve.exists() else ""


def _sync_latency(folder: Path) -> float:
    """Return the median of some small durable writes, in seconds."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(7):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def memory(context: Context) -> Finding:
    """Check that memory is left; report the bridge's share."""
    try:
        lines = (context.proc / "meminfo").read_text().splitlines()
        values = {
            name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)
        }
        available, total = values["MemAvailable"], values["MemTotal"]
    except (OSError, KeyError, ValueError):
        return skipped("memory", "the kernel does not say")
    daemon = context.daemon
    used = daemon.stats["memory"] if daemon and daemon.stats else None
    seen = f"{_size(available)} of {_size(total)} available"
    seen += f"; the bridge holds {_size(used)}" if used else ""
    if available < LEAST_MEMORY:
        return warn("memory", seen, "find the largest program: ps aux --sort=-rss | head")
    return ok("memory", seen)


def power(context: Context) -> Finding | None:
    """Check a Raspberry Pi's supply and temperature; None on other machines."""
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    throttled = _vcgencmd(command, "get_throttled")
    heat = text_of(context.sys / "class/thermal/thermal_zone0/temp")
    degrees = int(heat) / 1000 if heat.isdecimal() else None
    if throttled is None:
        return None
    bits = int(throttled, 16)
    # Bit 0: under-voltage now, 16: since the start [Raspberry Pi documentation, vcgencmd get_throttled].
    if bits & 0x1:
        return fail(
            "power",
            "the supply voltage is too low now",
            "use a stronger power supply; the modem alone draws up to 2 A",
        )
    if bits & 0x10000:
        return warn(
            "power",
            "the supply voltage was too low at some time since the start",
            "use a stronger power supply",
        )
    if degrees is not None and degrees >= HOT:
        return warn("power", f"{degrees:.0f} °C", "give it more air")
    return ok("power", "voltage good" + (f", {degrees:.0f} °C" if degrees is not None else ""))


def _vcgencmd(command: str, what: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 the system's own program, with fixed arguments
            [command, what], capture_output=True, text=True, timeout=5, check=True
        )
        _, _, value = done.stdout.strip().partition("=")
        int(value, 16)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return value


def _size(number: float) -> str:
    for unit in ("bytes", "kB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.0f} MB" if number < 10000 else f"{number / 1000:.0f} GB"
