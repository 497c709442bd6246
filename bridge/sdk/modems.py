"""The modems of each kind [Python SDK 0.3, "E303", "MS2131", "iota"; hologram-python 0.10]."""
# ruff: noqa: N803  # the documented names

from typing import Any

from bridge.adapters.usb import sysfs as usb
from bridge.protocol.modems import PROFILES
from bridge.sdk.engine.errors import NetworkError
from bridge.sdk.event import Event
from bridge.sdk.modem import CONNECT_TIMEOUT, DEFAULT_BAUD, DEFAULT_CHATSCRIPT, Modem

MS2131_DEVICE_NAME = "/dev/ttyUSB0"
IOTA_DEVICE_NAME = "/dev/ttyACM0"

DEFAULT_E303_TIMEOUT = DEFAULT_MS2131_TIMEOUT = DEFAULT_E372_TIMEOUT = CONNECT_TIMEOUT
DEFAULT_NOVA_TIMEOUT = DEFAULT_NOVA_U201_TIMEOUT = DEFAULT_NOVAM_TIMEOUT = CONNECT_TIMEOUT
DEFAULT_BG96_TIMEOUT = DEFAULT_EC21_TIMEOUT = CONNECT_TIMEOUT


class E303(Modem):
    """A Huawei E303."""

    interface = "cellular-e303"


class MS2131(Modem):
    """A Huawei MS2131."""

    interface = "cellular-ms2131"


class E372(Modem):
    """A Huawei E372, as any modem that follows the standard: its port has to be given."""


class IOTA(Modem):
    """A Hologram iota (u-blox SARA-U201)."""

    interface = "cellular-iota"
    _default_device = IOTA_DEVICE_NAME

    def __init__(
        self,
        mode: str | None = "ppp",
        deviceName: str | int = IOTA_DEVICE_NAME,
        baudRate: str | int = DEFAULT_BAUD,
        chatScriptFile: str | Event = DEFAULT_CHATSCRIPT,
        apn: str = "hologram",
        pdp_context: int = 1,
        **later: Any,
    ) -> None:
        super().__init__(mode, deviceName, baudRate, chatScriptFile, apn, pdp_context, **later)


class Nova(IOTA):
    """A Hologram Nova of any kind."""

    interface = "cellular"


class Nova_U201(Nova):  # noqa: N801  # the documented name
    """A Hologram Nova with a u-blox SARA-U201."""

    interface = "cellular-nova-u201"


class NovaM(Nova):
    """A Hologram Nova with a u-blox SARA-R4."""

    interface = "cellular-nova-r410"


class Quectel(Modem):
    """A Quectel modem of any kind."""


class BG96(Quectel):
    """A Quectel BG96."""

    interface = "cellular-bg96"


class EC21(Quectel):
    """A Quectel EC21."""

    interface = "cellular-ec21"


class EC25(EC21):
    """A Quectel EC25, which takes the commands of an EC21: its port has to be given."""


CLASSES: dict[str, type[Modem]] = {
    each.interface: each for each in (Nova, Modem, E303, MS2131, IOTA, Nova_U201, NovaM, BG96, EC21)
}
"""The class of each interface."""

_NAMES: dict[str, type[Modem]] = {
    **{interface.removeprefix("cellular-"): each for interface, each in CLASSES.items()},
    "e372": E372,
    "ec25": EC25,
    "nova": Nova,
    "novam": NovaM,
    "": Modem,
}
"""The classes by the names that a script may give [hologram-python 0.5 to 0.10, ``Cellular``]."""


def modem_of(modem: Modem | str, event: Event) -> Modem:
    """Return ``modem``, or a new one for the name of a kind; raises `NetworkError` for an unknown name."""
    if not isinstance(modem, str):
        return modem
    kind = _NAMES.get(modem.lower())
    if kind is None:
        raise NetworkError(f"modem: {modem!r} is not allowed; give one of {', '.join(sorted(_NAMES))}")
    return kind(event=event)


def usable_modems() -> list[Modem]:
    """Return an object for each modem that is found by its USB id."""
    return [CLASSES[found.profile.interface](device_name=found.at_port) for found in usb.find(PROFILES)]
