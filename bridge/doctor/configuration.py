"""Checks of the configuration: its file, the credentials, the inbound networks."""

import fcntl
import grp
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from bridge.core.admission import Network
from bridge.core.budget import BOUNDS
from bridge.doctor.context import Context
from bridge.doctor.finding import Finding, fail, ok, skipped, warn
from bridge.doctor.fixes import as_the_service
from bridge.settings import OverrideFile

CARRIER = tuple(ipaddress.ip_network(each) for each in ("10.176.0.0/16", "10.254.0.0/16"))
"""The networks of Hologram's messages [hologram-python 0.10, routes]."""

SECRET = ("KEY", "PASSWORD", "PIN", "CREDENTIALS")
"""Endings of the names of secrets."""

_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B  # [netdevice(7)]


def configuration(context: Context) -> Finding:
    """Report the configuration's source and its warnings."""
    where = str(context.config) if context.config else "the environment alone"
    # `permissions` checks who can read the file.
    warnings = [each for each in context.warnings if "everyone on this machine can read it" not in each]
    if warnings:
        return warn("configuration", f"{where}: {'; '.join(warnings)}", "change it as the finding says")
    return ok("configuration", f"{where} is valid")


def overrides(context: Context) -> Finding | None:
    """Report what was changed from afar; None if nothing was."""
    loaded = context.loaded
    aside = OverrideFile(loaded.settings.store.path).aside
    if loaded.refused:
        return warn(
            "from afar", loaded.refused, "correct the file, or remove them: sudo hologram-bridge remote clear"
        )
    seen = loaded.changes()
    if loaded.overrides.trial:
        return warn(
            "from afar", seen, "send confirm to keep it, or undo it now: sudo hologram-bridge remote clear"
        )
    if _exists(aside):
        text = f"{aside} holds changes with which the configuration was not valid"
        fix = "send those again that are still wanted; remove all: sudo hologram-bridge remote clear"
        return warn("from afar", f"{seen}; {text}" if seen else text, fix)
    return ok("from afar", seen) if seen else None


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except OSError:
        return False
    return True


def permissions(context: Context) -> Finding:
    """Check that only root and the bridge can read the credentials."""
    path = context.config
    if path is None:
        return skipped("permissions", "there is no configuration file: all of it comes from the environment")
    found = path.stat()
    mode = found.st_mode & 0o777
    fix = f"sudo chown root:hologram {path} && sudo chmod 640 {path}"
    if mode & 0o022:
        seen = f"{path} has mode {mode:04o}: users other than its owner can change it"
        return fail("permissions", seen, fix)
    if path == context.etc / "hologram-bridge" / "bridge.hjson" and (wrong := _not_for_the_service(found)):
        return fail("permissions", f"{path}: {wrong}", fix)
    if mode & 0o004:
        seen = f"{path} has mode {mode:04o}: every user of this machine can read it"
        return warn("permissions", seen, fix)
    return ok("permissions", f"{path} has mode {mode:04o}")


def _not_for_the_service(found: os.stat_result) -> str | None:
    """Return why the installed units cannot use their configuration; None if they can."""
    if found.st_uid != 0:
        return "root does not own it, so hologram-ppp.service, which runs as root, refuses it"
    try:
        group = grp.getgrnam("hologram").gr_gid
    except KeyError:
        return None
    if found.st_mode & 0o004 or (found.st_mode & 0o040 and found.st_gid == group):
        return None
    return "the bridge's user, hologram, cannot read it"


