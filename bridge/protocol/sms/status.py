"""The fate of a part according to a status report [3GPP TS 23.040, section 9.2.3.15].

::

    0 to 31     the transaction is over; 0: the recipient has it
    32 to 63    the service centre still tries
    64 to 95    failed for good
    96 to 127   failed for now, and the service centre tries no more
    above       reserved
"""

from enum import StrEnum
from typing import NamedTuple


class Fate(StrEnum):
    """The ``state`` of an ``sms.report`` event."""

    DELIVERED = "delivered"
    UNCONFIRMED = "unconfirmed"
    """The service centre has finished, and cannot tell whether the recipient has the SMS."""
    PENDING = "pending"
    FAILED = "failed"


class Status(NamedTuple):
    """A status, as a value for programs and as a text for users."""

    fate: Fate
    text: str

    @property
    def final(self) -> bool:
        """Whether no further report follows."""
        return self.fate is not Fate.PENDING


_TEXTS = {
    0x00: "delivered",
    0x01: "handed on; whether it was delivered cannot be known",
    0x02: "replaced by the service centre",
    0x20: "congestion",
    0x21: "the recipient is busy",
    0x22: "no response from the recipient",
    0x23: "service rejected",
    0x24: "quality of service not available",
    0x25: "error in the recipient's device",
    0x40: "remote procedure error",
    0x41: "incompatible destination",
    0x42: "connection rejected by the recipient",
    0x43: "not obtainable",
    0x44: "quality of service not available",
    0x45: "no interworking available",
    0x46: "its validity period expired",
    0x47: "deleted by the sender",
    0x48: "deleted by the service centre's administration",
    0x49: "the text does not exist",
}
_TEXTS |= {code + 0x40: text for code, text in _TEXTS.items() if 0x20 <= code < 0x26}


def describe(status: int) -> Status:
    """Return the meaning of the octet ``status``."""
    text = _TEXTS.get(status, f"status {status}")
    if status < 0x20:
        return Status(Fate.DELIVERED if status == 0 else Fate.UNCONFIRMED, text)
    if status < 0x40:
        return Status(Fate.PENDING, f"still trying: {text}")
    if status < 0x60:
        return Status(Fate.FAILED, f"failed for good: {text}")
    return Status(Fate.FAILED, f"failed, and not tried again: {text}")
