"""The Hologram cloud [Python SDK 0.3, "HologramCloud"; hologram-python 0.10]."""
# ruff: noqa: N802  # the documented names

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bridge.core.messages import Channel
from bridge.errors import InvalidCommand
from bridge.flow.message.codecs import CloudAccess
from bridge.protocol.cloud import SMS_LIMIT, check_sms_body
from bridge.sdk.custom_cloud import CustomCloud, payload_of
from bridge.sdk.engine import identity
from bridge.sdk.engine.calls import TIMEOUT, Wanted
from bridge.sdk.engine.errors import AuthenticationError, HologramError, PortTaken
from bridge.sdk.engine.identity import Authentication
from bridge.sdk.engine.places import CLOUD, INBOUND, cloud_address, inbound_address
from bridge.sdk.engine.response import (
    ERR_OK,
    ERR_PAYLOADINVALID,
    ERR_TOPICINVALID,
    KEPT,
    RESULT_STRINGS,
    UNKNOWN_CODE,
    Response,
    of_code,
)

if TYPE_CHECKING:
    from bridge.sdk.modem import Modem

DEFAULT_SEND_MESSAGE_TIMEOUT = 5
HOLOGRAM_HOST_SEND, HOLOGRAM_PORT_SEND = CLOUD
HOLOGRAM_HOST_RECEIVE, HOLOGRAM_PORT_RECEIVE = INBOUND
MAX_SMS_LENGTH = SMS_LIMIT

INBOUND_UNASKED = cast("bool", 1)
"""The documented default, True, which differs from a script's own True only by its type.

The released default is False: a script that does not ask for inbound messages must not fail because another
program has the port.
"""


