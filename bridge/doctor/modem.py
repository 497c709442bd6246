"""Checks of the modem: it is found, its port is free, PPP works, ModemManager is away. No port is opened."""

import os
from collections.abc import Iterator
from pathlib import Path

from bridge.doctor.context import Context, text_of
from bridge.doctor.finding import Finding, fail, ok, skipped, warn
from bridge.doctor.fixes import stop

PPP_HOLDERS = ("pppd", "chat")

KEEP_AWAY = "sudo systemctl disable --now ModemManager, unless another modem needs it"


def modem(context: Context) -> Iterator[Finding]:
    """Run all checks of the modem, if one is configured."""
    interface = context.settings.network.interface
    if not interface.startswith("cellular"):
        why = f'network.interface is "{interface}": no modem is managed'
        yield from (skipped(name, why) for name in ("modem", "serial port", "pppd", "ModemManager"))
        return
    # Imported here, because the modems' tables take memory that the other commands do not need.
    from bridge.adapters.usb.finder import Finder
    from bridge.protocol.modems import by_interface

    place = Finder(interface, context.settings.network.devices)()
    if place is None:
        yield _missing(context)
        yield skipped("serial port", "no modem was found")
    else:
        usb = f", at {place.usb} on the USB" if place.usb else ""
        yield ok("modem", f"{by_interface(place.interface).label}{usb}{_told(context)}")
        yield _port(context, tuple(dict.fromkeys((place.at, place.dial))))
    yield _pppd(context, place.interface if place else interface)
    yield _modem_manager(context, place.at if place else None)


def _told(context: Context) -> str:
    """Return the daemon's facts of the modem."""
    status = context.daemon.network if context.daemon else None
    if not status:
        return ""
    about = [status["registration"], status["operator"], status["technology"], status["error"]]
    return "; the bridge reports: " + ", ".join([status["state"], *(str(each) for each in about if each)])


def _missing(context: Context) -> Finding:
    from bridge.adapters.usb import sysfs as usb
    from bridge.protocol.modems import PROFILES, by_interface

    network = context.settings.network
    if network.devices:
        return fail(
            "modem",
            f"{' and '.join(network.devices)} is not there",
            "plug the modem in and look in /dev/serial/by-id for its name, or set network.device to null",
        )
    wanted = PROFILES if network.interface == "cellular" else (by_interface(network.interface),)
    for profile, place in usb.portless(wanted, context.sys, context.dev):
        return fail(
            "modem",
            f"{profile.label} is at {place} on the USB, without a serial port: its driver is missing",
            "sudo modprobe option && sudo modprobe cdc_acm; then unplug it and plug it in again",
        )
    ids = ", ".join(sorted({each for profile in wanted for each in profile.usb_ids}))
    return fail(
        "modem",
        f"none of these is on the USB: {ids}",
        "plug it in, check its power supply, and look for it with lsusb",
    )


def _port(context: Context, ports: tuple[str, ...]) -> Finding:
    from bridge.adapters.usb.sysfs import who_holds

    ours = context.daemon.pid if context.daemon else None
    shown = " and ".join(ports)
    holders = {holder for port in ports for holder in who_holds(port, context.proc)}
    others = [each for each in holders if each.pid != ours and each.name not in PPP_HOLDERS]
    if others:
        names = ", ".join(f"{each.name} (process {each.pid})" for each in sorted(others))
        fix = "; ".join(
            dict.fromkeys(_stop(context, ports[0], each.name, each.pid) for each in sorted(others))
        )
        return fail("serial port", f"{shown} is held by {names}", fix)
    if ours is not None:
        return ok("serial port", f"{shown} is held by the bridge")
    if any(each.name in PPP_HOLDERS for each in holders):
        return ok("serial port", f"{shown} carries a PPP link")
    if not all(os.access(port, os.R_OK | os.W_OK) for port in ports):
        return warn(
            "serial port",
            f"this user cannot open {shown}",
            "run it with sudo, or as a user in the group dialout; the bridge's user must be in it too",
        )
    seen = f"{shown}, held by nobody"
    return ok("serial port", seen if os.geteuid() == 0 else f"{seen} that this user can see")


