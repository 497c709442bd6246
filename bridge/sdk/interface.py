"""The base of network interfaces [Python SDK 0.3 and 0.1, "Network"]."""
# ruff: noqa: N802  # the documented names

import logging
from collections.abc import Callable
from enum import Enum

from bridge.core.exchange import Transport
from bridge.sdk.engine.inbox import Inbox
from bridge.sdk.event import Event

DEFAULT_NETWORK_TIMEOUT = 200
"""Default limit of `Network.connect`, in seconds."""


class NetworkScope(Enum):
    """The traffic over the interface: all, or Hologram's own ranges alone [hologram-python 0.10]."""

    SYSTEM = 1
    HOLOGRAM = 2


class Network:
    """The base class of interfaces; this one is the machine's own network, and does nothing."""

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
        """Raise NotImplementedError; only a modem has a ``signal_strength``."""
        raise NotImplementedError("Must instantiate a defined Network type")

    def getAvgSignalStrength(self) -> str:
        """Raise NotImplementedError; only Wi-Fi has an average."""
        raise NotImplementedError("Must instantiate a defined Network type")

    def is_connected(self) -> bool:
        """Return whether the interface is connected."""
        return True

    def disable_at_sockets_mode(self) -> None:
        """Do nothing; without a modem there are no sockets of its own."""

    def enable_at_sockets_mode(self) -> None:
        """Do nothing; without a modem there are no sockets of its own."""

    @property
    def at_sockets_available(self) -> bool:
        """Whether the modem's own sockets can carry messages now."""
        return False

    # -- for the clouds ----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether messages can be sent, as far as is known."""
        return True

    @property
    def sockets(self) -> Transport | None:
        """The modem's own sockets while they carry messages; otherwise None."""
        return None

    @property
    def sim_identity(self) -> tuple[str | None, str | None]:
        """The SIM's ICCID and IMSI; None for one that is not known yet."""
        return None, None

    def fetch_sim_identity(self) -> tuple[str | None, str | None]:
        """Ask the SIM for its ICCID and IMSI; None without a modem."""
        return self.sim_identity

    def prepare(self, timeout: float) -> None:
        """Prepare to send a message, if that needs no `connect`."""

    def open_receive_socket(self, receive_port: int, inbox: Inbox) -> bool:  # noqa: ARG002  # a modem's
        """Listen by the modem's own sockets; return False if the machine's network is used instead."""
        return False

    def close_receive_socket(self) -> None:
        """Stop listening."""

    def close(self) -> None:
        """Close the interface."""
