"""The SDK's old module names below this package, so that an old import line needs only a new prefix.

``from Hologram.HologramCloud import HologramCloud`` becomes
``from bridge.sdk.Hologram.HologramCloud import HologramCloud``. The modules exist in `sys.modules` alone:
each holds the names that its namesake has [hologram-python 0.1, 0.3 and 0.10].
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

_CODES = (
    "ERR_OK ERR_CONNCLOSED ERR_MSGINVALID ERR_AUTHINVALID ERR_PAYLOADINVALID ERR_PROTINVALID ERR_INTERNAL "
    "ERR_METADATA ERR_TOPICINVALID ERR_UNKNOWN"
)
_HOSTS = (
    "DEFAULT_SEND_MESSAGE_TIMEOUT HOLOGRAM_HOST_SEND HOLOGRAM_PORT_SEND HOLOGRAM_HOST_RECEIVE "
    "HOLOGRAM_PORT_RECEIVE MAX_SMS_LENGTH"
)
_STATUS = "CLOUD_DISCONNECTED CLOUD_CONNECTED CLOUD_ERR_SIM CLOUD_ERR_SIGNAL CLOUD_ERR_CONNECT"
_MODEMS = "E303 MS2131 E372 IOTA Nova Nova_U201 NovaM Quectel BG96 EC21 EC25"
_TIMEOUTS = {
    **{name: f"DEFAULT_{name.upper()}_TIMEOUT" for name in _MODEMS.split()},
    "IOTA": "",
    "Quectel": "",
    "EC25": "DEFAULT_EC21_TIMEOUT",
}
_AT_RESULTS = "MODEM_NO_MATCH MODEM_ERROR MODEM_TIMEOUT MODEM_OK"
_VALUES = {"engine.values": "Location SMS", "engine.at": "ModemResult"}

_Table = Mapping[str, Mapping[str, str]]

MODULES: _Table = {
    # old module: {where its names are: the names}
    "Hologram": {
        "cloud": "Cloud",
        "custom_cloud": "CustomCloud",
        "hologram_cloud": "HologramCloud",
        "legacy": "Hologram Raw",
        "engine.identity": "Credentials",
        "event": "Event",
    },
    "Hologram.Cloud": {"cloud": "Cloud"},
    "Hologram.CustomCloud": {
        "custom_cloud": "CustomCloud MAX_RECEIVE_BYTES MAX_QUEUED_CONNECTIONS RECEIVE_TIMEOUT SEND_TIMEOUT "
        "MIN_PERIODIC_INTERVAL"
    },
    "Hologram.HologramCloud": {"hologram_cloud": f"HologramCloud {_HOSTS}", "engine.response": _CODES},
    "Hologram.Hologram": {"legacy": "Hologram"},
    "Hologram.Raw": {"legacy": "Raw"},
    "Hologram.Credentials": {"engine.identity": "Credentials"},
    "Hologram.Credentials.Credentials": {"engine.identity": "Credentials"},
    "Hologram.Authentication": {"engine.identity": "Authentication"},
    "Hologram.Authentication.Authentication": {"engine.identity": "Authentication"},
    "Hologram.Event": {"event": "Event"},
    "Hologram.Event.Event": {"event": "Event"},
    "Hologram.Network": {
        "interface": "Network NetworkScope",
        "network": "NetworkManager",
        "cellular": f"Cellular {_STATUS}",
        "wifi": "Wifi",
    },
    "Hologram.Network.Network": {"interface": "Network NetworkScope"},
    "Hologram.Network.NetworkManager": {"network": "NetworkManager", "interface": "DEFAULT_NETWORK_TIMEOUT"},
    "Hologram.Network.Cellular": {"cellular": f"Cellular DEFAULT_CELLULAR_TIMEOUT {_STATUS}"},
    "Hologram.Network.Wifi": {"wifi": "Wifi"},
    "Hologram.Network.Modem": {"modem": "Modem", "modems": _MODEMS},
    "Hologram.Network.Modem.Modem": {"modem": "Modem", "engine.at": "ModemResult"},
    "Hologram.Network.Modem.IModem": {"modem": "IModem", "engine.at": _AT_RESULTS},
    **{f"Hologram.Network.Modem.{name}": {"modems": f"{name} {_TIMEOUTS[name]}"} for name in _MODEMS.split()},
    "Exceptions": {},
    "Exceptions.HologramError": {
        "engine.errors": "HologramError ApiError AuthenticationError NetworkError ModemError PPPError "
        "PPPConnectionError SerialError"
    },
    "UtilClasses": _VALUES,
    "UtilClasses.UtilClasses": _VALUES,
}


class _Mirror(ModuleType):
    """A module that looks its names up when they are asked for."""

    def __init__(self, package: str, name: str, names: Mapping[str, str]) -> None:
        super().__init__(f"{package}.{name}", f"The names of the SDK's module ``{name}``.")
        self.__package__ = package
        self.__path__: list[str] = []
        self._where = {each: f"{package}.{where}" for where, all_ in names.items() for each in all_.split()}
        self.__all__ = list(self._where)

    def __getattr__(self, name: str) -> Any:
        where = self.__dict__.get("_where", {}).get(name)
        if where is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(import_module(where), name)


def install(package: str) -> None:
    """Make the old names importable below ``package``."""
    for name, names in MODULES.items():
        sys.modules[f"{package}.{name}"] = _Mirror(package, name, names)
