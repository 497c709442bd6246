"""The location that a modem reports."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from bridge.protocol.at.answers import after, fields, find, number


class Location(NamedTuple):
    """A location: degrees, metres, and the time as ISO 8601 in UTC."""

    latitude: float
    longitude: float
    altitude_m: float | None
    uncertainty_m: float | None
    at: str | None
    satellites: int | None = None


def _float(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[+-]?[0-9]{1,9}(\.[0-9]{1,9})?", text) else None


def _place(
    *, latitude: str, longitude: str, altitude: str, uncertainty: str, at: str | None, satellites: str = ""
) -> Location | None:
    north, east = _float(latitude), _float(longitude)
    if north is None or east is None or not (abs(north) <= 90 and abs(east) <= 180):
        return None
    return Location(
        latitude=north,
        longitude=east,
        altitude_m=_float(altitude),
        uncertainty_m=_float(uncertainty),
        at=at,
        satellites=number(satellites),
    )


def ublox_location(line: str) -> Location | None:
    """Read ``+UULOC: date,time,lat,long,alt,uncertainty``, the standard response.

    Latitude and longitude 0 mean that no position is known
    [u-blox SARA-R4 AT commands manual UBX-17003787, section 23.4].
    """
    parts = fields(after("+UULOC", line) or "")
    if len(parts) < 6 or (_float(parts[2]) == 0 and _float(parts[3]) == 0):
        return None
    day = re.fullmatch(r"(\d\d)/(\d\d)/(\d{4})", parts[0], re.ASCII)
    at = f"{day[3]}-{day[2]}-{day[1]}T{parts[1][:8]}Z" if day and _is_clock(parts[1]) else None
    return _place(latitude=parts[2], longitude=parts[3], altitude=parts[4], uncertainty=parts[5], at=at)


def quectel_location(lines: Iterable[str]) -> Location | None:
    """Read ``+QGPSLOC: hhmmss.s,lat,long,hdop,alt,fix,cog,spkm,spkn,ddmmyy,nsat`` of mode 2.

    [Quectel EC2x&EG9x GNSS AT Commands Manual]
    """
    parts = fields(find("+QGPSLOC", lines) or "")
    if len(parts) < 11:
        return None
    clock, day = parts[0][:6], parts[9]
    at = None
    if re.fullmatch("[0-9]{6}", clock) and re.fullmatch("[0-9]{6}", day):
        at = f"20{day[4:]}-{day[2:4]}-{day[:2]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}Z"
    return _place(
        latitude=parts[1], longitude=parts[2], altitude=parts[4], uncertainty="", at=at, satellites=parts[10]
    )


def _is_clock(text: str) -> bool:
    return re.fullmatch(r"\d\d:\d\d:\d\d(\.\d+)?", text, re.ASCII) is not None
