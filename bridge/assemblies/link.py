"""The base of the managed links: the manager, the commands about the link, and their end."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Self

from bridge.assemblies.message_flow import MessageFlow
from bridge.assemblies.workers import Workers
from bridge.core.exchange import Transport
from bridge.core.messages import Channel
from bridge.core.modem import Identity, Link
from bridge.core.progress import Part
from bridge.errors import OperationError
from bridge.flow.link.backup import Backup
from bridge.flow.link.commands import NetworkCommands
from bridge.flow.link.demand import Demand
from bridge.flow.link.manager import Network
from bridge.flow.link.traffic import Traffic
from bridge.flow.message.uplink import Path

HANG_UP_WAIT = 15.0
"""Seconds for the link to be released at the end."""


class ManagedLink(ABC):
    """A managed link; lives in the event loop's thread."""

    identity = Identity()
    """The known identity of modem and SIM."""
    air: Path | None = None
    """The path of SMS over the air; None while there is none."""
    backup: Backup | None = None
    """What decides whether messages take it; None where there is no choice."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None
        """Callback for a change of the status, called once in a turn of the loop."""
        self._loop = asyncio.get_running_loop()
        self._workers = Workers()
        self._changing = False

    def _manage(self, network: Network) -> None:
        """Let ``network`` drive the link."""
        self.network = network
        self.command = NetworkCommands(self.network).carry_out
        """Carries out a command about the link or the modem; raises `BridgeError`."""

    # -- life --------------------------------------------------------------------------------------------

    @property
    def watched(self) -> tuple[Part, ...]:
        """The parts that the watchdog watches."""
        return (self.network,)

    def _works(self) -> Iterable[Coroutine[Any, Any, None]]:
        """Return the tasks of the link, which run until its end."""
        return (self.network.run(),)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(self) -> None:
        """Begin to drive the link."""
        self._workers.start(*self._works())

    async def close(self) -> None:
        """Release the link; a connection of the system stays up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HANG_UP_WAIT):
                await self.network.stop()
        await self._workers.stop()

    def reloaded(self) -> None:
        """Act on a configuration that was read again."""
        self._changed()

    # -- for the messages --------------------------------------------------------------------------------

    @property
    def path(self) -> str | None:
        """The network that messages take, ``own`` or ``modem``; None where there is no modem."""
        return None

    @property
    def link(self) -> Link | None:
        """The link while it is up."""
        return self.network.link

    @property
    def carries(self) -> bool:
        """Whether the link carries messages."""
        return self.network.up

    def wanted_now(self) -> None:
        """Note that a message waits for the link."""
        self.network.wanted_now()

    def redial(self, reason: str) -> None:
        """Hang up; a link that is wanted whatever waits is dialled again."""
        self.network.hang_up(reason)

    def call_off(self) -> None:
        """Cancel the dialling of a link that nobody wants any more."""
        if not self.network.up and not self.network.wanted:
            self.network.hang_up()

    def sockets_for(self, channel: Channel) -> Transport | None:  # noqa: ARG002  a modem's differ by it
        """Return the modem's own sockets for ``channel``, while they are the link."""
        return None

    # -- questions and changes ---------------------------------------------------------------------------

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """Return the payload of ``hologram/network/status``."""

    async def query(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002  a modem looks at it
        """Answer ``hologram-bridge modem``; raises `BridgeError`."""
        raise OperationError('no modem is managed here (network.interface is "wifi")')

    def _lost(self, reason: str) -> None:
        self.network.lost(reason)

    def _changed(self) -> None:
        if not self._changing:
            self._changing = True
            self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        self._changing = False
        self.network.changed_facts()
        self.on_change()


def demand_of(flow: MessageFlow) -> Demand:
    """Return what says whether a message of ``flow`` waits that needs a link."""
    uplink, writer = flow.uplink, flow.journal.writer
    return Demand(flow.journal.outbox, lambda: uplink.paused, lambda: writer.committing)


def traffic_of(flow: MessageFlow, *, takes_messages: bool) -> Traffic:
    """Return a link manager's view of the messages, all or none of which take that link."""
    uplink, outbox = flow.uplink, flow.journal.outbox
    return Traffic(
        pending=demand_of(flow),
        sent=lambda: outbox.ledger.counts.total(),  # noqa: PLW0108  a rollback replaces the ledger
        in_flight=lambda: uplink.in_flight if takes_messages else 0,
        unreached_since=lambda: uplink.unreached_since() if takes_messages else None,
        send_batches=lambda: takes_messages and uplink.send_batches(),
    )
