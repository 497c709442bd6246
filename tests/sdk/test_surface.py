"""Every public name of the released SDK is here, or is left out for a reason that is given.

``released.json`` holds the names and parameters of hologram-python 0.10.3, written down by `record_released`.
"""

import importlib
import inspect
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bridge.sdk import CustomCloud, HologramCloud

NOT_MIRRORED = {
    # pattern of module, class and name: why
    "Hologram.Api*": "the dashboard's web API, which takes the key or the password of the whole account",
    "Hologram.Authentication.AES.*": "nothing that is sent is encrypted by it, in the released SDK neither",
    "Hologram.Authentication.CSRPSK*": "writes requests, which is bridge.protocol.cloud's",
    "Hologram.Authentication.Hologram*": "writes requests, which is bridge.protocol.cloud's",
    "Hologram.CustomCloud.CustomCloud.acceptIncomingConnection": "the body of a thread",
    "Hologram.CustomCloud.CustomCloud.open_receive_socket_helper": "a step of openReceiveSocket",
    "Hologram.CustomCloud.CustomCloud.receive_send_socket": "each message has a socket of its own",
    "Hologram.HologramCloud.HologramCloud.request_hex_nonce": "a step of sim-otp, which is not documented",
    "Hologram.Network.BLE*": "cannot be made by the released SDK: its constructor takes no event",
    "Hologram.Network.Ethernet*": "brings an interface named after an event up; the machine's network is ''",
    "Hologram.Network.Route*": "routes are made with the link",
    "Hologram.Network.Modem.DriverLoader*": "drivers are the system's: modules-load.d and udev",
    "Hologram.Network.Modem.ModemMode*": "pppd's life is bridge.adapters.ppp.pppd's",
    "Hologram.Network.Modem.chatscripts*": "holds no Python",
    "Hologram.Network.Modem.MockModem*": "a double for its own tests",
    "Hologram.Network.Modem.NovaM.NovaM.module": "as DriverLoader",
    "Hologram.Network.Modem.NovaM.NovaM.syspath": "as DriverLoader",
    "Hologram.Network.Modem.IModem.IModem.module": "as DriverLoader",
    "Hologram.Network.Modem.IModem.IModem.syspath": "as DriverLoader",
    **{
        f"Hologram.Network.*.{name}": "a single step: it would leave a connection that costs"
        for name in (
            *("create_socket", "connect_socket", "listen_socket", "write_socket", "read_socket"),
            *("close_socket", "send_message", "pop_received_message"),
        )
    },
    "Hologram.Network.*.open_receive_socket": "as create_socket; CustomCloud.openReceiveSocket is here",
    "Hologram.Network.*.get_sim_otp_response": "a step of sim-otp, which is not documented",
    "Hologram.Network.Modem.*.enforce_nova_modem_mode": "done at each start",
    "Hologram.Network.Modem.*.modem_mode": "done at each start",
    "Hologram.Network.Modem.*.set_*_*": "done at each start",
    "Hologram.Network.Modem.*.init_serial_commands": "done at each start",
    "Hologram.Network.Modem.*.*populate_*": "reads an answer of the modem",
    **{
        f"Hologram.Network.Modem.*.{name}": "reads and writes the port, which has one reader"
        for name in ("serial_port", "debugwrite", "modemwrite", "process_response", "handleURC", "*_hex_mode")
    },
    **{
        f"Hologram.Network.Modem.Modem.Modem.{name}": "a figure of its own reader"
        for name in ("DEFAULT_*", "SOCKET_*", "GSM", "EXT")
    },
    "Hologram.Network.Modem.Modem.DEFAULT_CHATSCRIPT_PATH": "the chat scripts are in config/ppp",
    "UtilClasses.UtilClasses.RWLock*": "a lock for its own use",
}

RENAMED = {
    # The documents have other names for these parameters; the released ones can be given too.
    "device_name": "deviceName",
    "baud_rate": "baudRate",
    "chatscript_file": "chatScriptFile",
}


class Name(NamedTuple):
    """A public name: where it is, and what kind it is of."""

    module: str
    owner: str
    name: str
    kind: str
    parameters: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join(part for part in (self.module, self.owner, self.name) if part)


