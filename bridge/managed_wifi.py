"""Wi-Fi as the network that the bridge manages, put together."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from bridge.adapters.wifi import Wifi
from bridge.core.messages import Channel
from bridge.errors import LinkError, OperationError
from bridge.flow.network import Network
from bridge.managed import Around
from bridge.protocol.network import status
from bridge.settings import Settings

log = logging.getLogger("wifi")


class ManagedWifi:
    """The system's Wi-Fi connection; lives in the event loop's thread."""

    def __init__(self, around: Around) -> None:
        self._around = around
        wanted = around.settings.network
        self._interface = wanted.devices[0] if wanted.devices else None
        self._poll = wanted.poll
        self._wifi = Wifi(
            around.loop,
            device=self._interface,
            on_down=self._lost,
            on_change=self._changed,
        )
        self.network = Network(
            self._wifi,
            kind="wifi",
            interface=wanted.interface,
            autoconnect=wanted.autoconnect,
            pending=lambda: any(
                messages and channel in (Channel.CLOUD, Channel.TCP, Channel.UDP, Channel.SMS)
                for (channel, _), (messages, _) in around.outbox.ledger.depth.items()
            ),
            clock=around.clock,
            on_change=self._changed,
            on_event=around.on_event,
            on_up=around.on_link,
            unreached_since=around.unreached_since,
        )
        self.watched = (self.network,)
        if wanted.scope == "system":
            around.switch.link_up = lambda: self.network.up
        self._publishing = False

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return what has to run all the time."""
        return [self.network.run(), self._sample()]

    async def stop(self) -> None:
        """Let go of the link, at the end: the connection is the system's and stays."""
        await self.network.stop()

    def reloaded(self, settings: Settings) -> None:
        """Nothing of ours changes with a reload."""

    async def command(self, name: str, timeout: float | None) -> str:
        """Carry out a command of ``hologram/network/set``; return what was done."""
        return await self.network.command(name, timeout)

    async def query(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 a modem would look at it
        """There is no modem to ask."""
        raise OperationError('no modem is managed here (network.interface is "wifi")')

    async def _sample(self) -> None:
        """Look at the signal regularly."""
        while True:
            await asyncio.sleep(self._poll)
            try:
                await self._wifi.sample()
            except LinkError as exc:
                log.debug("%s", exc)
            self._changed()

    def _lost(self, reason: str) -> None:
        self.network.lost(reason)

    def _changed(self) -> None:
        """Something changed; told once in a turn of the loop."""
        if not self._publishing:
            self._publishing = True
            self._around.loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._publishing = False
        self.network.changed_facts()
        self._around.on_status(self.status())
        self._around.on_ready()

    def status(self) -> dict[str, Any]:
        """Return the payload of ``hologram/network/status``."""
        network = self.network
        link = network.link
        return status(
            network.verdict(),
            interface="wifi",
            device=link.interface if link else self._interface,
            link=link,
            wifi=self._wifi.wifi,
            since=network.since,
        )
