"""SMS-DELIVER and SMS-STATUS-REPORT: the PDUs that a modem receives [3GPP TS 23.040, section 9.2.2]."""

from typing import NamedTuple

from bridge.errors import BadPdu
from bridge.protocol.sms.address import read_address
from bridge.protocol.sms.alphabet import unpack
from bridge.protocol.sms.header import Header, Place, read_header
from bridge.protocol.sms.segments import Alphabet
from bridge.protocol.sms.stamp import LENGTH as STAMP
from bridge.protocol.sms.stamp import read_stamp
from bridge.protocol.sms.text import UserData

_SUBMIT_REPORT, _STATUS_REPORT, _HEADER = 0x01, 0x02, 0x40


class Deliver(NamedTuple):
    """A received SMS, or a part of one."""

    sender: str
    """A number, with ``+`` if it is international, or a name; may be empty."""
    sent_at: float | None
    """Unix seconds by the service centre; None if its stamp is no time."""
    data: UserData
    place: Place | None
    """The part's place; None for an SMS of one part."""
    flash: bool
    """Whether its class is 0: to be shown at once [3GPP TS 23.038, section 4]."""


class StatusReport(NamedTuple):
    """The fate of a sent part."""

    reference: int
    """The reference that the modem answered when the part was sent."""
    recipient: str
    status: int
    """The status octet, for `bridge.protocol.sms.status.describe`."""


def decode(pdu: str) -> Deliver | StatusReport:
    """Read a PDU in hexadecimal that begins with the service centre's address; raises `BadPdu`."""
    try:
        octets = bytes.fromhex(pdu)
    except ValueError:
        raise BadPdu("the PDU is not hexadecimal") from None
    if not octets or len(octets) < octets[0] + 2:
        raise BadPdu("the PDU ends within the service centre's address")
    tpdu = octets[octets[0] + 1 :]
    kind = tpdu[0] & 0x03
    if kind == _SUBMIT_REPORT:
        raise BadPdu("the PDU is neither a received text nor a status report")
    # A reserved type is read as a received SMS [section 9.2.3.1].
    return _status_report(tpdu) if kind == _STATUS_REPORT else _deliver(tpdu)


def _deliver(tpdu: bytes) -> Deliver:
    sender, rest = read_address(tpdu[1:])
    if len(rest) < 2 + STAMP + 1:
        raise BadPdu("the PDU ends before its text")
    coding, stamp, length = rest[1], rest[2 : 2 + STAMP], rest[2 + STAMP]
    alphabet = _alphabet(coding)
    octets = rest[2 + STAMP + 1 :]
    if len(octets) < ((7 * length + 7) // 8 if alphabet is Alphabet.GSM7 else length):
        raise BadPdu("the PDU ends within its text")
    header, data = _user_data(alphabet, octets, length, has_header=bool(tpdu[0] & _HEADER))
    flash = _has_class(coding) and coding & 0x03 == 0
    return Deliver(
        sender=sender,
        sent_at=read_stamp(stamp),
        data=UserData(alphabet, data, header.locking, header.single),
        place=header.place,
        flash=flash,
    )


def _user_data(alphabet: Alphabet, octets: bytes, length: int, *, has_header: bool) -> tuple[Header, bytes]:
    """Return the header and what follows it; septets begin at a septet's border [section 9.2.3.24]."""
    size = 0
    header = Header()
    if has_header:
        size = octets[0] + 1 if octets else 1
        used = (7 * length + 7) // 8 if alphabet is Alphabet.GSM7 else length
        if size > used:
            raise BadPdu("the header is longer than the PDU")
        header = read_header(octets[1:size])
    if alphabet is not Alphabet.GSM7:
        return header, octets[size:length]
    fill = -8 * size % 7
    return header, unpack(octets[size:], max(0, length - (8 * size + fill) // 7), fill)


def _alphabet(coding: int) -> Alphabet:
    """Return the alphabet of a data coding scheme; a reserved one means GSM 7-bit [TS 23.038, section 4]."""
    if coding < 0x80:
        if coding & 0x20:
            raise BadPdu("the text is compressed, which is not supported")
        return (Alphabet.GSM7, Alphabet.DATA, Alphabet.UCS2, Alphabet.GSM7)[(coding >> 2) & 0x03]
    if coding >= 0xF0:
        return Alphabet.DATA if coding & 0x04 else Alphabet.GSM7
    return Alphabet.UCS2 if coding >= 0xE0 else Alphabet.GSM7


def _has_class(coding: int) -> bool:
    return coding >= 0xF0 or (coding < 0x80 and bool(coding & 0x10))


def _status_report(tpdu: bytes) -> StatusReport:
    if len(tpdu) < 2:
        raise BadPdu("the PDU ends before its reference")
    recipient, rest = read_address(tpdu[2:])
    if len(rest) < 2 * STAMP + 1:
        raise BadPdu("the PDU ends before its status")
    return StatusReport(tpdu[1], recipient, rest[2 * STAMP])
