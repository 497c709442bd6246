"""Check of the cloud: one TCP handshake, and no message."""

import socket
import struct
import time

from bridge.doctor.finding import Finding, fail, ok
from bridge.doctor.patient import Patient

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that ends a connection in one packet: each costs on a metered link."""


def announcement(patient: Patient) -> str:
    """Return what is about to be done, since it costs some bytes."""
    cloud = patient.settings.cloud
    return f"one TCP handshake with {cloud.host}:{cloud.port}, about 250 bytes with the look-up; no message"


def cloud(patient: Patient) -> Finding:
    """The cloud socket can be reached from here."""
    wanted = patient.settings.cloud
    where = f"{wanted.host}:{wanted.port}"
    try:
        addresses = socket.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM)
    except OSError as exc:
        return fail(
            "cloud",
            f"{wanted.host} has no address: {exc.strerror}",
            f"check cloud.host, and the name server: getent hosts {wanted.host}",
        )
    began = time.monotonic()
    problem = _handshake(addresses[0][0], addresses[0][4], wanted.timeout)
    if problem:
        return fail("cloud", f"{where}: {problem}", _remedy(patient))
    return ok("cloud", f"{where} answers within {1000 * (time.monotonic() - began):.0f} ms")


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


def _remedy(patient: Patient) -> str:
    if patient.settings.network.interface.startswith("cellular"):
        return "see the modem's findings; the device must be activated in the Hologram dashboard"
    return "check this machine's way to the Internet, and that no firewall closes the port"