def released() -> Iterator[Name]:
    """Give every name of the released SDK."""
    found = json.loads((Path(__file__).parent / "released.json").read_text())
    for module, names in found.items():
        yield Name(module, "", "", "module")
        yield from (Name(module, "", each, "constant") for each in names["constants"])
        for owner, holds in names["classes"].items():
            yield Name(module, "", owner, "class")
            yield from (Name(module, owner, each, "attribute") for each in holds["attributes"])
            yield from (Name(module, owner, each, kind) for each, kind in holds["properties"].items())
            for each, parameters in holds["methods"].items():
                yield Name(module, owner, each, "method", tuple(parameters))


def reason(name: Name) -> str | None:
    return next((why for pattern, why in NOT_MIRRORED.items() if fnmatchcase(str(name), pattern)), None)


ALL = list(released())
MIRRORED = [name for name in ALL if reason(name) is None]


def module_of(name: Name) -> Any:
    return importlib.import_module(f"bridge.sdk.{name.module}")


@cache
def made(owner: str) -> Any:
    """Return an object of a class whose attributes are set when it is made; None for the others."""
    if owner in ("Cloud", "CustomCloud"):
        return CustomCloud(None)
    if owner == "HologramCloud":
        return HologramCloud({}, enable_inbound=False)
    if owner in ("Cellular", "NetworkManager"):
        network = CustomCloud(None, network="cellular").network
        return network.network if owner == "Cellular" else network
    if owner in ("Network", "Authentication"):
        kind = getattr(importlib.import_module("bridge.sdk"), owner)
        return kind() if owner == "Network" else kind({})
    return None


def has(name: Name) -> bool:
    """Whether the class has it, or an object of it, or through it the modem: nothing is asked of a modem."""
    kind = getattr(module_of(name), name.owner)
    if hasattr(kind, name.name) or name.name in vars(made(name.owner) or kind):
        return True
    if name.owner == "Cellular":  # it hands on what its modem has
        return hasattr(type(made("Cellular").modem), name.name)
    return issubclass(kind, importlib.import_module("bridge.sdk").Modem) and name.name in vars(kind())


@pytest.mark.parametrize("name", MIRRORED, ids=str)
def test_a_released_name_is_here(name: Name) -> None:
    """Below this package, in the module of old."""
    module = module_of(name)
    if name.kind in ("constant", "class"):
        assert hasattr(module, name.name)
    elif name.kind != "module":
        assert has(name)


@pytest.mark.parametrize("name", [each for each in MIRRORED if each.kind == "write"], ids=str)
def test_a_released_property_can_be_set(name: Name) -> None:
    """Where the released SDK lets scripts set it."""
    kind = getattr(module_of(name), name.owner)
    found = inspect.getattr_static(kind, name.name, None)
    assert not isinstance(found, property) or found.fset is not None


@pytest.mark.parametrize("name", [each for each in MIRRORED if each.kind == "method"], ids=str)
def test_a_released_call_is_taken(name: Name) -> None:
    """By its parameters' names, and in their order where there is no older one in the documents."""
    kind = getattr(module_of(name), name.owner)
    source = getattr(made("Cellular").modem, name.name) if not hasattr(kind, name.name) else None
    called = kind if name.name == "__init__" else source or getattr(kind, name.name)
    signature = inspect.signature(called)
    static = isinstance(inspect.getattr_static(kind, name.name, None), staticmethod)
    bound = [] if name.name == "__init__" or source or static else [kind]
    names = [parameter.rstrip("=") for parameter in name.parameters]
    needed = [each for each, parameter in zip(names, name.parameters, strict=True) if parameter[-1] != "="]
    signature.bind(*bound, **dict.fromkeys(needed))
    signature.bind(*bound, **dict.fromkeys(names))
    signature.bind(*bound, *names)
    ours = [each for each in signature.parameters if each != "self"]
    if not set(names) & set(RENAMED):
        assert ours[: len(names)] == names


def test_each_reason_is_for_something() -> None:
    """What is left out is in the released SDK, and is not here after all."""
    for pattern in NOT_MIRRORED:
        assert any(fnmatchcase(str(name), pattern) for name in ALL), pattern
