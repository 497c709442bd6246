"""Transfer-layer PDUs of short messages, sent and received [3GPP TS 23.040, section 9.2]."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from bridge.sim.modem.pdu import gsm7

INTERNATIONAL: Final = 0x91
ALPHANUMERIC: Final = 0xD0
SMSC: Final = bytes.fromhex("07912160130300F4")
"""Address of the service centre +12063130004 before each incoming PDU [3GPP TS 27.005, section 3.1]."""

_DIGITS: Final = "0123456789*#abc"


class BadPdu(Exception):
    """The bytes are not a valid SMS-SUBMIT, or a field cannot be encoded."""


class Submit(NamedTuple):
    """An SMS-SUBMIT [section 9.2.2.2]; ``text`` is None for 8-bit data, ``udh`` is without its length."""

    to: str
    text: str | None
    data: bytes
    udh: bytes
    dcs: int
    pid: int
    reference: int
    report: bool
    validity: str
    length: int
    """Number of octets without the service centre's address, as ``AT+CMGS`` counts them."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        if len(part) < count:
            raise BadPdu(f"{count} octets wanted at {self.at}, {len(part)} left")
        self.at += count
        return part

    def octet(self) -> int:
        return self.take(1)[0]


def read_submit(pdu: bytes) -> Submit:
    """Read the service centre's address and an SMS-SUBMIT.

    Raises:
        BadPdu: the PDU is of another type, too short or too long.

    """
    reader = _Reader(pdu)
    reader.take(reader.octet())
    start = reader.at
    first = reader.octet()
    if first & 0x03 != 0x01:
        raise BadPdu(f"message type {first & 0x03} is not SUBMIT")
    reference = reader.octet()
    to = _read_address(reader)
    pid, dcs = reader.octet(), reader.octet()
    validity = reader.take((0, 7, 1, 7)[first >> 3 & 0x03]).hex()
    text, data, udh = _read_user_data(reader, dcs, header=bool(first & 0x40))
    if reader.at != len(pdu):
        raise BadPdu(f"{len(pdu) - reader.at} octets too many")
    return Submit(
        to=to,
        text=text,
        data=data,
        udh=udh,
        dcs=dcs,
        pid=pid,
        reference=reference,
        report=bool(first & 0x20),
        validity=validity,
        length=len(pdu) - start,
    )


def _read_address(reader: _Reader) -> str:
    digits, kind = reader.octet(), reader.octet()
    if digits > 20:
        raise BadPdu(f"an address of {digits} digits")
    packed = reader.take((digits + 1) // 2)
    if kind & 0x70 == ALPHANUMERIC & 0x70:
        return gsm7.text_of(gsm7.unpack(packed, digits * 4 // 7))
    semi = [nibble for octet in packed for nibble in (octet & 0x0F, octet >> 4)][:digits]
    if 0x0F in semi:
        raise BadPdu("a filler among the digits of an address")
    return ("+" if kind & 0x70 == 0x10 else "") + "".join(_DIGITS[nibble] for nibble in semi)


def _read_user_data(reader: _Reader, dcs: int, *, header: bool) -> tuple[str | None, bytes, bytes]:
    length = reader.octet()
    alphabet = alphabet_of(dcs)
    limit = 160 if alphabet == "gsm" else 140
    if length > limit:
        raise BadPdu(f"user data of {length}, at most {limit}")
    data = reader.take((length * 7 + 7) // 8 if alphabet == "gsm" else length)
    udh = b""
    if header:
        if not data or 1 + data[0] > len(data):
            raise BadPdu("a user data header longer than the user data")
        udh = data[1 : 1 + data[0]]
    skip = len(udh) + 1 if header else 0
    if alphabet == "gsm":
        used = (skip * 8 + 6) // 7
        return gsm7.text_of(gsm7.unpack(data, length)[used:]), data[skip:], udh
    body = data[skip:]
    text = body.decode("utf-16-be", "surrogatepass") if alphabet == "ucs2" and len(body) % 2 == 0 else None
    return text, body, udh


def alphabet_of(dcs: int) -> str:
    """Return ``gsm``, ``8bit`` or ``ucs2`` [3GPP TS 23.038, section 4]."""
    if dcs & 0x80 == 0:
        return ("gsm", "8bit", "ucs2", "gsm")[dcs >> 2 & 0x03]
    if dcs & 0xF0 == 0xF0:
        return "8bit" if dcs & 0x04 else "gsm"
    return "ucs2" if dcs & 0xF0 == 0xE0 else "gsm"


def address(number: str) -> bytes:
    """Return an address field: ``+`` and digits, digits, or up to 11 letters [section 9.1.2.5]."""
    digits = number.removeprefix("+")
    if digits and all(sign in _DIGITS for sign in digits):
        padded = digits + "f" * (len(digits) % 2)
        nibbles = [0x0F if sign == "f" else _DIGITS.index(sign) for sign in padded]
        kind = INTERNATIONAL if number.startswith("+") else 0x81
        pairs = zip(nibbles[::2], nibbles[1::2], strict=True)
        return bytes([len(digits), kind, *(low | high << 4 for low, high in pairs)])
    codes = gsm7.septets(number)
    flat = [code for each in codes or () for code in each]
    if not flat or len(flat) > 11:
        raise BadPdu(f"{number!r} is no sender: a number, or 1 to 11 letters of the GSM alphabet")
    packed = gsm7.pack(flat)
    return bytes([(len(flat) * 7 + 3) // 4, ALPHANUMERIC]) + packed


def timestamp(at: datetime) -> bytes:
    """Return a service-centre time stamp, the zone in quarters of an hour [section 9.2.3.11]."""
    quarters = int((at.utcoffset() or timedelta()).total_seconds() // 900)
    parts = [at.year % 100, at.month, at.day, at.hour, at.minute, at.second, abs(quarters)]
    octets = [part // 10 | part % 10 << 4 for part in parts]
    if quarters < 0:
        octets[6] |= 0x08
    return bytes(octets)


def deliver(sender: str, at: datetime, dcs: int, length: int, user_data: bytes, *, header: bool) -> bytes:
    """Return the service centre's address and an SMS-DELIVER [section 9.2.2.1]."""
    first = 0x04 | (0x40 if header else 0)  # TP-MMS: no more messages wait
    fields = bytes([first]) + address(sender) + bytes([0x00, dcs]) + timestamp(at) + bytes([length])
    return SMSC + fields + user_data


def status_report(reference: int, recipient: str, sent: datetime, done: datetime, status: int) -> bytes:
    """Return the service centre's address and an SMS-STATUS-REPORT [section 9.2.2.3]."""
    times = timestamp(sent) + timestamp(done)
    return SMSC + bytes([0x06, reference]) + address(recipient) + times + bytes([status])
