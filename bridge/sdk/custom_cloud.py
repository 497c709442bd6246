"""A cloud of one's own: bytes to a host and port, and from a port [Python SDK 0.3, "CustomCloud"]."""
# ruff: noqa: N802  # the documented names

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.core.messages import Channel
from bridge.sdk.cloud import Cloud
from bridge.sdk.engine.calls import Wanted
from bridge.sdk.engine.errors import HologramError
from bridge.sdk.engine.inbox import RECEIVE_TIMEOUT as RECEIVE_TIMEOUT  # noqa: PLC0414  # the SDK's name and place
from bridge.sdk.engine.inbox import Door, Inbox
from bridge.sdk.engine.periodic import MIN_PERIODIC_INTERVAL as MIN_PERIODIC_INTERVAL  # noqa: PLC0414  # as above
from bridge.sdk.engine.periodic import Periodic
from bridge.sdk.engine.raw import MAX_RECEIVE_BYTES as MAX_RECEIVE_BYTES  # noqa: PLC0414  # as above
from bridge.sdk.engine.response import Response

if TYPE_CHECKING:
    from bridge.sdk.modem import Modem

MAX_QUEUED_CONNECTIONS = 5
"""Kept for scripts that read it."""

SEND_TIMEOUT = 5
"""Seconds of silence after which the socket is closed, unless a call says otherwise."""

log = logging.getLogger("CustomCloud")


