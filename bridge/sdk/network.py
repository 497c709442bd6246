"""The network manager: chooses the interface by its name [Python SDK 0.3, "NetworkManager"]."""
# ruff: noqa: N802  # the documented names

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.sdk.engine.errors import NetworkError
from bridge.sdk.event import Event
from bridge.sdk.interface import DEFAULT_NETWORK_TIMEOUT, Network, NetworkScope

if TYPE_CHECKING:
    from bridge.sdk.modem import Modem

INTERFACES = (
    "",
    "cellular",
    "cellular-bg96",
    "cellular-e303",
    "cellular-ec21",
    "cellular-iota",
    "cellular-ms2131",
    "cellular-nova-r410",
    "cellular-nova-u201",
    "wifi",
)
"""The names of the interfaces; ``''`` is the machine's own network."""

log = logging.getLogger("NetworkManager")

_OWN = {"event", "logger", "networkActive", "network", "_name"}


class NetworkManager:
    """Chooses the interface by its name and forwards to it; `network` is the interface itself.

    This object has all attributes of the interface (``signal_strength``, ``getSSID``, ``localIPAddress``…).
    """

    def __init__(self, event: Event, network_name: str = "", modem: "Modem | None" = None) -> None:
        """Raises `NetworkError` for an unknown name."""
        self.event = event
        self.logger = log
        self.networkActive = True
        self.init_network(network_name, modem)

    def init_network(self, network: str, modem: "Modem | None" = None) -> None:
        """Use another interface from now on; raises `NetworkError` for an unknown name."""
        made = self._make(network, modem)
        self._name = network
        self.network = made

    def _make(self, name: str, modem: "Modem | None") -> Network:
        if not name:
            return Network(self.event)
        if name == "wifi":
            from bridge.sdk.wifi import Wifi

            return Wifi(event=self.event)
        if name in INTERFACES:
            from bridge.sdk.cellular import Cellular

            return Cellular(self.event, name, modem)
        allowed = ", ".join(each for each in INTERFACES if each)
        raise NetworkError(f"Invalid network type: {name}; allowed is {allowed}, or '' for none")

    def connect(self, timeout: float = DEFAULT_NETWORK_TIMEOUT) -> bool:
        """Connect within ``timeout`` seconds; return whether it worked. Without an interface, do nothing."""
        return self.network.connect(timeout)

    def disconnect(self) -> bool:
        """Disconnect; return whether it worked. Without an interface, do nothing."""
        return self.network.disconnect()

    def reconnect(self) -> bool:
        """Disconnect and connect again; return whether it worked."""
        return self.network.reconnect()

    def listAvailableInterfaces(self) -> list[str]:
        """Return the names of the interfaces that can be chosen."""
        return list(INTERFACES)

    def networkConnected(self) -> None:
        """Note that the network is up."""
        self.networkActive = True

    def networkDisconnected(self) -> None:
        """Note that the network is down."""
        self.networkActive = False

    @property
    def name(self) -> str:
        """The interface's name."""
        return self._name

    @property
    def scope(self) -> NetworkScope:
        """The traffic over the interface; set it before `connect`."""
        return self.network.scope

    @scope.setter
    def scope(self, scope: NetworkScope) -> None:
        self.network.scope = scope

    @property
    def on_change(self) -> Callable[[], None]:
        """Callback for a change of the interface, up or down."""
        return self.network.on_change

    @on_change.setter
    def on_change(self, callback: Callable[[], None]) -> None:
        self.network.on_change = callback

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of the interface, such as ``network.modem``, unless it is the manager's own."""
        if name in _OWN or hasattr(type(self), name):
            super().__setattr__(name, value)
        else:
            setattr(self.network, name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "network":  # missing after a failed constructor
            raise AttributeError(name)
        return getattr(self.network, name)

    def __repr__(self) -> str:
        return repr(self.network) if self._name else "Network Agnostic Mode"
