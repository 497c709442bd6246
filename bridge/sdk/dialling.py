"""Which modem a script wishes for, where it is, and how it is dialled."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bridge.adapters import usb
from bridge.adapters.pppd import Pppd, chat_script
from bridge.core.modem import Link, Place
from bridge.managed import Finder
from bridge.protocol.dial import Dial
from bridge.protocol.modems import by_interface
from bridge.sdk import holders
from bridge.sdk.errors import SerialError


class Wish(NamedTuple):
    """Which modem, and how it dials."""

    interface: str
    """A name of ``network.interface``; ``cellular`` is any."""
    device: str | None = None
    """Its AT port; None: it is searched for by its USB id."""
    fallback: str | None = None
    """The port to take where none is found by its USB id."""
    apn: str = "hologram"
    baud: int = 9600
    chat: str | None = None
    """A chat script of the script's own."""


class Dialler:
    """Dials by pppd as a child: a script that connects runs as root, as documented."""

    def __init__(self, wish: Wish, scope: Callable[[], str], on_down: Callable[[str], None]) -> None:
        self._wish = wish
        self._scope = scope
        self._pppd = Pppd(asyncio.get_running_loop(), on_up=lambda _: None, on_down=on_down)

    @property
    def link(self) -> Link | None:
        """The link, while it stands."""
        return self._pppd.link

    def unavailable(self) -> str | None:
        """Return why no PPP can be had here, or None."""
        return self._pppd.available()

    async def call(self, place: Place, timeout: float) -> Link:
        """Dial; raises `LinkError`."""
        return await self._pppd.connect(
            Dial(
                port=place.dial,
                chat=self._wish.chat or str(chat_script(place.interface)),
                apn=self._wish.apn,
                command=by_interface(place.interface).dial,
                baud=self._wish.baud,
                scope=self._scope(),  # type: ignore[arg-type]  # system or hologram, by the enum
                timeout=timeout,
            )
        )

    async def disconnect(self) -> None:
        """Hang up."""
        await self._pppd.disconnect()

    async def close(self) -> None:
        """Hang up at the end."""
        await self._pppd.disconnect()


class Search:
    """Finds the modem of a wish."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._finder = Finder(wish.interface, (wish.device,) if wish.device else ())

    def __call__(self) -> Place | None:
        """Return where it is, or None."""
        found = self._finder()
        if found is None and self._wish.fallback and Path(self._wish.fallback).exists():
            return Finder(self._wish.interface, (self._wish.fallback,))()
        return found


def check_free(path: str) -> None:
    """Raise `SerialError`, which names the holder, where another process uses the port."""
    others = [holders.describe(holder.pid) for holder in usb.who_holds(path)]
    if others:
        text = f"the modem's port {path} is held by {', '.join(others)}"
        if any(name.startswith("hologram-bridge") for name in others):
            text += ": let it do what you need by MQTT (hologram/out, hologram/network/set), or stop it"
        raise SerialError(text)
