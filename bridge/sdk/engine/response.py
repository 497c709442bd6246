"""The return value of a send: the documented description, which is also the code.

The documents return a description [Python SDK 0.3, ``sendMessage``], the released SDK a code
[hologram-python 0.10]. Scripts of both kinds work: the value is the description as a string, and it compares,
counts and hashes as the code. Its truth value is the string's: an empty one is a kept message.
"""

from typing import Self, TypeGuard, cast

from bridge.protocol.cloud_codes import Code

ERR_OK = Code.OK.value
ERR_CONNCLOSED = Code.CONNCLOSED.value
ERR_MSGINVALID = Code.MSGINVALID.value
ERR_AUTHINVALID = Code.AUTHINVALID.value
ERR_PAYLOADINVALID = Code.PAYLOADINVALID.value
ERR_PROTINVALID = Code.PROTINVALID.value
ERR_INTERNAL = Code.INTERNAL.value
ERR_METADATA = Code.METADATA.value
ERR_TOPICINVALID = Code.TOPICINVALID.value
ERR_UNKNOWN = -1

DESCRIPTIONS = {
    ERR_OK: "The message has been sent successfully.",
    ERR_CONNCLOSED: "Connection was closed so we couldn't read the whole message.",
    ERR_MSGINVALID: "Failed to parse the message.",
    ERR_AUTHINVALID: "Auth section of the message was invalid.",
    ERR_PAYLOADINVALID: "Payload type was invalid.",
    ERR_PROTINVALID: "Protocol type was invalid.",
    ERR_INTERNAL: "Internal error in Hologram Cloud.",
    ERR_METADATA: "Metadata was formatted incorrectly.",
    ERR_TOPICINVALID: "Topic was formatted incorrectly.",
    ERR_UNKNOWN: "Unknown error.",
}
"""Descriptions of the codes: 0 to 5 as documented [Python SDK 0.3], the others as in the released SDK."""

RESULT_STRINGS = {
    **{code: text.removesuffix(".") for code, text in DESCRIPTIONS.items()},
    ERR_OK: "Message sent successfully",
}
"""Return values of ``getResultString`` by code [hologram-python 0.10]."""

UNKNOWN_CODE = "Unknown response code"
KEPT = "The message could not be sent yet; it is kept and sent when the network is back"


class Response(str):
    """The outcome of one send, as text.

    ``code`` is the cloud's, None without one; ``data`` has the bytes of an answer. ``kept`` means that the
    message is in the outbox and is sent when the network is back; the text is then empty, as with the SDK.
    ``reason`` is the obstacle of a kept message, of one that is neither sent nor kept, and of one whose
    outcome is in doubt (code -1); for all others it is empty.
    """

    __slots__ = ("code", "data", "kept", "reason")

    code: int | None
    data: bytes
    kept: bool
    reason: str

    def __new__(
        cls,
        text: str,
        *,
        code: int | None = None,
        data: bytes = b"",
        kept: bool = False,
        reason: str = "",
    ) -> Self:
        """Return a response with this ``text``."""
        self = super().__new__(cls, text)
        self.code, self.data, self.kept, self.reason = code, data, kept, reason
        return self

    def but_kept(self, reason: str) -> "Response":
        """Return the same response for a message that stays in the outbox."""
        return Response(str(self), code=self.code, data=self.data, kept=True, reason=reason)

    def __eq__(self, other: object) -> bool:
        """Return whether ``other`` equals the text, the code, or the bytes of a host's answer."""
        if isinstance(other, int | float):
            return self.code == other
        if isinstance(other, bytes | bytearray):
            return self.data == other
        return str.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        """Return the code's hash, so that a table of codes finds it; the text's hash without a code."""
        return str.__hash__(self) if self.code is None else hash(self.code)

    def __lt__(self, other: object) -> bool:
        return int(self) < other if _is_number(other) else str.__lt__(self, cast("str", other))

    def __le__(self, other: object) -> bool:
        return int(self) <= other if _is_number(other) else str.__le__(self, cast("str", other))

    def __gt__(self, other: object) -> bool:
        return int(self) > other if _is_number(other) else str.__gt__(self, cast("str", other))

    def __ge__(self, other: object) -> bool:
        return int(self) >= other if _is_number(other) else str.__ge__(self, cast("str", other))

    def __int__(self) -> int:
        """Return the code; -1 without one."""
        return ERR_UNKNOWN if self.code is None else self.code

    __index__ = __int__
    """The code is an index into a script's list of texts."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the text of a host's answer, which in the released SDK is bytes with this method."""
        return self.data.decode(encoding, errors) if self.data else str(self)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float)


def of_code(code: int, reason: str = "") -> Response:
    """Return the response for ``code``; ``reason`` is its cause."""
    return Response(DESCRIPTIONS.get(code, UNKNOWN_CODE), code=code, reason=reason)


def of_answer(answer: bytes) -> Response:
    """Return the response for the answer of the user's own host."""
    return Response(text_of(answer), data=answer)


def kept(reason: str) -> Response:
    """Return the response for a message that is kept and sent later."""
    return Response("", kept=True, reason=reason)


def text_of(data: bytes) -> str:
    r"""Return ``data`` as text; bytes that are not UTF-8 appear as ``\xNN``."""
    return data.decode("utf-8", "backslashreplace")
