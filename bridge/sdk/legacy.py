"""The interface of the SDK's release 0.1: `Hologram`, and `Raw` or `Cloud` beneath it [Python SDK 0.1].

`Cloud` here is a kind of `Raw`, as in that release; the base class of later ones is `bridge.sdk.cloud.Cloud`.
"""
# ruff: noqa: N802  # the documented names

import logging
from collections.abc import Iterable
from pathlib import Path

from bridge.sdk.cloud import SDK_VERSION
from bridge.sdk.custom_cloud import CustomCloud
from bridge.sdk.engine.errors import HologramError
from bridge.sdk.engine.identity import Authentication, Credentials
from bridge.sdk.engine.response import Response
from bridge.sdk.event import Event
from bridge.sdk.hologram_cloud import HologramCloud
from bridge.sdk.network import NetworkManager

AUTHENTICATIONS = ("csrpsk", "totp")
KINDS = ("cloud", "raw")


class Raw(CustomCloud):
    """Sends to the user's own server, whose ``host`` and ``port`` are set after the construction."""

    def __init__(
        self,
        credentials: object = None,
        host: str = "",
        port: int | str = 0,
        network: str = "",
        *,
        outbox: str | Path | None = None,
    ) -> None:
        super().__init__(credentials, host, port, network=network, outbox=outbox)

    @property
    def host(self) -> str:
        """The server's name or address."""
        return self.send_host

    @host.setter
    def host(self, host: str) -> None:
        self.send_host = host

    @property
    def port(self) -> str:
        """The server's port, as a string; a number may be set too."""
        return str(self.send_port) if self.send_port else ""

    @port.setter
    def port(self, port: int | str) -> None:
        if not str(port).isdecimal():
            raise ValueError(f"port: {port!r} is not allowed; give a number")
        self.send_port = int(port)


class Cloud(HologramCloud, Raw):
    """A `Raw` for the Hologram cloud."""

    def __init__(
        self,
        credentials: object,
        network: str = "",
        authentication: str = "csrpsk",
        *,
        outbox: str | Path | None = None,
    ) -> None:
        HologramCloud.__init__(
            self,
            credentials,
            enable_inbound=False,
            network=network,
            authentication_type=authentication,
            outbox=outbox,
        )


class Hologram:
    """Assembles the components by their names.

    Args:
        credentials: a `Credentials` object, or a dictionary.
        network: ``''``, ``wifi`` or a cellular interface.
        raw: ``raw`` for the user's own server, ``cloud`` for the Hologram cloud.
        authentication: ``csrpsk`` or ``totp``.
        outbox: the file that keeps unsent messages; by default beside the script.

    Raises:
        HologramError: a name is not allowed.

    """

    def __init__(
        self,
        credentials: "Credentials | dict[str, str] | None",
        network: str = "",
        raw: str = "cloud",
        authentication: str = "csrpsk",
        *,
        outbox: str | Path | None = None,
    ) -> None:
        self.logger = logging.getLogger(type(self).__name__)
        if raw not in KINDS:
            raise HologramError(f"raw: {raw!r} is not allowed; give {' or '.join(KINDS)}")
        if authentication not in AUTHENTICATIONS:
            raise HologramError(f"Invalid authentication type: {authentication}; give csrpsk or totp")
        self.raw: Raw = (
            Raw(credentials, network=network, outbox=outbox)
            if raw == "raw"
            else Cloud(credentials, network, authentication, outbox=outbox)
        )
        self.raw.authentication.type = authentication

    @property
    def credentials(self) -> object:
        """The device's credentials."""
        return self.raw.credentials

    @credentials.setter
    def credentials(self, credentials: object) -> None:
        self.raw.credentials = credentials

    @property
    def network(self) -> NetworkManager:
        """The network interface."""
        return self.raw.network

    @property
    def authentication(self) -> Authentication:
        """The device's credentials with their type."""
        return self.raw.authentication

    @property
    def event(self) -> Event:
        """The same as ``raw.event``."""
        return self.raw.event

    @property
    def send_host(self) -> str:
        """The same as ``raw.host``."""
        return self.raw.send_host

    @send_host.setter
    def send_host(self, send_host: str) -> None:
        self.raw.send_host = send_host

    @property
    def send_port(self) -> int:
        """The same as ``raw.port``, as a number."""
        return self.raw.send_port

    @send_port.setter
    def send_port(self, send_port: int | str) -> None:
        self.raw.send_port = send_port

    def sendMessage(
        self, messages: "str | bytes | list[str]", topics: "Iterable[str] | str | None" = None
    ) -> Response:
        """Send one message, or several in sequence; return the outcome of the last."""
        several = messages if isinstance(messages, list | tuple) else [messages]
        if not several:
            raise HologramError("messages: an empty list is not allowed; give one message at least")
        return [self._send_one(message, topics) for message in several][-1]

    def _send_one(self, message: object, topics: "Iterable[str] | str | None") -> Response:
        if isinstance(self.raw, Cloud):
            return self.raw.sendMessage(message, topics)
        if topics:
            raise HologramError("topics: not allowed with 'raw'; they are the Hologram cloud's")
        return self.raw.sendMessage(message)

    def sendSMS(self, destination_number: str, message: str) -> Response:
        """Send an SMS by the Hologram cloud, as `HologramCloud.sendSMS` does."""
        return self.raw.sendSMS(destination_number, message)

    def getSDKVersion(self) -> str:
        """Return the SDK's version."""
        return SDK_VERSION
