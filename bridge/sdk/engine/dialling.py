"""The script's wanted modem, its port, and its dialling."""

from collections.abc import Callable
from typing import NamedTuple

from bridge.adapters.ppp.dialler import dial_of
from bridge.adapters.ppp.pppd import Pppd
from bridge.adapters.system import holders
from bridge.adapters.usb import sysfs as usb
from bridge.adapters.usb.finder import Finder
from bridge.assemblies.cellular_link import CellularSetup
from bridge.core.modem import Place
from bridge.protocol.ppp.dial import Dial, Scope
from bridge.sdk.engine.errors import SerialError


class WantedModem(NamedTuple):
    """The modem that a script wants, and how it dials."""

    interface: str
    """A name of ``network.interface``; ``cellular`` means any modem."""
    device: str | None = None
    """Path of the AT port; None: a search by USB id."""
    fallback: str | None = None
    """Path of the port to use if the search finds none."""
    apn: str = "hologram"
    baud: int = 9600
    chat: str | None = None
    """Path of the script's own chat script; None: the bridge's."""


MISSING = "Modem not detected"
"""Text of the fault if no modem is found."""


def setup_of(wish: WantedModem, scope: Callable[[], Scope]) -> CellularSetup:
    """Return the link's setup for the modem of ``wish``; ``scope`` is called for each dialling.

    pppd is a child process, because a script that connects runs as root, as documented.
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
