"""The dialler: calls a modem by PPP, with pppd as a child of ours or through its unit."""

import asyncio
import os
from collections.abc import Callable

from bridge.adapters.ppp.pppd import Pppd, chat_script
from bridge.adapters.ppp.unit import PppdUnit
from bridge.core.modem import Link, Place
from bridge.protocol.modems import by_interface
from bridge.protocol.ppp.dial import Dial, Scope


def dial_of(
    place: Place,
    *,
    apn: str,
    user: str | None = None,
    password: str | None = None,
    scope: Scope = "system",
    chat: str | None = None,
    baud: int | None = None,
) -> Dial:
    """Return the call of the modem at ``place``.

    ``user`` and ``password`` are the network's. ``chat`` (the path of a chat script) and ``baud`` default to
    the modem's own.
    """
    profile = by_interface(place.interface)
    return Dial(
        port=place.dial,
        chat=chat or str(chat_script(place.interface)),
        apn=apn,
        command=profile.dial,
        baud=baud or profile.ppp_baud,
        user=user,
        password=password,
        scope=scope,
    )


def ppp(loop: asyncio.AbstractEventLoop, on_down: Callable[[str], None] = lambda _: None) -> Pppd | PppdUnit:
    """Return the bridge's PPP: as root a child of ours, else its unit, both by the same configuration.

    ``on_down`` gets the reason of a link that ended by itself.
    """
    kind = Pppd if os.geteuid() == 0 else PppdUnit
    return kind(loop, on_down=on_down)


class PppDialler:
    """Dials the modem at its present place; lives in the event loop's thread."""

    def __init__(self, pppd: Pppd | PppdUnit, dial: Callable[[Place], Dial]) -> None:
        """``dial`` returns the call, such as `dial_of` with the configured values."""
        self._pppd = pppd
        self._dial = dial

    @property
    def link(self) -> Link | None:
        """The link while it is up."""
        return self._pppd.link

    def unavailable(self) -> str | None:
        """Return why PPP is impossible here, or None."""
        return self._pppd.available()

    async def call(self, place: Place, timeout: float) -> Link:
        """Dial; raises `LinkError`. ``timeout`` in seconds."""
        return await self._pppd.connect(self._dial(place)._replace(timeout=timeout))

    async def clear(self) -> None:
        """Hang up the link of an earlier run; raises `LinkError` if that fails."""
        await self._pppd.clear()

    async def disconnect(self) -> None:
        """Hang up."""
        await self._pppd.disconnect()

    async def close(self) -> None:
        """Release the link: a child ends with us, a unit keeps its link for the next run."""
        if isinstance(self._pppd, Pppd):
            await self._pppd.disconnect()
