"""The network status as JSON; the codes are the SDK's connection status codes [hologram-python 0.3]."""

from typing import Any

from bridge.core.link import Code, Verdict
from bridge.core.modem import Facts, Link, Registration, Wifi
from bridge.protocol.api.reports import timestamp

UNMANAGED = "unmanaged"
"""The state without a managed network."""


def status(
    verdict: Verdict,
    *,
    interface: str,
    modem: str | None = None,
    device: str | None = None,
    link: Link | None = None,
    facts: Facts | None = None,
    wifi: Wifi | None = None,
    since: float | None = None,
    path: str | None = None,
) -> dict[str, Any]:
    """Return the payload of ``hologram/network/status``.

    ``since`` is Unix seconds; ``path`` is the network that messages take, ``own`` or ``modem``; unknown
    fields are None.
    """
    facts = facts or Facts()
    registration = facts.registration
    identity = facts.identity
    payload: dict[str, Any] = {
        "state": verdict.state,
        "code": int(verdict.code),
        "code_name": verdict.code.name,
        "interface": interface,
        "modem": modem,
        "device": device,
        "local_ip": link.local_ip if link else None,
        "remote_ip": link.remote_ip if link else None,
        "operator": facts.operator,
        "technology": facts.technology,
        "registration": None if registration is Registration.UNKNOWN else registration.value,
        "signal": facts.signal._asdict(),
        "imei": identity.imei,
        "imsi": identity.imsi,
        "iccid": identity.iccid,
        "path": path,
        "since": None if since is None else timestamp(since),
        "error": verdict.error,
    }
    if wifi is not None:
        payload["wifi"] = wifi._asdict()
    return payload


def unmanaged() -> dict[str, Any]:
    """Return the status without a managed network: the machine's own network is assumed to work."""
    return status(Verdict(UNMANAGED, Code.CLOUD_CONNECTED, None), interface="")
