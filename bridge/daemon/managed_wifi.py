"""Wi-Fi as the network that the bridge manages, put together."""

from collections.abc import Coroutine
from typing import Any

from bridge.adapters.wifi.interface import Wifi
from bridge.daemon.managed import Around
from bridge.errors import OperationError
from bridge.flow.link.manager import Network
from bridge.flow.link.sampler import Sampler
from bridge.protocol.api.status import status
from bridge.settings import Settings


class ManagedWifi:
    """The system's Wi-Fi connection; lives in the event loop's thread."""

    def __init__(self, around: Around) -> None:
        self._around = around
        wanted = around.settings.network
        self._interface = wanted.devices[0] if wanted.devices else None
        self._wifi = Wifi(
            around.loop,
            device=self._interface,
            on_down=self._lost,
            on_change=self._changed,
        )
        self.network = Network(
            self._wifi,
            around.traffic(),
            around.journal.time,
            around.notices,
            autoconnect=wanted.autoconnect,
            on_change=self._changed,
        )
        self._sampler = Sampler("wifi", self._sample, wanted.poll)
        self.watched = (self.network, self._sampler)
        if wanted.scope == "system":
            around.paths.link_up = lambda: self.network.up
            around.paths.on_wanted = self.network.wanted_now
        self._publishing = False

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return what has to run all the time."""
        return [self.network.run(), self._sampler.run()]

    async def stop(self) -> None:
        """Let go of the link, at the end: the connection is the system's and stays."""
        await self.network.stop()

    def reloaded(self, settings: Settings) -> None:
        """Nothing of ours changes with a reload."""

    async def query(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 a modem would look at it
        """There is no modem to ask."""
        raise OperationError('no modem is managed here (network.interface is "wifi")')

    async def _sample(self) -> None:
        """Look at the signal."""
        try:
            await self._wifi.sample()
        finally:
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
