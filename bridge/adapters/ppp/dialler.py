"""What dials a modem by PPP, and how it is called: pppd as a child of ours, or through its unit."""

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

    ``user`` and ``password`` are for the network; ``chat`` (the path of a chat script) and ``baud`` are the
    modem's own unless given.
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
    """Return what dials for the bridge: as root a child of ours, else its unit, by the same configuration.

    ``on_down`` is told why a link ended by itself.
    """
    kind = Pppd if os.geteuid() == 0 else PppdUnit
    return kind(loop, on_up=lambda _: None, on_down=on_down)


class PppDialler:
    """Dials the modem wherever it is by now; lives in the event loop's thread."""

    def __init__(self, pppd: Pppd | PppdUnit, dial: Callable[[Place], Dial]) -> None:
        """``dial`` describes the call, such as `dial_of` with the configured values."""
        self._pppd = pppd
        self._dial = dial

    @property
    def link(self) -> Link | None:
        """The link, while it stands."""
        return self._pppd.link

    def unavailable(self) -> str | None:
        """Return why no PPP can be had here, or None."""
        return self._pppd.available()

    async def call(self, place: Place, timeout: float) -> Link:
        """Dial; raises `LinkError`. ``timeout`` in seconds."""
        return await self._pppd.connect(self._dial(place)._replace(timeout=timeout))

    async def clear(self) -> None:
        """Hang up what an earlier run of ours has left; raises `LinkError` where that cannot be done."""
        await self._pppd.clear()

    async def disconnect(self) -> None:
        """Hang up."""
        await self._pppd.disconnect()

    async def close(self) -> None:
        """A child ends with us; a unit keeps its link for the next run."""
        if isinstance(self._pppd, Pppd):
            await self._pppd.disconnect()
