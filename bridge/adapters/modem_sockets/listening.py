"""A modem's own sockets as a link: a PDP context, with sockets that listen while it is up."""

import logging

from bridge.adapters.inbound.listener import Listener
from bridge.adapters.modem_sockets.sockets import Sockets
from bridge.errors import ModemError

log = logging.getLogger("sockets")


class ListeningSockets:
    """A modem's sockets, which take messages for the listener while they are up."""

    def __init__(self, sockets: Sockets, listener: Listener | None, protocols: tuple[str, ...]) -> None:
        self._sockets = sockets
        self._listener = listener
        self._protocols = protocols

    @property
    def busy(self) -> bool:
        """Whether anything is in flight, out or in."""
        return self._sockets.busy

    async def bring_up(self, apn: str) -> str | None:
        """Activate the PDP context and listen; return the local address. Raises `ModemError`."""
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
        """Deactivate the PDP context; a modem that is gone has no context left."""
        try:
            await self._sockets.bring_down()
        except ModemError as exc:
            log.info("closing the modem's sockets: %s", exc)
