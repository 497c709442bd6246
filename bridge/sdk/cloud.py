"""The base of all clouds: addresses, credentials, events, the network, and the outbox beneath them."""
# ruff: noqa: N802  # the documented names

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.core.exchange import Transport
from bridge.flow.message.codecs import CloudAccess
from bridge.sdk.engine.calls import Sender, Wanted
from bridge.sdk.engine.errors import HologramError
from bridge.sdk.engine.identity import Authentication
from bridge.sdk.engine.outbox_service import OutboxService, close, registry_at, service_at
from bridge.sdk.engine.places import outbox_path
from bridge.sdk.engine.response import Response
from bridge.sdk.engine.runtime import dispatcher
from bridge.sdk.event import Event
from bridge.sdk.network import NetworkManager

if TYPE_CHECKING:
    from bridge.sdk.modem import Modem

SDK_VERSION = "0.10.3"
"""The release of Hologram's SDK whose interface this is."""

DRAIN_WAIT = 60.0
"""Most seconds that ``network.connected`` waits for the kept messages to be sent."""


class Cloud:
    """The base class of clouds [Python SDK 0.3, "Cloud"].

    Args:
        credentials: a dictionary or a `Credentials` object; None where the host needs none.
        send_host, send_port: the destination of messages.
        receive_host, receive_port: the address for inbound messages.
        network: the interface, ``''`` for the machine's own network.
        modem: the modem to use, instead of a search.
        outbox: the file that keeps unsent messages; by default beside the script.

    """

    def __init__(
        self,
        credentials: object,
        send_host: str = "",
        send_port: int | str = 0,
        receive_host: str = "",
        receive_port: int | str = 0,
        network: str = "",
        modem: "Modem | None" = None,
        *,
        outbox: str | Path | None = None,
    ) -> None:
        self.logger = logging.getLogger(type(self).__name__)
        self.authentication: Authentication = Authentication(credentials)
        self.send_host = send_host
        self.send_port = send_port
        self.receive_host = receive_host
        self.receive_port = receive_port
        self.keeps = True
        """Whether an unsent message is kept and sent later; False: one attempt, whose outcome is final."""
        self._sender = Sender(
            access=self._access,
            network_up=self.is_ready_to_send,
            sockets=self._sockets,
            identity=self._identity,
            host=self._host,
            delivered=self._news,
            happened=self._broadcast,
        )
        self._attached: OutboxService | None = None
        self._outbox = Path(outbox).absolute() if outbox is not None else outbox_path()
        self.initializeNetwork(network, modem)

    def __repr__(self) -> str:
        return type(self).__name__

    def initializeNetwork(self, network: str = "", modem: "Modem | None" = None) -> None:
        """Use another network interface, without the handlers of the previous one [hologram-python 0.10]."""
        self.event = Event()
        self._down = False
        self._networkManager = NetworkManager(self.event, network, modem=modem)
        self._networkManager.on_change = self._network_changed
        self.event.subscribe("network.connected", self._network_connected)
        self.event.subscribe("network.disconnected", self._network_disconnected)

    # -- sending -----------------------------------------------------------------------------------------

    def sendMessage(self, messages: object, topics: Any = None, **more: Any) -> Response:
        """Send a message; subclasses define the parameters."""
        raise NotImplementedError("Must instantiate a Cloud type")

    def addPayloadToBuffer(self, payload: object) -> None:
        """Send ``payload`` now, or keep it until it can be sent [hologram-python 0.10]."""
        self.sendMessage(payload)

    def sendSMS(self, destination_number: str, message: str) -> Response:
        """Send an SMS to the destination number."""
        raise NotImplementedError("Must instantiate a Cloud type")

    def _send(self, wanted: Wanted, timeout: float) -> Response:
        """Make the message durable, try to send it and return the outcome; broadcast events meanwhile."""
        if timeout is None or timeout <= 0:
            raise HologramError(f"timeout: {timeout!r} is not allowed; give seconds above 0")
        if not self._down:
            self._networkManager.network.prepare(timeout)
        service = self._post()
        wanted = wanted._replace(keeps=self.keeps)
        response = service.send(self._sender, wanted, float(timeout), self.event.broadcast)
        if response.kept:
            self.logger.info(
                "Not sent yet (%s): the message is kept and sent when it can be", response.reason
            )
        elif response.code in (None, 0) and not response.reason:
            self.logger.info("Sent.")
            self.event.broadcast("message.sent")
        return response

    def _post(self) -> OutboxService:
        """Return the outbox's service; open it if necessary."""
        service = service_at(self._outbox)
        if service is not self._attached:
            service.attach(self._sender)
            self._attached = service
        return service

    @property
    def waiting(self) -> int:
        """Number of kept messages that are not delivered yet, of this run and earlier ones."""
        return self._post().waiting if self._outbox.exists() else 0

    def _wake_outbox(self) -> None:
        """Send the messages that an earlier run of the script has left."""
        registry_at(self._outbox).join(self._sender)
        if self._outbox.exists():
            self._post()

    def _access(self) -> CloudAccess | None:
        """Return the cloud's address and the credentials; None where messages carry no credentials."""
        return None

    def _identity(self) -> str | None:
        """Return the key of the device's account; None if it is no device of the Hologram cloud."""
        return None

    def _host(self) -> tuple[str, int]:
        return self.send_host, self.send_port

    def _sockets(self) -> Transport | None:
        return self._networkManager.network.sockets

    def _broadcast(self, event: str) -> None:
        self.event.broadcast(event)

    def _news(self, response: Response) -> None:
        """Log that a kept message was sent."""
        self.logger.info("A buffered message has been sent since an active connection is established")
        self.logger.info("The buffered response is: %s", str(response))
        if response.code in (None, 0):
            self.event.broadcast("message.sent")

    # -- the network -------------------------------------------------------------------------------------

    def is_ready_to_send(self) -> bool:
        """Whether the network is not known to be down."""
        return not self._down and self._networkManager.network.ready

    def _network_connected(self) -> None:
        """Send the kept messages; the event's caller waits for it, as with the SDK."""
        self._down = False
        self._networkManager.networkConnected()
        if not self._outbox.exists():
            return
        service = self._post()
        if dispatcher().inside:
            service.network_changed()
        else:
            service.drain(DRAIN_WAIT)

    def _network_disconnected(self) -> None:
        self._down = True
        self._networkManager.networkDisconnected()

    def _network_changed(self) -> None:
        if self._attached is not None:
            self._attached.network_changed()

    def close(self) -> None:
        """Close the network and the outbox; the next run of the script sends what the outbox holds.

        A script need not call it, because its end does the same.
        """
        self._networkManager.close()
        service, self._attached = self._attached, None
        registry_at(self._outbox).leave(self._sender)
        if service is not None and service.detach(self._sender):
            close(self._outbox)

    # -- properties --------------------------------------------------------------------------------------

    @property
    def credentials(self) -> object:
        """The device's credentials."""
        return self.authentication.credentials

    @credentials.setter
    def credentials(self, credentials: object) -> None:
        self.authentication.credentials = credentials

    @property
    def send_port(self) -> int:
        """The destination's port, set as a number or its digits; ValueError for anything else."""
        return self._send_port

    @send_port.setter
    def send_port(self, send_port: int | str) -> None:
        self._send_port = _port("send_port", send_port)

    @property
    def receive_port(self) -> int:
        """The port for inbound messages, set as a number or its digits."""
        return self._receive_port

    @receive_port.setter
    def receive_port(self, receive_port: int | str) -> None:
        self._receive_port = _port("receive_port", receive_port)

    @property
    def network(self) -> NetworkManager:
        """The network interface; without a name it is the machine's own network."""
        return self._networkManager

    @property
    def network_type(self) -> str:
        """The class of the interface, ``Network Agnostic Mode`` without one [hologram-python 0.10]."""
        return repr(self._networkManager)

    @property
    def version(self) -> str:
        """The SDK's version, as `getSDKVersion` returns it [hologram-python 0.10]."""
        return SDK_VERSION

    def getSDKVersion(self) -> str:
        """Return the SDK's version, e.g. ``0.10.3``."""
        return SDK_VERSION


def _port(name: str, value: int | str | None) -> int:
    try:
        port = int(value or 0)
    except (TypeError, ValueError):
        raise ValueError(
            f"Invalid port parameter. Unable to convert port to a valid integer: {name} is {value!r}"
        ) from None
    if not 0 <= port <= 65535:
        raise ValueError(f"{name}: {port} is not allowed; a port is at most 65535")
    return port
