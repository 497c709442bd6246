"""DNS: a query for the IPv4 addresses of a name, its answer, and the hosts file.

Only what a stub resolver needs that asks a recursive name server over UDP [RFC 1035, sections 4.1 and 4.2.1].
An answer that is cut (TC) is taken as it is: every address in it is one of the host's.
"""

import struct
from ipaddress import IPv4Address
from typing import NamedTuple

NXDOMAIN = 3
"""The name does not exist [RFC 1035, section 4.1.1]."""

_HEADER = struct.Struct("!HHHHHH")
_FIXED = struct.Struct("!HHIH")
"""Of a resource record behind its name: type, class, time to live, length [RFC 1035, section 4.1.3]."""

_QUERY = 0x0100
"""A standard query with recursion desired."""

_RESPONSE, _CODE = 0x8000, 0x000F
_A_IN = struct.pack("!HH", 1, 1)
_POINTER = 0xC0
"""The bits that begin a compressed name [RFC 1035, section 4.1.4]."""


class Answer(NamedTuple):
    """The answer of a name server: its response code, and IPv4 addresses."""

    code: int
    addresses: tuple[str, ...] = ()


def query(number: int, name: str) -> bytes:
    """Return the query with the id ``number`` for the addresses of ``name``; raises `UnicodeError`."""
    labels = name.encode("idna").removesuffix(b".").split(b".")
    if not all(0 < len(each) < 64 for each in labels) or sum(map(len, labels)) + len(labels) > 254:
        raise UnicodeError("label empty or too long")
    question = b"".join(bytes([len(each)]) + each for each in labels) + b"\0" + _A_IN
    return _HEADER.pack(number, _QUERY, 1, 0, 0, 0) + question


def read(answer: bytes, asked: bytes) -> Answer | None:
    """Return what ``answer`` says to the query ``asked``; None if it is no answer to it."""
    try:
        return _read(answer, asked)
    except (struct.error, IndexError, ValueError):  # it is cut
        return None


def _read(answer: bytes, asked: bytes) -> Answer | None:
    number, flags, questions, records, _, _ = _HEADER.unpack_from(answer)
    question = asked[_HEADER.size :]
    place = _HEADER.size + len(question)
    same = answer[_HEADER.size : place].lower() == question.lower()
    if number != _HEADER.unpack_from(asked)[0] or not flags & _RESPONSE or questions != 1 or not same:
        return None
    found: list[str] = []
    for _ in range(records):
        place = _behind_name(answer, place)
        kind, group, _, length = _FIXED.unpack_from(answer, place)
        place += _FIXED.size
        if struct.pack("!HH", kind, group) == _A_IN and length == 4:
            found.append(str(IPv4Address(answer[place : place + 4])))
        place += length
    return Answer(flags & _CODE, tuple(dict.fromkeys(found))) if place <= len(answer) else None


def _behind_name(message: bytes, place: int) -> int:
    """Return the place behind the name at ``place``."""
    while (length := message[place]) and length < _POINTER:
        place += 1 + length
    return place + (2 if length >= _POINTER else 1)


def hosts(text: str, name: str) -> tuple[str, ...]:
    """Return the IPv4 addresses that ``text``, a hosts file, has for ``name`` [hosts(5)]."""
    found = []
    wanted = name.removesuffix(".").lower()
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if wanted in (each.lower() for each in names) and _is_ipv4(address):
            found.append(address)
    return tuple(found)


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
