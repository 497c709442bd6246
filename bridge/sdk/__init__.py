"""Hologram's Python SDK, by its documented names, on the bridge's own core.

A script written for it changes its import line::

    from bridge.sdk import HologramCloud

or keeps the old module names below this package::

    from bridge.sdk.Hologram.HologramCloud import HologramCloud

One thing differs: a message that cannot be sent is kept on disk beside the script. It is sent once, with its
topics, when the network is back, by this run of the script or a later one.
"""

from importlib import import_module
from typing import Any

from bridge.sdk import mirror
from bridge.sdk.cloud import SDK_VERSION, Cloud
from bridge.sdk.custom_cloud import CustomCloud
from bridge.sdk.engine.errors import (
    ApiError,
    AuthenticationError,
    HologramError,
    ModemError,
    NetworkError,
    PortTaken,
    PPPConnectionError,
    PPPError,
    SerialError,
)
from bridge.sdk.engine.identity import Authentication, Credentials
from bridge.sdk.engine.response import (
    ERR_AUTHINVALID,
    ERR_CONNCLOSED,
    ERR_INTERNAL,
    ERR_METADATA,
    ERR_MSGINVALID,
    ERR_OK,
    ERR_PAYLOADINVALID,
    ERR_PROTINVALID,
    ERR_TOPICINVALID,
    ERR_UNKNOWN,
    Response,
)
from bridge.sdk.event import Event
from bridge.sdk.hologram_cloud import HologramCloud
from bridge.sdk.interface import Network, NetworkScope
from bridge.sdk.legacy import Hologram, Raw
from bridge.sdk.network import NetworkManager

__version__ = SDK_VERSION

_LATE = {
    **dict.fromkeys(
        (
            "Cellular",
            "CLOUD_DISCONNECTED",
            "CLOUD_CONNECTED",
            "CLOUD_ERR_SIM",
            "CLOUD_ERR_SIGNAL",
            "CLOUD_ERR_CONNECT",
        ),
        "bridge.sdk.cellular",
    ),
    "Wifi": "bridge.sdk.wifi",
    **dict.fromkeys(
        (
            *("E303", "MS2131", "E372", "IOTA", "Nova", "Nova_U201", "NovaM"),
            *("Quectel", "BG96", "EC21", "EC25"),
        ),
        "bridge.sdk.modems",
    ),
    "Modem": "bridge.sdk.modem",
    "ModemResult": "bridge.sdk.engine.at",
    **dict.fromkeys(("SMS", "Location"), "bridge.sdk.engine.values"),
}
"""Names for modems and Wi-Fi, imported only for scripts that use them."""

__all__ = [
    "ERR_AUTHINVALID",
    "ERR_CONNCLOSED",
    "ERR_INTERNAL",
    "ERR_METADATA",
    "ERR_MSGINVALID",
    "ERR_OK",
    "ERR_PAYLOADINVALID",
    "ERR_PROTINVALID",
    "ERR_TOPICINVALID",
    "ERR_UNKNOWN",
    "SDK_VERSION",
    "ApiError",
    "Authentication",
    "AuthenticationError",
    "Cloud",
    "Credentials",
    "CustomCloud",
    "Event",
    "Hologram",
    "HologramCloud",
    "HologramError",
    "ModemError",
    "Network",
    "NetworkError",
    "NetworkManager",
    "NetworkScope",
    "PPPConnectionError",
    "PPPError",
    "PortTaken",
    "Raw",
    "Response",
    "SerialError",
]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


mirror.install(__name__)
