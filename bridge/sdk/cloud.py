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
"""The release of Hologram's SDK whose face this is."""

DRAIN_WAIT = 60.0
"""Seconds that ``network.connected`` waits at most for what was kept to go."""


class Cloud:
    """What every cloud has [Python SDK 0.3, "Cloud"].

    Args:
        credentials: a dictionary or a `Credentials` object; None where the host needs none.
        send_host, send_port: where messages go.
        receive_host, receive_port: where messages are taken.
        network: the interface, ``''`` for the machine's own network.
        modem: one to use instead of searching for it.
        outbox: the file that keeps what could not be sent; by default beside the script.

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
        """What cannot be sent at once is kept and goes later; False: one try, and its outcome is final."""
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
        """Use another network interface from now on; its events start anew [hologram-python 0.10]."""
        self.event = Event()
        self._down = False
        self._networkManager = NetworkManager(self.event, network, modem=modem)
        self._networkManager.on_change = self._network_changed
        self.event.subscribe("network.connected", self._network_connected)
        self.event.subscribe("network.disconnected", self._network_disconnected)

    # -- sending -----------------------------------------------------------------------------------------

    def sendMessage(self, messages: object, topics: Any = None, **more: Any) -> Response:
        """Send a message; its parameters are the subclass's to say."""
        raise NotImplementedError("Must instantiate a Cloud type")

    def addPayloadToBuffer(self, payload: object) -> None:
        """Have ``payload`` sent as soon as it can be: what cannot go now is kept [hologram-python 0.10]."""
        self.sendMessage(payload)

    def sendSMS(self, destination_number: str, message: str) -> Response:
        """Send an SMS to the destination number."""
        raise NotImplementedError("Must instantiate a Cloud type")

    def _send(self, wanted: Wanted, timeout: float) -> Response:
        """Make it durable, try it, and return how that ended; a handler hears of events meanwhile."""
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
        """Return the outbox, opened if need be."""
        service = service_at(self._outbox)
        if service is not self._attached:
            service.attach(self._sender)
            self._attached = service
        return service

    @property
    def waiting(self) -> int:
        """How many messages are kept and not delivered yet, of this run or an earlier one."""
        return self._post().waiting if self._outbox.exists() else 0

    def _wake_outbox(self) -> None:
        """Send what an earlier run of the script has left, if it has left anything."""
        registry_at(self._outbox).join(self._sender)
        if self._outbox.exists():
            self._post()

    def _access(self) -> CloudAccess | None:
        """Where the cloud is and who we are to it; None where messages carry no identity."""
        return None

    def _identity(self) -> str | None:
        """What tells its device from others; None where it is none of the Hologram cloud's."""
        return None

    def _host(self) -> tuple[str, int]:
        return self.send_host, self.send_port

    def _sockets(self) -> Transport | None:
        return self._networkManager.network.sockets

    def _broadcast(self, event: str) -> None:
        self.event.broadcast(event)

    def _news(self, response: Response) -> None:
        """A message that was kept has gone."""
        self.logger.info("A buffered message has been sent since an active connection is established")
        self.logger.info("The buffered response is: %s", str(response))
        if response.code in (None, 0):
            self.event.broadcast("message.sent")

    # -- the network -------------------------------------------------------------------------------------

    def is_ready_to_send(self) -> bool:
        """Whether the network is not known to be down."""
        return not self._down and self._networkManager.network.ready

    def _network_connected(self) -> None:
        """What was kept goes now; who tells of the network waits for it, as with the SDK."""
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
        """Let go of the network and the outbox; what is in it goes with the script's next run.

        Not needed: the script's end does the same.
        """
        self._networkManager.close()
        service, self._attached = self._attached, None
        registry_at(self._outbox).leave(self._sender)
        if service is not None and service.detach(self._sender):
            close(self._outbox)

    # -- properties --------------------------------------------------------------------------------------

    @property
    def credentials(self) -> object:
        """What the device proves itself by."""
        return self.authentication.credentials

    @credentials.setter
    def credentials(self, credentials: object) -> None:
        self.authentication.credentials = credentials

    @property
    def send_port(self) -> int:
        """The port that messages go to; set as a number or as its digits, ValueError for anything else."""
        return self._send_port

    @send_port.setter
    def send_port(self, send_port: int | str) -> None:
        self._send_port = _port("send_port", send_port)

    @property
    def receive_port(self) -> int:
        """The port on which messages are taken; set as a number or as its digits."""
        return self._receive_port

    @receive_port.setter
    def receive_port(self, receive_port: int | str) -> None:
        self._receive_port = _port("receive_port", receive_port)

    @property
    def network(self) -> NetworkManager:
        """The network interface; without one of its own it stands for the machine's network."""
        return self._networkManager

    @property
    def network_type(self) -> str:
        """The class of the interface, ``Network Agnostic Mode`` without one [hologram-python 0.10]."""
        return repr(self._networkManager)

    @property
    def version(self) -> str:
        """As `getSDKVersion` [hologram-python 0.10]."""
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
