"""Modems on the USB: found through sysfs, their ports by role, their power.

sysfs shows a device as ``bus/usb/devices/1-1.2`` with ``idVendor`` and ``idProduct``, and each of its
interfaces as ``1-1.2:1.0`` with ``bInterfaceNumber`` [Linux, Documentation/ABI/stable/sysfs-bus-usb]. A
usb-serial port is a folder ``ttyUSB0`` in its interface, a CDC-ACM port ``tty/ttyACM0``. Names such as
ttyUSB0 change on replug; the device's place on the bus and the links in ``/dev/serial/by-id`` do not.
"""

import asyncio
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from bridge.errors import OperationError
from bridge.protocol.modems import Profile

SYS = Path("/sys")
DEV = Path("/dev")
PROC = Path("/proc")
LOCKS = Path("/var/lock")

POWER_PAUSE = 3.0
"""Seconds without power, which a modem's capacitors need to discharge."""


class Port(NamedTuple):
    """A serial port of a USB device."""

    path: str
    interface: int
    kind: tuple[int, int, int]
    """Interface class, subclass and protocol."""


class Found(NamedTuple):
    """A modem and its ports; ``dial_port`` equals ``at_port`` where one port does both."""

    profile: Profile
    at_port: str
    dial_port: str
    usb_path: str | None
    """The modem's place on the bus, such as ``1-1.2``; None if it is no USB device."""
    by_id: tuple[str, ...] = ()
    """The stable names of the modem's ports."""
    serial: str | None = None
    """The device's own serial number."""


class Holder(NamedTuple):
    """A process that has a port open, or has locked it."""

    pid: int
    name: str


