"""No managed link: the machine's own network, whose state the bridge does not know."""

from collections.abc import Callable
from typing import Any, Self

from bridge.core.exchange import Transport
from bridge.core.messages import Channel
from bridge.core.modem import Identity, Link
from bridge.core.progress import Part
from bridge.errors import OperationError
from bridge.flow.message.uplink import Path
from bridge.protocol.api.status import unmanaged


class NoLink:
    """Has the interface of a managed link, so that callers need no case for a box without one."""

    identity = Identity()
    watched: tuple[Part, ...] = ()
    carries = True
    air: Path | None = None
    backup: None = None
    path: str | None = None
    link: Link | None = None

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing: there is no link to release."""

    def reloaded(self) -> None:
        """Do nothing: no setting concerns it."""

    def wanted_now(self) -> None:
        """Do nothing: the network counts as up."""

    def sockets_for(self, channel: Channel) -> Transport | None:  # noqa: ARG002  as a modem's
        """Return None: there is no modem."""
        return None

    def status(self) -> dict[str, Any]:
        """Return the payload of ``hologram/network/status``."""
        return unmanaged()

    async def command(self, name: str, timeout: float | None, lifetime: float | None = None) -> str:  # noqa: ARG002
        """Refuse a command about the network."""
        raise OperationError('no network interface is managed here (network.interface is "")')

    async def query(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002  as a modem's
        """Refuse a question to a modem."""
        raise OperationError('no modem is managed here (network.interface is "")')