def environment(context: Context) -> Finding | None:
    """Check the variables that systemd gives the service beside the file; None if there are none."""
    path = context.etc / "default" / "hologram-bridge"
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    except OSError as exc:
        return skipped("environment", f"{path}: {exc.strerror}", "run it with sudo")
    names = [name.strip() for name, equals, _ in (line.partition("=") for line in lines) if equals]
    names = [name for name in names if name.startswith("HOLOGRAM_BRIDGE__")]
    if path.stat().st_mode & 0o004 and any(name.endswith(SECRET) for name in names):
        seen = f"{path} holds a secret, and every user of this machine can read it"
        return warn("environment", seen, f"sudo chmod 600 {path}")
    if unknown := [name for name in names if name not in os.environ]:
        seen = f"the service gets {', '.join(unknown)} from {path}; this run did not"
        return warn("environment", seen, as_the_service(path))
    return ok("environment", f"{path} is included") if names else None


def credentials(context: Context) -> Finding:
    """Report the form of the credentials, which was checked when they were read."""
    settings = context.settings
    given = settings.credentials
    if settings.cloud.auth == "totp":
        if given.device_id is not None:
            return ok("credentials", "time-based codes with device_id and private_key")
        return ok("credentials", "time-based codes with the numbers of the SIM")
    form = "devicekey" if given.devicekey is not None else "cloud_id and cloud_key"
    return ok("credentials", f"{form}, well-formed; the first message shows whether the cloud accepts them")


_PAUSES = "Hologram pauses a SIM, its data too, at its limit of outbound SMS (100 unless raised)"
"""[Hologram documentation, data limits and SMS]"""


def budget(context: Context) -> Finding:
    """Say which bounds are set, and what no bound of SMS may lead to."""
    given = context.settings.budget
    bounds = [name for name in BOUNDS if getattr(given, name) is not None]
    if given.sms_day is not None or given.sms_month is not None:
        return ok("budget", f"bounds for {', '.join(bounds)}")
    seen = f"{'bounds for ' + ', '.join(bounds) if bounds else 'no bound'}, none for SMS; {_PAUSES}"
    if not context.settings.network.interface.startswith("cellular"):
        return ok("budget", seen)
    return warn("budget", seen, "set budget.sms_month below the limit of the SIM, such as sms_month: 80")


def allow_list(context: Context) -> Finding:
    """Check that the cloud may send messages in, and that neighbours on the local network may not."""
    inbound = context.settings.inbound
    if not inbound.enabled:
        return skipped("allow list", "off (inbound.enabled is false)")
    shut_out = [each for each in CARRIER if not any(_covers(allowed, each) for allowed in inbound.allow)]
    if shut_out:
        shown = ", ".join(map(str, shut_out))
        return warn(
            "allow list",
            f"messages from {shown} are refused, and that is where the cloud's come from",
            f"add {shown} to inbound.allow",
        )
    open_to = [
        f"{network} on {name}" for name, network in local_networks() if _open_to(network, inbound.allow)
    ]
    if open_to:
        return warn(
            "allow list",
            f"machines of {', '.join(open_to)} may send inbound messages",
            "remove these networks from inbound.allow, unless this is intended",
        )
    return ok("allow list", f"{len(inbound.allow)} networks, none of them a local network of this machine")


def _open_to(network: ipaddress.IPv4Network, allow: tuple[Network, ...]) -> bool:
    if network.is_loopback or any(network.overlaps(each) for each in CARRIER):
        return False
    return any(isinstance(each, ipaddress.IPv4Network) and each.overlaps(network) for each in allow)


def _covers(allowed: Network, wanted: Network) -> bool:
    if isinstance(allowed, ipaddress.IPv4Network) and isinstance(wanted, ipaddress.IPv4Network):
        return wanted.subnet_of(allowed)
    return False


def local_networks() -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    """Return the interfaces that have an IPv4 address, with their networks."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                address = fcntl.ioctl(sock, _SIOCGIFADDR, request)[20:24]
                mask = fcntl.ioctl(sock, _SIOCGIFNETMASK, request)[20:24]
            except OSError:
                continue  # the interface has no address
            dotted = f"{socket.inet_ntoa(address)}/{socket.inet_ntoa(mask)}"
            yield name, ipaddress.IPv4Network(dotted, strict=False)