def _stop(context: Context, port: str, name: str, pid: int) -> str:
    if name != "ModemManager":
        return stop(pid, context.proc)
    # ModemManager keeps a port that it took before it was told to leave it alone, until it restarts.
    return "sudo systemctl restart ModemManager" if _left_alone(context, port) else KEEP_AWAY


def _pppd(context: Context, interface: str) -> Finding:
    from bridge.protocol.modems import by_interface

    problem = _without_pppd(context) or (_without_unit(context) if _by_unit(context) else None)
    if problem is None:
        return ok(
            "pppd", "by hologram-ppp.service" if _by_unit(context) else "installed, and /dev/ppp is there"
        )
    why, fix = problem
    if by_interface(interface).sockets:
        return warn("pppd", f"{why}; the modem's own sockets are used instead", fix)
    return fail("pppd", f"{why}; this modem needs PPP", fix)


def _without_pppd(context: Context) -> tuple[str, str] | None:
    """Return what is missing for PPP on this machine, and how to get it."""
    # Found by name, because only members of the group dip may run it.
    if not (context.usr / "sbin" / "pppd").exists():
        return "pppd is not installed", "sudo apt install ppp"
    if not (context.dev / "ppp").exists():
        return (
            f"{context.dev / 'ppp'} is missing: the kernel has no PPP, or its driver is not loaded",
            "sudo modprobe ppp_async",
        )
    return None


def _by_unit(context: Context) -> bool:
    """Return whether a unit makes the link; a bridge that is root dials itself."""
    if context.daemon:
        return context.daemon.uid != 0
    return os.geteuid() != 0 or _unit_file(context)


def _unit_file(context: Context) -> bool:
    from bridge.adapters.ppp.unit import UNIT

    return any((folder / "systemd/system" / UNIT).exists() for folder in (context.etc, context.usr / "lib"))


def _without_unit(context: Context) -> tuple[str, str] | None:
    """Return why a bridge without root cannot dial through the unit, and the fix."""
    if not (context.run / "systemd/system").exists():
        return "the bridge is not root, and there is no systemd to dial for it", "run it as root"
    if not _unit_file(context):
        return (
            "hologram-ppp.service is not installed",
            "sudo make install, or sudo apt install --reinstall hologram-bridge",
        )
    if not (context.usr / "lib/polkit-1/polkitd").exists():
        return "polkit is missing; the bridge needs it to start hologram-ppp", "sudo apt install polkitd"
    return None


def _modem_manager(context: Context, port: str | None) -> Finding:
    running = [each for each in context.proc.glob("[0-9]*/comm") if text_of(each) == "ModemManager"]
    if not running:
        return ok("ModemManager", "not running")
    if port is None:
        return skipped("ModemManager", "it runs; there is no modem to check")
    if _left_alone(context, port):
        return ok("ModemManager", f"it runs, and leaves {port} alone")
    return warn(
        "ModemManager",
        "it runs, and nothing keeps it off the modem",
        KEEP_AWAY,
    )


def _left_alone(context: Context, port: str) -> bool:
    """Return whether udev has told ModemManager to leave ``port`` alone.

    ID_MM_DEVICE_IGNORE applies to all ports of a device, ID_MM_PORT_IGNORE to one [ModemManager, "Common udev
    tags"]. Udev's record of a port holds its own properties, not its device's.
    """
    try:
        number = Path(port).stat().st_rdev
    except OSError:
        return False
    properties = text_of(context.run / "udev" / "data" / f"c{os.major(number)}:{os.minor(number)}")
    return not {"E:ID_MM_DEVICE_IGNORE=1", "E:ID_MM_PORT_IGNORE=1"}.isdisjoint(properties.splitlines())
