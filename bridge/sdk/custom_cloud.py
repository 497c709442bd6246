"""The user's own host as a cloud: bytes to and from a host and port [Python SDK 0.3, "CustomCloud"]."""
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
"""Without effect; kept for scripts that read it."""

SEND_TIMEOUT = 5
"""Default silence in seconds after which the socket is closed."""

log = logging.getLogger("CustomCloud")


class CustomCloud(Cloud):
    """Sends to and receives from the user's own hosts.

    Args:
        credentials: without effect, because they are not sent; None is allowed.
        send_host, send_port: the destination of messages.
        receive_host, receive_port: the address for inbound messages.
        enable_inbound: take messages from the start.
        network: the interface, ``''`` for the machine's own network.
        modem: the modem to use, instead of a search.
        outbox: the file that keeps unsent messages; by default beside the script.

    Raises:
        HologramError: the receive host or port is missing, the port is in use, or the outbox is in use.

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
        """Send ``message`` to the host unchanged; text is sent as UTF-8.

        Args:
            message: str or bytes.
            timeout: seconds of silence after which the socket is closed.
            close_socket: without effect, because each message has a socket of its own.

        Returns:
            The host's answer as text (``data`` has its bytes). It is empty, and ``kept`` is true, if the
            message could not be sent yet; it is sent when the network is back.

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
        """Do nothing; kept for scripts that call it, because each message has a socket of its own."""

    def close_send_socket(self) -> None:
        """Do nothing, like `open_send_socket`."""

    def sendSMS(self, destination_number: str, message: str) -> Response:
        """Raise NotImplementedError, because only `HologramCloud` sends SMS."""
        raise NotImplementedError("Cannot send SMS via custom cloud")

    def sendPeriodicMessage(
        self, interval: float, message: object, topics: "list[str] | None" = None, timeout: float = 5
    ) -> None:
        """Send ``message`` now and every ``interval`` seconds, in a thread [hologram-python 0.10].

        It ends by `stopPeriodicMessage`, or when a message is refused. A kept message does not end it.

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
        """End the periodic message once the message in flight is done."""
        log.info("Stopping periodic job...")
        self._periodic.stop()
        log.info("Periodic job stopped")

    def periodicMessageRunning(self) -> bool:
        """Return whether a periodic message is active."""
        return self._periodic.running

    def getResultString(self, result_code: object) -> str:
        """Return the answer as text [hologram-python 0.10]."""
        return str(result_code)

    def resultWasSuccess(self, result_code: object) -> bool:
        """Return whether the message was sent."""
        return not (isinstance(result_code, Response) and (result_code.kept or result_code.reason))

    # -- in ----------------------------------------------------------------------------------------------

    def initializeReceiveSocket(self) -> bool:
        """As `openReceiveSocket` [hologram-python 0.10]."""
        return self.openReceiveSocket()

    def openReceiveSocket(self) -> bool:
        """Take messages on the receive host and port from now on; return True.

        Raises:
            HologramError: host or port are missing, or another program has the port; the text names it.

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
        """Take no more messages; received ones stay until they are consumed."""
        log.info("Closing socket...")
        self._receiving = False
        self._networkManager.close_receive_socket()
        self._door.shut()
        log.info("Socket closed.")

    def consumeReceivedMessage(self) -> Response:
        """Return everything received since the last call as one text; '' for nothing."""
        return self._inbox.take_all()

    def popReceivedMessage(self) -> Response | None:
        """Return the oldest message received, or None [hologram-python 0.10]."""
        return self._inbox.take()

    def _receive_on(self) -> None:
        """Reopen the port after a connect: over PPP, messages come to this machine's own port."""
        if not self._receiving:
            return
        try:
            self.openReceiveSocket()
        except HologramError as exc:  # no call of the script could catch it
            log.error("nothing can come in: %s", exc)

    def _received(self) -> None:
        log.info("Received message")
        self.event.broadcast("message.received")

    def close(self) -> None:
        """Close the port, the periodic message, the network and the outbox."""
        self._periodic.stop()
        self.closeReceiveSocket()
        super().close()


def payload_of(message: object) -> bytes | None:
    """Return the bytes of a script's message, which is text or bytes; None for other types."""
    if isinstance(message, str):
        return message.encode("utf-8", "surrogateescape")
    return bytes(message) if isinstance(message, bytes | bytearray | memoryview) else None
