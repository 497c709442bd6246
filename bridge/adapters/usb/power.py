"""The power of a modem's USB port: switched by this process if it may, else through systemd.

``hologram-usb-power@PLACE.service`` runs ``hologram-bridge usb-power``, which takes only the place on the
bus, and checks it again.
"""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

from bridge.adapters.system.threads import in_thread
from bridge.adapters.usb import sysfs as usb
from bridge.core.modem import Place
from bridge.errors import OperationError

UNIT = "hologram-usb-power@{}.service"

UNIT_FOLDERS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))

TIMEOUT = 45.0
"""Seconds for the unit to finish, which has 30 itself."""

_PLACE = re.compile(r"[0-9]{1,3}-[0-9]{1,3}(\.[0-9]{1,3}){0,6}")
"""Bus and port, and the port of each hub between [Linux, Documentation/ABI/stable/sysfs-bus-usb]."""


def check_place(place: str) -> None:
    """Raise `OperationError` unless ``place`` is a device's place on the bus, such as ``1-1.2``."""
    if not _PLACE.fullmatch(place):
        raise OperationError(f"{place!r} is no place on the USB; it looks like 1-1.2")


def available(folders: tuple[Path, ...] = UNIT_FOLDERS) -> str | None:
    """Return why the unit cannot be used here, or None if it can."""
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").exists():
        return "systemd does not run here"
    if not any((folder / UNIT.format("")).exists() for folder in folders):
        return f"{UNIT.format('')} is not installed: sudo make install"
    return None


async def power_cycle(
    loop: asyncio.AbstractEventLoop, usb_path: str, *, program: str = "systemctl", timeout: float = TIMEOUT
) -> None:
    """Switch the device at ``usb_path`` off and on; done when it is on again.

    Raises:
        OperationError: the device could not be switched; the text says why.

    """
    check_place(usb_path)
    unit = UNIT.format(usb_path)
    code, said = await _systemctl(loop, program, timeout, "start", unit)
    if code == 0:
        return
    if "uthenti" in said or "denied" in said:
        raise OperationError(f"the bridge may not start {unit}: its polkit rule is missing ({said})")
    raise OperationError(f"{said or f'{unit} failed'}; journalctl -u {unit} says why")


def can_power_cycle_here(place: Place) -> bool:
    """Return whether the port of the modem at ``place`` can be switched, by this process or by the unit."""
    if place.usb is None:
        return False
    return usb.can_power_cycle(place.usb) or available() is None


async def power_cycle_here(loop: asyncio.AbstractEventLoop, place: Place) -> None:
    """Switch the modem at ``place`` off and on, by this process if it may; raises `OperationError`."""
    if place.usb is None:
        raise OperationError("the modem is no USB device that could be switched off and on")
    if usb.can_power_cycle(place.usb):
        await usb.power_cycle(place.usb)
    else:
        await power_cycle(loop, place.usb)


async def _systemctl(
    loop: asyncio.AbstractEventLoop, program: str, timeout: float, *words: str
) -> tuple[int, str]:
    command = [program, "--no-ask-password", *words]

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603  our own words, and a place that was checked
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout
        )

    try:
        done = await in_thread(loop, run)
    except subprocess.TimeoutExpired:
        raise OperationError(f"{words[-1]} was not done within {timeout:g} s") from None
    except OSError as exc:
        raise OperationError(f"{program} could not be run: {exc.strerror or exc}") from exc
    return done.returncode, next(iter(done.stderr.strip().splitlines()), "")
