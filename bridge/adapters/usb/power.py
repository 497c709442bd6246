"""The power of a modem's USB port: switched by this process if it may, else through systemd.

``hologram-usb-power@PLACE.service`` runs ``hologram-bridge usb-power``, which takes only the place on the
bus, and checks it again.
"""

import asyncio
import re

from bridge.adapters.system import units
from bridge.adapters.usb import sysfs as usb
from bridge.core.modem import Place
from bridge.errors import OperationError

UNIT = "hologram-usb-power@{}.service"

TIMEOUT = 45.0
"""Seconds for the unit to finish, which has 30 itself."""

_PLACE = re.compile(r"[0-9]{1,3}-[0-9]{1,3}(\.[0-9]{1,3}){0,6}")
"""Bus and port, and the port of each hub between [Linux, Documentation/ABI/stable/sysfs-bus-usb]."""


def check_place(place: str) -> None:
    """Raise `OperationError` unless ``place`` is a device's place on the bus, such as ``1-1.2``."""
    if not _PLACE.fullmatch(place):
        raise OperationError(f"{place!r} is no place on the USB; it looks like 1-1.2")


def available() -> str | None:
    """Return why the unit cannot be used here, or None if it can."""
    return units.available(UNIT.format(""))


async def power_cycle(
    loop: asyncio.AbstractEventLoop, usb_path: str, *, program: str = "systemctl", timeout: float = TIMEOUT
) -> None:
    """Switch the device at ``usb_path`` off and on; done when it is on again.

    Raises:
        OperationError: the device could not be switched; the text says why.

    """
    check_place(usb_path)
    await units.start(loop, UNIT.format(usb_path), program=program, timeout=timeout)


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
