"""Signed commands: a line, its proof, and its counter.

::

    hb1 <counter> <command and its arguments> <mac>

``mac`` is the first 16 characters of the lower-case base32 [RFC 4648, section 6] of HMAC-SHA256 [RFC 2104],
keyed with the UTF-8 bytes of the box's key, over the bytes before the last space. These are 80 bits, so that
a line fits into one SMS. A guess costs a connection: at 1000 a second half of all values take 19 million
years.

``counter`` makes a line good for one time. It needs no clock at the box: it only has to be larger than any
before. The desk counts milliseconds since 1970, so that two desks need not agree on it.
"""

import base64
import hashlib
import hmac
import re
from enum import StrEnum
from typing import NamedTuple

PREFIX = b"hb1 "
"""The beginning of every command, and of nothing else that is for the bridge."""

MAX_COUNTER = 2**53 - 1
"""The largest counter: the largest whole number that JavaScript holds [ECMA-262, MAX_SAFE_INTEGER]."""

AHEAD = 86_400_000
"""Milliseconds that a counter may be ahead of a clock that is known to be right."""

_MAC_LENGTH = 16
_LINE = re.compile(rb"hb1 ([1-9][0-9]{0,15}) (.+) ([a-z2-7]{16})", re.DOTALL)


class Refusal(StrEnum):
    """Why a line is not accepted, in words for the log."""

    MALFORMED = "it is not written as a command is"
    WRONG_MAC = "it is not signed with remote.key"
    OLD = "its counter was used up by an earlier command"
    AHEAD = "its counter is more than a day ahead of the clock"
    DATAGRAM = "commands are not taken by UDP"
    SENDER = "its sender is not in remote.senders"
    NOT_ALLOWED = "the command is not in remote.allow"


class Signed(NamedTuple):
    """A line whose proof is right."""

    counter: int
    text: str
    """The command and its arguments."""

    @property
    def command(self) -> str:
        """The command without its arguments."""
        return self.text.partition(" ")[0]

    @property
    def argument(self) -> str:
        """What follows the command; empty for nothing."""
        return self.text.partition(" ")[2]


def is_command(data: bytes | bytearray) -> bool:
    """Return whether ``data`` is a command to the bridge, right or wrong, and not a message."""
    return data.startswith(PREFIX)


def read(line: bytes, key: str) -> Signed | Refusal:
    """Return the command of ``line``, without its line end, if it is signed with ``key``."""
    found = _LINE.fullmatch(line)
    if found is None or int(found[1]) > MAX_COUNTER:
        return Refusal.MALFORMED
    if not hmac.compare_digest(found[3], _mac(key.encode(), line[: -_MAC_LENGTH - 1])):
        return Refusal.WRONG_MAC
    try:
        return Signed(int(found[1]), found[2].decode())
    except UnicodeDecodeError:
        return Refusal.MALFORMED


def check_counter(counter: int, last: int, wall: float | None) -> Refusal | None:
    """Return why ``counter`` is refused after ``last``; ``wall`` is the time in seconds, None if unknown."""
    if counter <= last:
        return Refusal.OLD
    if wall is not None and counter > wall * 1000 + AHEAD:
        return Refusal.AHEAD
    return None


def sign(key: str, counter: int, command: str) -> str:
    """Return the line of ``command``; raises ValueError for what no box would take."""
    if not 1 <= counter <= MAX_COUNTER:
        raise ValueError(f"the counter {counter} is not allowed; 1 to {MAX_COUNTER}")
    if not command or command != command.strip() or not command.isprintable():
        raise ValueError("a command is text on one line, with no space before or after it")
    signed = f"{PREFIX.decode()}{counter} {command}"
    return f"{signed} {_mac(key.encode(), signed.encode()).decode()}"


def derive(master: bytes, name: str) -> str:
    """Return the key of the box ``name``, of which nobody can tell the ``master`` or another box's key."""
    return base64.b32encode(_hmac(master, name.encode())).decode().rstrip("=").lower()


def _mac(key: bytes, signed: bytes) -> bytes:
    return base64.b32encode(_hmac(key, signed))[:_MAC_LENGTH].lower()


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha256)