class HologramCloud(CustomCloud):
    """Sends to the Hologram cloud, receives from it, and sends SMS by it.

    Args:
        credentials: ``devicekey``, or ``cloud_id`` and ``cloud_key``, or ``device_id`` and ``private_key``,
            as a dictionary or a `Credentials` object. They may change; a message has those of its sending.
        enable_inbound: take messages on port 4010 from the start. Unless the script asks for it, a port that
            another program has is only logged.
        network: the interface, ``''`` for the machine's own network.
        authentication_type: ``csrpsk`` (keys) or ``totp``. By default it follows from the credentials;
            without credentials it is ``totp`` by the modem's SIM.
        modem: the modem to use, instead of a search.
        outbox: the file that keeps unsent messages; by default beside the script.

    Raises:
        HologramError: the port is taken, the outbox is in use, or the authentication type is unknown.
        AuthenticationError: there are no credentials, and the SIM has none either.

    """

    def __init__(
        self,
        credentials: object,
        enable_inbound: bool = INBOUND_UNASKED,
        network: str = "",
        authentication_type: str | None = None,
        modem: "Modem | None" = None,
        *,
        outbox: str | Path | None = None,
    ) -> None:
        self.authenticationType = authentication_type or "csrpsk"
        send_host, send_port = cloud_address()
        receive_host, receive_port = inbound_address()
        # Set before the outbox opens, because messages of an earlier run are sent with these credentials.
        self.authenticationType = identity.kind(
            credentials, authentication_type, sim=network.startswith("cellular")
        )
        CustomCloud.__init__(  # not super(): release 0.1's Cloud is a Raw as well
            self,
            credentials,
            send_host,
            send_port,
            receive_host,
            receive_port,
            enable_inbound is not INBOUND_UNASKED and enable_inbound,
            network,
            modem,
            outbox=outbox,
        )
        self.authentication.type = self.authenticationType
        if enable_inbound is INBOUND_UNASKED:
            self._take_what_comes_in()

    def _take_what_comes_in(self) -> None:
        try:
            self.openReceiveSocket()
        except PortTaken as exc:
            self.closeReceiveSocket()
            self.logger.warning("nothing is taken: %s", exc)

    def setAuthenticationType(self, credentials: object, authentication_type: str = "csrpsk") -> None:
        """Use ``credentials`` and this authentication type from now on [hologram-python 0.10]."""
        self.authenticationType = identity.kind(credentials, authentication_type, sim=False)
        self.authentication = Authentication(credentials, self.authenticationType)

    # -- credentials -------------------------------------------------------------------------------------

    def _identity(self) -> str:
        try:
            given = identity.fields(self.credentials)
        except AuthenticationError:
            return ""
        if self._needs_sim() and self._networkManager.name:
            given["sim"] = self._networkManager.name  # without a query to the SIM
        return json.dumps(given) if given else ""

    def _access(self) -> CloudAccess | None:
        try:
            ours = identity.read(self.credentials, self.authenticationType, self._networkManager.sim_identity)
        except AuthenticationError:
            return None
        return CloudAccess(self.send_host, self.send_port, TIMEOUT, ours)

    def _check_identity(self) -> None:
        """Raise `AuthenticationError` without usable credentials."""
        sim = self._networkManager.fetch_sim_identity() if self._needs_sim() else (None, None)
        identity.read(self.credentials, self.authenticationType, sim)

    def _needs_sim(self) -> bool:
        given = identity.fields(self.credentials)
        return self.authenticationType == "totp" and not ("device_id" in given and "private_key" in given)

    # -- out ---------------------------------------------------------------------------------------------

    def sendMessage(  # type: ignore[override]  # documented so: each cloud has its own parameters
        self,
        message: object,
        topics: "Iterable[str] | str | None" = None,
        timeout: float = DEFAULT_SEND_MESSAGE_TIMEOUT,
    ) -> Response:
        """Send ``message`` to the Hologram cloud.

        Args:
            message: str or bytes; bytes that are not UTF-8 go as base64, with the extra topic ``base64``.
            topics: one or several, unchecked, because the cloud's answer decides.
            timeout: seconds of silence after which the socket is closed.

        Returns:
            The documented description of the cloud's answer, which equals its code too. It is empty, and
            ``kept`` is true, if the message could not be sent yet; it is sent when the network is back.

        Raises:
            AuthenticationError: the credentials are missing or malformed.
            HologramError: the outbox is full.

        """
        self._check_identity()
        payload = payload_of(message)
        if payload is None:  # the cloud's answer for any other type
            return of_code(ERR_PAYLOADINVALID)
        names = (topics,) if isinstance(topics, str) else tuple(str(topic) for topic in topics or ())
        if not all(identity.is_text(name) for name in names):  # such a name cannot be encoded as JSON
            return of_code(ERR_TOPICINVALID)
        self._announce(len(payload))
        return self._send(Wanted(Channel.CLOUD, names, payload), timeout)

    def sendSMS(
        self, destination_number: str, message: str, timeout: float = DEFAULT_SEND_MESSAGE_TIMEOUT
    ) -> Response:
        """Send an SMS by the cloud.

        Args:
            destination_number: E.164 with a plus sign.
            message: at most 160 characters.
            timeout: seconds of silence after which the socket is closed.

        Returns:
            As `sendMessage`, but an unclear answer is final, because a second SMS would cost and annoy.

        Raises:
            HologramError: the number or text is not allowed, or the credentials are not a key.

        """
        if self.authenticationType != "csrpsk":
            raise HologramError(f"{self.authenticationType} does not support SDK SMS features")
        self._check_identity()
        text = _text(message)
        if not str(destination_number).startswith("+"):
            raise HologramError("SMS destination number must start with a '+' sign")
        if not str(destination_number)[1:].isdecimal():
            raise HologramError("SMS destination number must be a '+' sign and digits (E.164)")
        if len(text) > MAX_SMS_LENGTH:
            raise HologramError(f"SMS cannot be more than {MAX_SMS_LENGTH} characters long")
        try:
            check_sms_body(text)
        except InvalidCommand as exc:
            raise HologramError(str(exc)) from exc
        self._announce(len(text))
        return self._send(Wanted(Channel.SMS, (str(destination_number),), text.encode()), timeout)

    def _send_again(self, message: object, topics: "list[str] | None", timeout: float) -> Response:
        return self.sendMessage(message, topics=topics, timeout=timeout)

    def getResultString(self, result_code: Any) -> str:
        """Return the released SDK's description of a result or its code [hologram-python 0.10]."""
        if isinstance(result_code, Response) and result_code.code is None:
            return KEPT if result_code.kept else str(result_code)
        try:
            return RESULT_STRINGS.get(int(result_code), UNKNOWN_CODE)
        except (TypeError, ValueError):
            return UNKNOWN_CODE

    def resultWasSuccess(self, result_code: Any) -> bool:
        """Return whether a result, or its code, means that the cloud has the message; only 0 does.

        The released SDK took code 1 for a success too, with which the cloud may not have read the message.
        """
        if isinstance(result_code, Response):
            return result_code.code == ERR_OK
        return isinstance(result_code, int) and result_code == ERR_OK

    # -- inbound SMS -------------------------------------------------------------------------------------

    def enableSMS(self) -> Any:
        """Begin to take SMS from the modem [hologram-python 0.10]."""
        return self.network.enableSMS()

    def disableSMS(self) -> Any:
        """Stop taking SMS from the modem [hologram-python 0.10]."""
        return self.network.disableSMS()

    def popReceivedSMS(self) -> Any:
        """Return the oldest SMS received, with ``sender``, ``timestamp`` and ``message``, or None."""
        return self.network.popReceivedSMS()


def _text(message: str | bytes) -> str:
    """Return the text of an SMS; raises `HologramError` for bytes that are not UTF-8."""
    text = message.decode("utf-8", "surrogateescape") if isinstance(message, bytes) else message
    if not identity.is_text(text):
        raise HologramError("the text of an SMS must be UTF-8")
    return text
