"""Which modem a script wishes for, where it is, and how it is dialled."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from bridge.adapters.ppp.dialler import PppDialler, dial_of
from bridge.adapters.ppp.pppd import Pppd
from bridge.adapters.usb import sysfs as usb
from bridge.adapters.usb.finder import Finder
from bridge.core.modem import Place
from bridge.protocol.ppp.dial import Dial, Scope
from bridge.sdk.engine import holders
from bridge.sdk.engine.errors import SerialError


class WantedModem(NamedTuple):
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


def dialler(wish: WantedModem, scope: Callable[[], Scope], on_down: Callable[[str], None]) -> PppDialler:
    """Return what dials: pppd as a child, as a script that connects runs as root, as documented.

    ``scope`` is asked at each call.
    """

    def dial(place: Place) -> Dial:
        return dial_of(place, apn=wish.apn, scope=scope(), chat=wish.chat, baud=wish.baud)

    return PppDialler(Pppd(asyncio.get_running_loop(), on_down=on_down), dial)


def finder(wish: WantedModem) -> Finder:
    """Return what finds the modem of ``wish``."""
    return Finder(wish.interface, (wish.device,) if wish.device else (), wish.fallback)


def check_free(path: str) -> None:
    """Raise `SerialError`, which names the holder, where another process uses the port."""
    others = [holders.describe(holder.pid) for holder in usb.who_holds(path)]
    if others:
        text = f"the modem's port {path} is held by {', '.join(others)}"
        if any(name.startswith("hologram-bridge") for name in others):
            text += (
                ": let it do what you need by MQTT (hologram/out, hologram/network/set; hologram stands for "
                "its mqtt.prefix), or stop it"
            )
        raise SerialError(text)
