"""The parts of an SMS over the air, in either alphabet."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from bridge.sim.modem.pdu import gsm7, tpdu

SINGLE_SEPTETS = 160
SINGLE_OCTETS = 140
"""Octets of user data in one message [3GPP TS 23.040, section 9.2.3.24]."""


class Concatenation(NamedTuple):
    """Part ``number`` of ``total``, from 1 [3GPP TS 23.040, section 9.2.3.24.1 and 9.2.3.24.8]."""

    reference: int
    total: int
    number: int
    wide: bool
    """Whether the reference has 16 bits."""

    def header(self) -> bytes:
        """Return the user data header with its length."""
        reference = self.reference.to_bytes(2 if self.wide else 1, "big")
        element = reference + bytes([self.total, self.number])
        body = bytes([0x08 if self.wide else 0x00, len(element)]) + element
        return bytes([len(body)]) + body


def concatenation(udh: bytes) -> Concatenation | None:
    """Return the concatenation in a user data header (without its length); None without one."""
    at = 0
    while at + 2 <= len(udh):
        kind, size = udh[at], udh[at + 1]
        body = udh[at + 2 : at + 2 + size]
        if (kind, len(body)) in {(0x00, 3), (0x08, 4)}:
            return Concatenation(int.from_bytes(body[:-2], "big"), body[-2], body[-1], wide=kind == 0x08)
        at += 2 + size
    return None


def parts(sender: str, text: str, at: datetime, *, reference: int, wide: bool) -> list[bytes]:
    """Return the PDUs of a text in order, each with the service centre's address.

    Raises:
        tpdu.BadPdu: the sender is invalid, or the text takes more than 255 parts.

    """
    units = gsm7.septets(text)
    gsm = units is not None
    pieces = units if units is not None else [tuple(sign.encode("utf-16-be")) for sign in text]
    whole = SINGLE_SEPTETS if gsm else SINGLE_OCTETS
    if sum(map(len, pieces)) <= whole:
        return [_part(sender, at, [unit for piece in pieces for unit in piece], gsm=gsm, header=b"")]
    room = whole - _header_units(wide=wide, gsm=gsm)
    split = list(_filled(pieces, room))
    if len(split) > 255:
        raise tpdu.BadPdu(f"a text of {len(split)} parts; at most 255")
    return [
        _part(sender, at, units, gsm=gsm, header=Concatenation(reference, len(split), number, wide).header())
        for number, units in enumerate(split, start=1)
    ]


def _header_units(*, wide: bool, gsm: bool) -> int:
    octets = 7 if wide else 6
    return (octets * 8 + 6) // 7 if gsm else octets


def _filled(pieces: list[tuple[int, ...]], room: int) -> Iterator[list[int]]:
    """Fill parts of ``room`` units without splitting an escape sequence or a surrogate pair."""
    part: list[int] = []
    for piece in pieces:
        if len(part) + len(piece) > room:
            yield part
            part = []
        part += piece
    yield part


def _part(sender: str, at: datetime, units: list[int], *, gsm: bool, header: bytes) -> bytes:
    if not gsm:
        body = header + bytes(units)
        return tpdu.deliver(sender, at, 0x08, len(body), body, header=bool(header))
    fill = -len(header) * 8 % 7
    used = (len(header) * 8 + 6) // 7
    body = header + gsm7.pack(units, fill)
    return tpdu.deliver(sender, at, 0x00, used + len(units), body, header=bool(header))
