"""The header of user data [3GPP TS 23.040, section 9.2.3.24]."""

from collections.abc import Iterator
from typing import NamedTuple

_CONCATENATED, _CONCATENATED_WIDE = 0x00, 0x08
_SINGLE_SHIFT, _LOCKING_SHIFT = 0x24, 0x25


class Place(NamedTuple):
    """The place of a part in a concatenated message."""

    reference: int
    wide: bool
    """Whether the reference has 16 bits, which makes it different from an 8-bit one of the same value."""
    total: int
    number: int
    """The part's number, from 1."""


class Header(NamedTuple):
    """The known elements of a header; others (ports, indications…) are skipped."""

    place: Place | None = None
    locking: int = 0
    single: int = 0
    """National language identifiers of the shift tables [3GPP TS 23.040, sections 9.2.3.24.15 and 16]."""


def write_place(reference: int, total: int, number: int) -> bytes:
    """Return the header of one part, with its length and an 8-bit reference [section 9.2.3.24.1]."""
    return bytes((5, _CONCATENATED, 3, reference, total, number))


def read_header(octets: bytes) -> Header:
    """Read the elements of a header, given without its length.

    The last of a repeated element counts. An element beyond the end is skipped, and so is an impossible
    place.
    """
    header = Header()
    for kind, data in _elements(octets):
        if kind == _CONCATENATED and len(data) == 3:
            header = header._replace(place=_place(data[0], data[1:], wide=False) or header.place)
        elif kind == _CONCATENATED_WIDE and len(data) == 4:
            reference = int.from_bytes(data[:2], "big")
            header = header._replace(place=_place(reference, data[2:], wide=True) or header.place)
        elif kind == _SINGLE_SHIFT and len(data) == 1:
            header = header._replace(single=data[0])
        elif kind == _LOCKING_SHIFT and len(data) == 1:
            header = header._replace(locking=data[0])
    return header


def _place(reference: int, data: bytes, *, wide: bool) -> Place | None:
    total, number = data
    return Place(reference, wide, total, number) if 0 < number <= total else None


def _elements(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 2 <= len(octets):
        kind, length = octets[at], octets[at + 1]
        data = octets[at + 2 : at + 2 + length]
        if len(data) == length:
            yield kind, data
        at += 2 + length
