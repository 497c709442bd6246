"""Wi-Fi as the link: the system's connection, managed and sampled."""

from collections.abc import Coroutine, Iterable
from typing import Any

from bridge.adapters.wifi.interface import Wifi
from bridge.assemblies.link import ManagedLink
from bridge.core.progress import Part
from bridge.core.time import Time
from bridge.flow.link.manager import Network
from bridge.flow.link.sampler import Sampler
from bridge.flow.link.traffic import Traffic
from bridge.flow.notices import Notices
from bridge.protocol.api.status import status


class WifiLink(ManagedLink):
    """The system's Wi-Fi connection, which stays at the end; lives in the event loop's thread."""

    def __init__(
        self,
        device: str | None,
        traffic: Traffic,
        time: Time,
        notices: Notices,
        *,
        autoconnect: bool | str,
        poll: float,
    ) -> None:
        """``device`` is the interface, None for the first; ``poll`` is the seconds between samples."""
        super().__init__()
        self._device = device
        self._wifi = Wifi(self._loop, device=device, on_down=self._lost, on_change=self._changed)
        self._sampler = Sampler("wifi", self._sample, poll)
        changed = self._changed
        self._manage(Network(self._wifi, traffic, time, notices, autoconnect=autoconnect, on_change=changed))

    @property
    def watched(self) -> tuple[Part, ...]:
        """The parts that the watchdog watches."""
        return (*super().watched, self._sampler)

    def _works(self) -> Iterable[Coroutine[Any, Any, None]]:
        return (*super()._works(), self._sampler.run())

    async def _sample(self) -> None:
        """Sample the signal."""
        try:
            await self._wifi.sample()
        finally:
            self._changed()

    def status(self) -> dict[str, Any]:
        """Return the payload of ``hologram/network/status``."""
        link = self.network.link
        return status(
            self.network.verdict(),
            interface="wifi",
            device=link.interface if link else self._device,
            link=link,
            wifi=self._wifi.wifi,
            since=self.network.since,
        )
