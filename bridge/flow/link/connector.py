"""Connector: what the network manager needs of that which makes the link."""

from typing import Protocol

from bridge.core.link import Fault
from bridge.core.modem import Link


class Connector(Protocol):
    """What makes the link: pppd, a modem's own sockets, or Wi-Fi."""

    @property
    def link(self) -> Link | None:
        """The link, while it stands."""

    async def connect(self, timeout: float) -> Link:
        """Bring it up within ``timeout`` seconds; raises `LinkError` or `ModemError`."""

    async def disconnect(self) -> None:
        """Take it down; fine when there is none."""

    async def close(self) -> None:
        """Let go of it at the end of the process."""

    async def order(self, command: str) -> str:
        """Carry out ``reset``, ``radio_on`` or ``radio_off``; return what was done."""

    def fault(self) -> Fault | None:
        """What rules a link out for now."""

    def failed(self, failures: int) -> None:
        """Told after so many failed attempts in a row; 0: the link is not wanted any more."""
