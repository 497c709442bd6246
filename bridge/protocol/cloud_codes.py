"""The cloud's answer codes [Hologram documentation, Embedded TCP API; 6 to 8 from hologram-python]."""

from enum import IntEnum
from functools import lru_cache


class Code(IntEnum):
    """The cloud's answer to one request."""

    OK = 0
    CONNCLOSED = 1
    MSGINVALID = 2
    AUTHINVALID = 3
    PAYLOADINVALID = 4
    PROTINVALID = 5
    INTERNAL = 6
    METADATA = 7
    TOPICINVALID = 8


MEANINGS = {
    Code.OK: "accepted by the cloud",
    Code.CONNCLOSED: "the connection closed before the end of the request",
    Code.MSGINVALID: "the cloud could not parse the message",
    Code.AUTHINVALID: "the cloud refused the credentials",
    Code.PAYLOADINVALID: "the payload type is invalid",
    Code.PROTINVALID: "the protocol type is invalid",
    Code.INTERNAL: "internal error of the cloud",
    Code.METADATA: "the metadata is invalid",
    Code.TOPICINVALID: "the topic is invalid",
}

PERMANENT = frozenset(
    {Code.MSGINVALID, Code.PAYLOADINVALID, Code.PROTINVALID, Code.METADATA, Code.TOPICINVALID}
)
"""Codes after which the same request can never succeed."""


@lru_cache(maxsize=32)
def describe(code: int) -> str:
    """Return the name and the meaning of ``code``, for a person."""
    try:
        known = Code(code)
    except ValueError:
        return f"unknown code {code} from the cloud"
    return f"ERR_{known.name}: {MEANINGS[known]}"