class _Device:
    """A USB device in sysfs."""

    def __init__(self, folder: Path, dev: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self._dev = dev

    @cached_property
    def usb_id(self) -> str:
        return f"{_text(self.folder / 'idVendor')}:{_text(self.folder / 'idProduct')}".lower()

    @property
    def serial(self) -> str | None:
        return _text(self.folder / "serial") or None

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        """The serial ports, by interface number."""
        found = []
        for interface in _entries(self.folder.parent):
            if interface.name.startswith(f"{self.name}:"):
                number = _hexadecimal(interface / "bInterfaceNumber")
                kind = (
                    _hexadecimal(interface / "bInterfaceClass"),
                    _hexadecimal(interface / "bInterfaceSubClass"),
                    _hexadecimal(interface / "bInterfaceProtocol"),
                )
                found += [Port(str(self._dev / tty), number, kind) for tty in _ttys(interface)]
        return tuple(sorted(found, key=lambda port: port.interface))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""


def _hexadecimal(path: Path) -> int:
    text = _text(path)
    return int(text, 16) if re.fullmatch(r"[0-9A-Fa-f]{1,4}", text) else -1


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _ttys(interface: Path) -> Iterator[str]:
    for entry in _entries(interface):
        if entry.name == "tty":
            yield from (child.name for child in _entries(entry))
        elif entry.name.startswith("tty"):
            yield entry.name


def _devices(sys: Path, dev: Path) -> Iterator[_Device]:
    for folder in _entries(sys / "bus/usb/devices"):
        if ":" not in folder.name and (folder / "idVendor").exists():
            yield _Device(folder, dev)


def find(profiles: Iterable[Profile], sys: Path = SYS, dev: Path = DEV) -> list[Found]:
    """Return the modems of ``profiles`` that have ports, by their place on the bus."""
    modems = (_as_modem(profile, device, dev) for profile, device in _known(profiles, sys, dev))
    return [found for found in modems if found is not None]


def portless(profiles: Iterable[Profile], sys: Path = SYS, dev: Path = DEV) -> list[tuple[Profile, str]]:
    """Return (profile, place on the bus) of known modems without a serial port: a driver is missing."""
    return [(profile, device.name) for profile, device in _known(profiles, sys, dev) if not device.ports]


def _known(profiles: Iterable[Profile], sys: Path, dev: Path) -> list[tuple[Profile, _Device]]:
    """Return the devices of ``profiles``; a profile that claims a USB id takes precedence over the others."""
    by_id: dict[str, Profile] = {}
    for profile in sorted(profiles, key=lambda profile: not profile.claims_usb_ids):
        for usb_id in profile.usb_ids:
            by_id.setdefault(usb_id, profile)
    return [(by_id[device.usb_id], device) for device in _devices(sys, dev) if device.usb_id in by_id]


def at_device(profile: Profile, path: str, sys: Path = SYS, dev: Path = DEV) -> Found:
    """Return the modem whose AT port is ``path``; the profile determines its other port.

    ``path`` is kept as given, even if it is a stable link. A port of no USB modem is accepted unchanged.
    """
    tty = Path(path).resolve()
    for device in _devices(sys, dev):
        if str(tty) in (port.path for port in device.ports):
            found = _as_modem(profile, device, dev) if device.usb_id in profile.usb_ids else None
            if found is None:
                links = _links(dev, [str(tty)])
                return Found(
                    profile=profile,
                    at_port=path,
                    dial_port=path,
                    usb_path=device.name,
                    by_id=links,
                    serial=device.serial,
                )
            dial = path if found.dial_port in (found.at_port, str(tty)) else found.dial_port
            return found._replace(at_port=path, dial_port=dial)
    return Found(profile, path, path, None)


def again(found: Found, sys: Path = SYS, dev: Path = DEV) -> Found | None:
    """Return the present place of a modem that was ``found`` before; None while it is missing.

    It is looked for by its stable names, then by its serial number, then at its place on the bus, then as the
    only one of its kind; if it has none of these, by its port.
    """
    for link in found.by_id:
        if Path(link).exists():
            return _same(found, at_device(found.profile, str(Path(link).resolve()), sys, dev), sys, dev)
    here = [one for one in find([found.profile], sys, dev) if one.usb_path is not None]
    for name in ("serial", "usb_path"):
        value = getattr(found, name)
        if value is not None and (same := [one for one in here if getattr(one, name) == value]):
            return same[0]
    if len(here) == 1 and found.usb_path is not None:
        return here[0]
    if Path(found.at_port).exists():
        return at_device(found.profile, found.at_port, sys, dev)
    return None


def _same(before: Found, now: Found, sys: Path, dev: Path) -> Found:
    """Return ``now`` with the profile's ports if it is a known device, else unchanged."""
    matching = [one for one in find([before.profile], sys, dev) if one.usb_path == now.usb_path]
    return matching[0] if matching else now


def _as_modem(profile: Profile, device: _Device, dev: Path) -> Found | None:
    """Assign the ports by what their interfaces report, else by number; None without a match."""
    if not device.ports:
        return None
    at = _port(profile, device.ports, "at", profile.at_interface)
    dial = _port(profile, device.ports, "dial", profile.dial_interface)
    at = at or dial or device.ports[0]
    paths = (at.path, (dial or at).path)
    links = _links(dev, [port.path for port in device.ports])
    return Found(profile, *paths, device.name, links, device.serial)


def _port(profile: Profile, ports: tuple[Port, ...], role: str, interface: int) -> Port | None:
    by_role = [port for port in ports if profile.usb_roles.get(port.kind) == role]
    by_number = [port for port in ports if port.interface == interface]
    return next(iter(by_role + by_number), None)


def _links(dev: Path, ports: Iterable[str]) -> tuple[str, ...]:
    targets = {str(Path(port).resolve()) for port in ports}
    return tuple(str(link) for link in _entries(dev / "serial/by-id") if str(link.resolve()) in targets)


# -- power -----------------------------------------------------------------------------------------------


def _switches(usb_path: str, sys: Path) -> list[tuple[Path, str, str]]:
    """Return (file, off, on) of each switch of a device: its hub's port, then the device itself.

    The port's ``disable`` cuts the power if the hub can; ``authorized`` only takes the device away from its
    drivers [Linux, Documentation/ABI/testing/sysfs-bus-usb].
    """
    device = sys / "bus/usb/devices" / usb_path
    return [
        (path, off, on)
        for path, off, on in ((device / "port/disable", "1", "0"), (device / "authorized", "0", "1"))
        if path.exists()
    ]


def can_power_cycle(usb_path: str | None, sys: Path = SYS) -> bool:
    """Return whether this process may switch the device off and on."""
    return usb_path is not None and any(os.access(path, os.W_OK) for path, _, _ in _switches(usb_path, sys))


async def power_cycle(usb_path: str, sys: Path = SYS, pause: float = POWER_PAUSE) -> None:
    """Switch a USB device off and on; raises `OperationError` if that fails."""
    switches = _switches(usb_path, sys)
    if not switches:
        raise OperationError(f"there is no USB device at {usb_path} to switch off and on")
    for path, off, on in switches:
        paths = path.resolve()  # the link to the port vanishes with the device
        try:
            paths.write_text(off)
        except OSError as exc:
            problem = exc
            continue
        try:
            await asyncio.sleep(pause)
        finally:
            _write(paths, on, f"switch the USB device at {usb_path} on again")
        return
    raise _cannot(f"switch the USB device at {usb_path} off", problem)


def _write(path: Path, text: str, what: str) -> None:
    try:
        path.write_text(text)
    except OSError as exc:
        raise _cannot(what, exc) from exc


def _cannot(what: str, exc: OSError) -> OperationError:
    hint = "; run this as root" if isinstance(exc, PermissionError) else ""
    return OperationError(f"cannot {what}: {exc.strerror}{hint}")


# -- holders of a port -----------------------------------------------------------------------------------


def who_holds(path: str, proc: Path = PROC, locks: Path = LOCKS) -> list[Holder]:
    """Return the other processes that have a port open, or a lock file on it.

    Without root the kernel shows only the open files of one's own processes. Lock files (``LCK..ttyUSB0``,
    which hold the process id) are readable by all [Filesystem Hierarchy Standard 3.0, section 5.9].
    """
    target = str(Path(path).resolve())
    pids = {pid for pid in _processes(proc) if _has_open(proc / str(pid) / "fd", target)}
    locked = _text(locks / f"LCK..{Path(target).name}").split()
    if locked and locked[0].isdecimal() and (proc / locked[0]).exists():
        pids.add(int(locked[0]))
    return [Holder(pid, _text(proc / str(pid) / "comm") or "?") for pid in sorted(pids - {os.getpid()})]


def held_by(path: str) -> str | None:
    """Return the holders of the port ``path``, such as ``minicom (process 77)``; None if none is visible."""
    return ", ".join(f"{holder.name} (process {holder.pid})" for holder in who_holds(path)) or None


def _processes(proc: Path) -> Iterator[int]:
    return (int(entry.name) for entry in _entries(proc) if entry.name.isdecimal())


def _has_open(fds: Path, target: str) -> bool:
    for fd in _entries(fds):
        try:
            if str(fd.readlink()) == target:
                return True
        except OSError:
            continue
    return False
