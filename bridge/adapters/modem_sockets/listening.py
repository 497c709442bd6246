"""A modem's own sockets as a link of their own: ready to carry, and listening for what comes in."""

import logging

from bridge.adapters.inbound.listener import Listener
from bridge.adapters.modem_sockets.sockets import Sockets
from bridge.errors import ModemError

log = logging.getLogger("sockets")


class ListeningSockets:
    """A modem's sockets that listen, while they are up, for what the listener would take."""

    def __init__(self, sockets: Sockets, listener: Listener | None, protocols: tuple[str, ...]) -> None:
        self._sockets = sockets
        self._listener = listener
        self._protocols = protocols

    @property
    def busy(self) -> bool:
        """Whether anything is in flight, out or in."""
        return self._sockets.busy

    async def bring_up(self, apn: str) -> str | None:
        """Get the sockets ready and listen; return the local address. Raises `ModemError`."""
        address = await self._sockets.bring_up(apn)
        if self._listener is not None:
            await self._listen(self._listener)
        if not self._sockets.is_up:
            raise ModemError("the network ended the connection at once")
        return address

    async def _listen(self, listener: Listener) -> None:
        for protocol in self._protocols:
            try:
                await self._sockets.listen(listener, (protocol,))
            except ModemError as exc:
                log.warning("the modem cannot listen for %s: %s", protocol, exc)

    async def bring_down(self) -> None:
        """Put them away; a modem that is gone has done so."""
        try:
            await self._sockets.bring_down()
        except ModemError as exc:
            log.info("putting the modem's sockets away: %s", exc)