class CustomCloud(Cloud):
    """Sends to and receives from hosts of one's own.

    Args:
        credentials: None where the host needs none; they are not sent.
        send_host, send_port: where messages go.
        receive_host, receive_port: where messages are taken.
        enable_inbound: take messages from the start.
        network: the interface, ``''`` for the machine's own network.
        modem: one to use instead of searching for it.
        outbox: the file that keeps what could not be sent; by default beside the script.

    Raises:
        HologramError: what inbound needs is missing, the port is taken, or the outbox is in use.

    """

    def __init__(
        self,
        credentials: object,
        send_host: str = "",
        send_port: int | str = 0,
        receive_host: str = "",
        receive_port: int | str = 0,
        enable_inbound: bool = False,
        network: str = "",
        modem: "Modem | None" = None,
        *,
        outbox: str | Path | None = None,
    ) -> None:
        super().__init__(
            credentials, send_host, send_port, receive_host, receive_port, network, modem, outbox=outbox
        )
        self._inbox = Inbox(self._received)
        self._door = Door(self._inbox)
        self._periodic = Periodic()
        self._receiving = False
        self.event.subscribe("network.connected", self._receive_on)
        if enable_inbound:
            if not self.receive_host or not self.receive_port:
                raise HologramError("Must set receive host and port for inbound connection")
            self.initializeReceiveSocket()
        self._wake_outbox()

    # -- out ---------------------------------------------------------------------------------------------

    def sendMessage(  # type: ignore[override]  # documented so: each cloud has its own parameters
        self,
        message: object,
        timeout: float = SEND_TIMEOUT,
        close_socket: bool = True,  # noqa: ARG002  # documented
    ) -> Response:
        """Send ``message`` to the host as it is; text goes as UTF-8.

        Args:
            message: str or bytes.
            timeout: seconds of silence after which the socket is closed.
            close_socket: kept for scripts that give it; each message has a socket of its own.

        Returns:
            What the host answered, as text (``data`` has its bytes); empty, and ``kept``, where the message
            could not be sent yet: it goes when the network is back.

        Raises:
            HologramError: host or port are missing, or the outbox is full.

        """
        if not self.send_host or not self.send_port:
            raise HologramError("Send host and port must be set before making this operation")
        payload = payload_of(message)
        if payload is None:
            raise HologramError(f"message: {type(message).__name__} is not allowed; give str or bytes")
        self._announce(len(payload))
        return self._send(
            Wanted(channel=Channel.TCP, names=(), payload=payload, host=self.send_host, port=self.send_port),
            timeout,
        )

    def _announce(self, size: int) -> None:
        log.info("Connecting to %s", self.send_host)
        log.info("Port: %s", self.send_port)
        log.info("Sending message with body of length %d", size)

    def open_send_socket(self, timeout: float = SEND_TIMEOUT) -> None:
        """Kept for scripts that call it: each message has a socket of its own."""

    def close_send_socket(self) -> None:
        """Kept for scripts that call it, as `open_send_socket`."""

    def sendSMS(self, destination_number: str, message: str) -> Response:
        """Raise NotImplementedError: an SMS goes by `HologramCloud`."""
        raise NotImplementedError("Cannot send SMS via custom cloud")

    def sendPeriodicMessage(
        self, interval: float, message: object, topics: "list[str] | None" = None, timeout: float = 5
    ) -> None:
        """Send ``message`` now and every ``interval`` seconds, in a thread [hologram-python 0.10].

        It ends by `stopPeriodicMessage`, or when the message is refused; one that is kept is no reason.

        Raises:
            HologramError: the interval is under a second, or a job runs already.

        """

        def send() -> bool:
            log.info("Sending another periodic message...")
            response = self._send_again(message, topics, timeout)
            log.info("RESPONSE MESSAGE: %s", self.getResultString(response))
            return response.kept or self.resultWasSuccess(response)

        self._periodic.start(interval, send)

    def _send_again(self, message: object, topics: "list[str] | None", timeout: float) -> Response:
        if topics:
            raise HologramError("topics: not allowed with a host of one's own; use HologramCloud")
        return self.sendMessage(message, timeout=timeout)

    def stopPeriodicMessage(self) -> None:
        """End the periodic message, after the one that is being sent."""
        log.info("Stopping periodic job...")
        self._periodic.stop()
        log.info("Periodic job stopped")

    def periodicMessageRunning(self) -> bool:
        """Return whether a periodic message goes on."""
        return self._periodic.running

    def getResultString(self, result_code: object) -> str:
        """Return the answer as text [hologram-python 0.10]."""
        return str(result_code)

    def resultWasSuccess(self, result_code: object) -> bool:
        """Return whether the message has gone."""
        return not (isinstance(result_code, Response) and (result_code.kept or result_code.reason))

    # -- in ----------------------------------------------------------------------------------------------

    def initializeReceiveSocket(self) -> bool:
        """As `openReceiveSocket` [hologram-python 0.10]."""
        return self.openReceiveSocket()

    def openReceiveSocket(self) -> bool:
        """Take messages on the receive host and port from now on; return True.

        Raises:
            HologramError: host or port are missing, or somebody else has the port: it says who.

        """
        if not self.receive_host or not self.receive_port:
            raise HologramError("Receive host and port must be set before making this operation")
        self._receiving = True
        if self._networkManager.open_receive_socket(self.receive_port, self._inbox):
            return True
        self._door.open(self.receive_host, self.receive_port)
        log.info("Listening on %s, port %s", self.receive_host, self.receive_port)
        return True

    def closeReceiveSocket(self) -> None:
        """Take no more messages; those received stay until they are consumed."""
        log.info("Closing socket...")
        self._receiving = False
        self._networkManager.close_receive_socket()
        self._door.shut()
        log.info("Socket closed.")

    def consumeReceivedMessage(self) -> Response:
        """Return all that was received since the last call, as one text, and forget it; '' for nothing."""
        return self._inbox.take_all()

    def popReceivedMessage(self) -> Response | None:
        """Return the oldest message received, or None [hologram-python 0.10]."""
        return self._inbox.take()

    def _receive_on(self) -> None:
        """With a new connection messages may come another way: over PPP to this machine's own port."""
        if not self._receiving:
            return
        try:
            self.openReceiveSocket()
        except HologramError as exc:  # nobody has called for it who could catch it
            log.error("nothing can come in: %s", exc)

    def _received(self) -> None:
        log.info("Received message")
        self.event.broadcast("message.received")

    def close(self) -> None:
        """Let go of everything: the port, the periodic message, the network and the outbox."""
        self._periodic.stop()
        self.closeReceiveSocket()
        super().close()


def payload_of(message: object) -> bytes | None:
    """Return the bytes of what a script sends: text, or bytes as Python 2 had them; None for all else."""
    if isinstance(message, str):
        return message.encode("utf-8", "surrogateescape")
    return bytes(message) if isinstance(message, bytes | bytearray | memoryview) else None
