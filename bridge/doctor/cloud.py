"""The check of the cloud: one TCP handshake if this machine has a route there, and no message."""

import socket
import struct
import time
from typing import Any

from bridge.doctor.context import Context
from bridge.doctor.finding import Finding, fail, ok, skipped

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that ends a connection in one packet, because each packet costs on a metered link."""


_BOUND = 'network.scope is "bridge": messages go by the modem alone, and only the bridge dials it'


def announcement(context: Context) -> str | None:
    """Return the action about to happen, because it costs some bytes; None if there is none."""
    if _without_ppp(context):
        return None
    cloud = context.settings.cloud
    return f"one TCP handshake with {cloud.host}:{cloud.port}, about 250 bytes with the look-up; no message"


def cloud(context: Context) -> Finding:
    """Check that the cloud socket can be reached from here, unless only the bridge can reach it."""
    told = _without_ppp(context)
    if told:
        return told
    wanted = context.settings.cloud
    where = f"{wanted.host}:{wanted.port}"
    try:
        addresses = socket.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM)
    except OSError as exc:
        return fail(
            "cloud",
            f"{wanted.host} has no address: {exc.strerror}",
            f"check cloud.host and the name server: getent hosts {wanted.host}",
        )
    began = time.monotonic()
    problem = _handshake(addresses[0][0], addresses[0][4], wanted.timeout)
    if problem:
        return fail("cloud", f"{where}: {problem}", _remedy(context))
    return ok("cloud", f"{where} answers within {1000 * (time.monotonic() - began):.0f} ms")


def _without_ppp(context: Context) -> Finding | None:
    """Return the bridge's own report if messages use a link of its own and no PPP link is up, else None.

    A healthy machine may then have no route of its own: the link waits for a message, or is the modem's own
    sockets, which have no remote address. With the scope ``bridge`` this program's way is never the bridge's.
    """
    network = context.settings.network
    bound = network.scope == "bridge"
    if not (network.has_modem and network.scope in ("system", "bridge")):
        return None
    if not (context.daemon and context.daemon.stats and context.daemon.network):
        return skipped("cloud", _BOUND, "start the bridge, and look again") if bound else None
    status = context.daemon.network
    if status["remote_ip"] and not bound:
        return None
    if status["state"] == "error":
        return fail("cloud", f"there is no link: {status['error']}", _remedy(context))
    over_sockets = status["state"] == "connected" and not status["remote_ip"]
    way = "the modem's own sockets carry the messages" if over_sockets else f"the link is {status['state']}"
    if status["error"]:
        way += f" ({status['error']})"
    condition, known = _known(context.daemon.stats)
    fix = _remedy(context) if condition == "down" else None
    return skipped("cloud", f"{way}; the bridge reports of the cloud: {known}", fix)


def _known(stats: dict[str, Any]) -> tuple[str | None, str]:
    """Return the cloud's condition according to the daemon, the worse of its two channels, and its text."""
    found = [each for each in stats["destinations"] if each["channel"] in ("cloud", "sms") and not each["to"]]
    if not found:
        return None, "nothing sent yet"
    worst = min(found, key=lambda each: each["condition"] == "up")
    reason = f", {worst['reason']}" if worst["reason"] else ""
    return worst["condition"], f"{worst['condition']}{reason}"


def _handshake(family: int, address: object, timeout: float) -> str | None:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(max(timeout, 5.0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        try:
            sock.connect(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        except TimeoutError:
            return f"no answer within {sock.gettimeout():g} s"
        except OSError as exc:
            return exc.strerror or str(exc)
    return None


def _remedy(context: Context) -> str:
    if context.settings.network.interface.startswith("cellular"):
        return "see the modem's findings, and check in Hologram's dashboard that the SIM is active"
    return "check this machine's Internet connection, and that no firewall blocks the port"
