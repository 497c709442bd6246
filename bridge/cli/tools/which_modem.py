"""The modem of the command ``hologram``: a running bridge's, or one that the command opens itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import ConfigError, OperationError

if TYPE_CHECKING:
    from bridge.sdk import NetworkScope
    from bridge.sdk.modem import Modem
    from bridge.settings import Settings


def settings(config: Path | None) -> "Settings | None":
    """Return the configuration; None if none is readable and no option names one."""
    from bridge.settings import load

    try:
        return load(config).settings
    except ConfigError:
        if config is not None:
            raise
        return None


class Bridge:
    """A running bridge that has the modem."""

    def __init__(self, control: Path) -> None:
        self._control = control

    def ask(self, what: str, **more: object) -> dict[str, Any]:
        """Return the bridge's answer about the modem; raises `OperationError`."""
        from bridge.adapters.system.control_socket import ask

        answer = ask(self._control, {"command": "modem", "what": what, **more})
        if answer is None:
            raise OperationError("the bridge has ended meanwhile")
        said: dict[str, Any] = answer["modem"]
        return said


def bridge(config: Path | None) -> Bridge | None:
    """Return the running bridge that has the modem; None without a bridge, or if the bridge has no modem."""
    from bridge.adapters.system.control_socket import ask, socket_path

    found = settings(config)
    if found is None or not found.network.interface.startswith("cellular"):
        return None
    control = socket_path(found.control.path, found.store.path)
    return Bridge(control) if ask(control, {"command": "network"}) is not None else None


def modem(config: Path | None) -> "Modem":
    """Return the modem that the configuration names, or any that is found by its USB id."""
    from bridge.sdk.modems import CLASSES

    found = settings(config)
    if found is None or not found.network.interface.startswith("cellular"):
        return CLASSES["cellular"]()
    network = found.network
    port = next(iter(network.devices), None)
    return CLASSES[network.interface](device_name=None if port is None else str(port), apn=network.apn)


def scope(config: Path | None) -> "NetworkScope":
    """Return the traffic that goes over the modem: all, unless the configuration says otherwise."""
    from bridge.sdk import NetworkScope

    found = settings(config)
    wide = found is None or found.network.scope == "system"
    return NetworkScope.SYSTEM if wide else NetworkScope.HOLOGRAM
