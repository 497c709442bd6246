"""The sockets inside a modem, by AT commands: their unsolicited codes as values common to all makes."""

import re
from typing import NamedTuple

from bridge.protocol.at import answers


class Readable(NamedTuple):
    """Data waits in the modem to be read."""

    socket: int


class Data(NamedTuple):
    """Received data; with the peer if it is a datagram."""

    socket: int
    data: bytes
    whole: bool = True
    """Whether all announced bytes are there."""
    host: str = ""
    port: int = 0


class Opened(NamedTuple):
    """An opening has ended; ``error`` is 0 if it succeeded."""

    socket: int
    error: int


class Closed(NamedTuple):
    """The peer has closed, or the connection broke."""

    socket: int


class Incoming(NamedTuple):
    """A peer has connected to a listening socket."""

    socket: int
    listener: int
    host: str
    port: int


class ContextLost(NamedTuple):
    """The PDP context is lost, and every socket with it."""


_CGEV = re.compile(r"\+CGEV: ?(NW|ME) (PDN DEACT 1|DEACT .*, ?1|DETACH)\b", re.ASCII)

SocketEvent = Readable | Data | Opened | Closed | Incoming | ContextLost


def context_lost(line: str) -> bool:
    """Return whether ``line`` says that context 1 is lost [3GPP TS 27.007, section 10.1.19, +CGEV]."""
    return bool(_CGEV.match(line))


def fields(line: str) -> list[str]:
    """Return the text after the name in ``line``, split at commas outside quotes, quotes removed."""
    return answers.fields(line.partition(":")[2])


def number(text: str) -> int:
    """Return the number in ``text``, or -1."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


def numbers(texts: list[str], count: int) -> list[int] | None:
    """Return the first ``count`` fields as numbers, or None if they are not."""
    found = [number(text) for text in texts[:count]]
    return found if len(found) == count and min(found) >= 0 else None


def unhex(text: str) -> bytes:
    """Return the bytes of hex digits; a broken string gives the bytes before the break."""
    digits = text[: len(text) & ~1]
    try:
        return bytes.fromhex(digits) if " " not in digits else b""
    except ValueError:
        return b""
