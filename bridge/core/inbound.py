"""Inbound messages."""

from typing import NamedTuple

from bridge.core.messages import Traffic


class Received(NamedTuple):
    """One complete inbound message."""

    protocol: str
    peer: str
    """Address and port, as in ``10.176.0.1:40000`` or ``[fd00::1]:40000``."""
    port: int
    """The local port on which the message arrived."""
    data: bytes
    traffic: Traffic
