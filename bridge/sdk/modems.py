"""The modems of each kind [Python SDK 0.3, "E303", "MS2131", "iota"; hologram-python 0.10]."""
# ruff: noqa: N803  # the documented names

from typing import Any

from bridge.sdk.modem import DEFAULT_CHATSCRIPT, Modem

MS2131_DEVICE_NAME = "/dev/ttyUSB0"
IOTA_DEVICE_NAME = "/dev/ttyACM0"


class E303(Modem):
    """A Huawei E303."""

    interface = "cellular-e303"


class MS2131(Modem):
    """A Huawei MS2131."""

    interface = "cellular-ms2131"


class IOTA(Modem):
    """A Hologram iota (u-blox SARA-U201)."""

    interface = "cellular-iota"
    _default_device = IOTA_DEVICE_NAME

    def __init__(
        self,
        mode: str = "ppp",
        deviceName: str = IOTA_DEVICE_NAME,
        baudRate: str | int = "9600",
        chatScriptFile: str = DEFAULT_CHATSCRIPT,
        **later: Any,
    ) -> None:
        super().__init__(mode, deviceName, baudRate, chatScriptFile, **later)


class Nova(IOTA):
    """A Hologram Nova of any kind."""

    interface = "cellular"


class Nova_U201(Nova):  # noqa: N801  # the documented name
    """A Hologram Nova with a u-blox SARA-U201."""

    interface = "cellular-nova-u201"


class NovaM(Nova):
    """A Hologram Nova with a u-blox SARA-R4."""

    interface = "cellular-nova-r410"


class BG96(Modem):
    """A Quectel BG96."""

    interface = "cellular-bg96"


class EC21(Modem):
    """A Quectel EC21."""

    interface = "cellular-ec21"


CLASSES: dict[str, type[Modem]] = {
    each.interface: each for each in (Nova, Modem, E303, MS2131, IOTA, Nova_U201, NovaM, BG96, EC21)
}
"""The class of each interface."""
