"""What every network interface has [Python SDK 0.3 and 0.1, "Network"]."""
# ruff: noqa: N802  # the documented names

import logging
from collections.abc import Callable
from enum import Enum

from bridge.core.exchange import Transport
from bridge.sdk.engine.inbox import Inbox
from bridge.sdk.event import Event

DEFAULT_NETWORK_TIMEOUT = 200
"""Seconds that a connection may take to come up."""


class NetworkScope(Enum):
    """What goes over the interface: everything, or Hologram's own ranges alone [hologram-python 0.10]."""

    SYSTEM = 1
    HOLOGRAM = 2


class Network:
    """What every interface has; this one stands for the machine's own network, and does nothing."""

    def __init__(self, event: Event | None = None) -> None:
        self.event = event or Event()
        self.logger = logging.getLogger(type(self).__name__)
        self.scope = NetworkScope.SYSTEM
        self.interfaceName = ""
        self.on_change: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return type(self).__name__

    def connect(self, timeout: float = DEFAULT_NETWORK_TIMEOUT) -> bool:  # noqa: ARG002  # documented
        """Connect within ``timeout`` seconds; return whether it worked."""
        return True

    def disconnect(self) -> bool:
        """Disconnect; return whether it worked."""
        return True

    def reconnect(self) -> bool:
        """Disconnect and connect again; return whether it worked."""
        return self.disconnect() and self.connect()

    def getConnectionStatus(self) -> int:
        """Return a connection status code; 1 is connected."""
        return 1

    def getSignalStrength(self) -> str:
        """Raise NotImplementedError: a network has none; a modem has ``signal_strength``."""
        raise NotImplementedError("Must instantiate a defined Network type")

    def getAvgSignalStrength(self) -> str:
        """Raise NotImplementedError; Wi-Fi has one."""
        raise NotImplementedError("Must instantiate a defined Network type")

    def is_connected(self) -> bool:
        """Return whether the interface is connected."""
        return True

    def disable_at_sockets_mode(self) -> None:
        """Use no sockets of the modem's own from now on; without a modem there are none."""

    def enable_at_sockets_mode(self) -> None:
        """Use the modem's own sockets again where it has some."""

    @property
    def at_sockets_available(self) -> bool:
        """Whether the modem's own sockets carry just now."""
        return False

    # -- for the clouds ----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether messages can go, as far as is known."""
        return True

    @property
    def sockets(self) -> Transport | None:
        """The modem's own sockets, while they are what carries."""
        return None

    @property
    def sim_identity(self) -> tuple[str | None, str | None]:
        """The SIM's ICCID and IMSI, as far as they are known."""
        return None, None

    def fetch_sim_identity(self) -> tuple[str | None, str | None]:
        """Ask the SIM for its ICCID and IMSI; None where there is no modem."""
        return self.sim_identity

    def prepare(self, timeout: float) -> None:
        """Get ready what a message needs, where that does not take a `connect`."""

    def open_receive_socket(self, receive_port: int, inbox: Inbox) -> bool:  # noqa: ARG002  # a modem's
        """Listen by the modem's own sockets; return False where the machine's network is to be used."""
        return False

    def close_receive_socket(self) -> None:
        """Listen no more."""

    def close(self) -> None:
        """Let go of what was opened."""
