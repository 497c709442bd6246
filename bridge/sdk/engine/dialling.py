"""Which modem a script wishes for, where it is, and how it is dialled."""

from collections.abc import Callable
from typing import NamedTuple

from bridge.adapters.ppp.dialler import dial_of
from bridge.adapters.ppp.pppd import Pppd
from bridge.adapters.usb import sysfs as usb
from bridge.adapters.usb.finder import Finder
from bridge.assemblies.cellular_link import CellularSetup
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


MISSING = "Modem not detected"
"""The fault where no modem is found."""


def setup_of(wish: WantedModem, scope: Callable[[], Scope]) -> CellularSetup:
    """Return the modem of ``wish`` as a link goes over it; ``scope`` is asked at each call.

    pppd is a child, as a script that connects runs as root, as documented.
    """

    def dial(place: Place) -> Dial:
        return dial_of(place, apn=wish.apn, scope=scope(), chat=wish.chat, baud=wish.baud)

    find = Finder(wish.interface, (wish.device,) if wish.device else (), wish.fallback)
    return CellularSetup(
        interface=wish.interface, find=find, dial=dial, pppd=Pppd, missing=MISSING, apn=wish.apn
    )


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
