"""Time stamps of the service centre [3GPP TS 23.040, section 9.2.3.11]."""

from datetime import UTC, datetime, timedelta, timezone

from bridge.errors import BadPdu

LENGTH = 7
"""Octets of a time stamp."""


def read_stamp(octets: bytes) -> float | None:
    """Return Unix seconds; None if the digits are no time. Raises `BadPdu` if octets are missing."""
    if len(octets) < LENGTH:
        raise BadPdu("the PDU ends within a time stamp")
    year, month, day, hour, minute, second = (_decimal(octet) for octet in octets[:6])
    zone = octets[6]
    # The sign of the zone, which is in quarters of an hour, is the highest bit of its tens.
    quarters = 10 * (zone & 0x07) + (zone >> 4)
    offset = timedelta(minutes=15 * (-quarters if zone & 0x08 else quarters))
    try:
        local = datetime(
            year + (1900 if year >= 90 else 2000), month, day, hour, minute, second, tzinfo=timezone(offset)
        )
        return local.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _decimal(octet: int) -> int:
    """Return the two digits of an octet; a half that is no digit makes a value that no date accepts."""
    tens, units = octet & 0x0F, octet >> 4
    return 10 * tens + units if tens < 10 and units < 10 else 255
