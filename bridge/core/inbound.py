"""What comes in."""

from typing import NamedTuple

from bridge.core.messages import Traffic


class Received(NamedTuple):
    """One whole message."""

    protocol: str
    peer: str
    """Address and port, as in ``10.176.0.1:40000`` or ``[fd00::1]:40000``."""
    port: int
    """Ours, on which it came."""
    data: bytes
    traffic: Traffic
