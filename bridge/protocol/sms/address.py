"""Phone numbers and names in PDUs [3GPP TS 23.040, section 9.1.2.5]."""

from typing import NamedTuple

from bridge.errors import BadPdu
from bridge.protocol.sms.alphabet import from_septets, unpack

_DIGITS = "0123456789*#abc"

INTERNATIONAL = 0x91
_INTERNATIONAL_TYPE, _ALPHANUMERIC_TYPE = 1, 5


class Address(NamedTuple):
    """An address, and the octets behind it."""

    number: str
    """``+`` and digits if it is international; a name if the sender has one; may be empty."""
    rest: bytes


def encode_number(number: str) -> bytes:
    """Return the address field of ``number`` (``+`` and digits)."""
    digits = number.removeprefix("+")
    return bytes((len(digits), INTERNATIONAL)) + swap(digits)


def swap(digits: str) -> bytes:
    """Return ``digits`` two to an octet, the first in the lower half."""
    padded = digits + "f" * (len(digits) % 2)
    pairs = zip(padded[::2], padded[1::2], strict=True)
    return bytes.fromhex("".join(high + low for low, high in pairs))


def read_address(octets: bytes) -> Address:
    """Read the address at the start of ``octets``; raises `BadPdu` if they end before it does."""
    if len(octets) < 2:
        raise BadPdu("the PDU ends before an address")
    length, kind = octets[0], (octets[1] >> 4) & 0x07
    end = 2 + (length + 1) // 2
    if len(octets) < end:
        raise BadPdu("the PDU ends within an address")
    value, rest = octets[2:end], octets[end:]
    if kind == _ALPHANUMERIC_TYPE:
        return Address(from_septets(unpack(value, length * 4 // 7)), rest)
    digits = read_digits(value)[:length]
    return Address(f"+{digits}" if kind == _INTERNATIONAL_TYPE and digits else digits, rest)


def read_digits(octets: bytes) -> str:
    """Return the digits of semi-octets, without their filler."""
    halves = (half for octet in octets for half in (octet & 0x0F, octet >> 4))
    return "".join(_DIGITS[half] for half in halves if half < len(_DIGITS))
