"""SMS-SUBMIT: the PDUs of an SMS to send [3GPP TS 23.040, section 9.2.2.2]."""

from typing import NamedTuple

from bridge.protocol.sms.address import encode_number
from bridge.protocol.sms.alphabet import pack
from bridge.protocol.sms.header import write_place
from bridge.protocol.sms.segments import Alphabet, cut

_SUBMIT, _STATUS_REPORT, _HEADER = 0x01, 0x20, 0x40

_HEADER_SEPTETS, _HEADER_FILL = 7, 1
"""The header of a part: 6 octets, and one bit up to the next septet's start."""


class Pdu(NamedTuple):
    """The input of ``AT+CMGS`` [3GPP TS 27.005, section 4.3]."""

    length: int
    """Number of octets without the service centre's address."""
    hex: str


def submit(to: str, text: str, *, reference: int = 0, status_report: bool = False) -> list[Pdu]:
    """Return the PDUs that send ``text`` to ``to`` (``+`` and digits), by the modem's own service centre.

    The recipient joins the parts by ``reference`` (0 to 255). No validity period is given, so the service
    centre's own applies.
    """
    alphabet, parts = cut(text)
    first = _SUBMIT | (_STATUS_REPORT if status_report else 0) | (_HEADER if len(parts) > 1 else 0)
    # The modem counts TP-MR itself; the protocol identifier is that of an ordinary SMS.
    head = bytes((first, 0)) + encode_number(to) + bytes((0, alphabet.value))
    found = []
    for number, part in enumerate(parts, 1):
        header = write_place(reference, len(parts), number) if len(parts) > 1 else b""
        tpdu = head + _user_data(alphabet, part, header)
        found.append(Pdu(len(tpdu), "00" + tpdu.hex().upper()))
    return found


def _user_data(alphabet: Alphabet, part: bytes, header: bytes) -> bytes:
    """Return the user data with its length, which counts septets or octets [section 9.2.3.16]."""
    if alphabet is not Alphabet.GSM7:
        return bytes((len(header) + len(part),)) + header + part
    if not header:
        return bytes((len(part),)) + pack(part)
    return bytes((_HEADER_SEPTETS + len(part),)) + header + pack(part, _HEADER_FILL)
