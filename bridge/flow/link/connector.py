"""Connector: the interface between the network manager and what makes the link."""

from typing import Protocol

from bridge.core.link import Fault
from bridge.core.modem import Link


class Connector(Protocol):
    """Makes the link: pppd, a modem's own sockets, or Wi-Fi."""

    kind: str
    """``cellular`` or ``wifi``."""

    @property
    def radio(self) -> bool:
        """Whether the radio is on, as far as it was commanded."""

    @property
    def link(self) -> Link | None:
        """The link while it is up."""

    async def connect(self, timeout: float) -> Link:
        """Bring the link up within ``timeout`` seconds; raises `LinkError` or `ModemError`."""

    async def disconnect(self) -> None:
        """Take the link down; does nothing if there is none."""

    async def close(self) -> None:
        """Release the link at the end of the process."""

    async def order(self, command: str) -> str:
        """Carry out ``reset``, ``radio_on`` or ``radio_off``; return what was done."""

    def fault(self) -> Fault | None:
        """Return the fault that rules a link out for now."""

    def may_be_better(self, quiet: bool) -> bool:
        """Whether to try for a better link than the present one; ``quiet``: no message is in flight."""

    def failed(self, failures: int) -> None:
        """Record ``failures`` failed attempts in a row; 0: the link is not wanted any more."""
