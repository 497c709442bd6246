"""Durations, sizes and percentages as users write them: ``10m``, ``512MB``, ``10%``."""

import math
import re

MAX_DURATION = 10 * 365 * 86400.0
"""The longest duration, in seconds: ten years."""

DURATION_ALLOWED = "a number with ms, s, m, h or d (no unit: seconds), above 0 and at most 3650d"
SIZE_ALLOWED = "a whole number of bytes, or a number with KB, MB, GB, TB or KiB, MiB, GiB, TiB, above 0"

PERCENT_ALLOWED = 'a percentage, "0%" to "100%"'

_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "b": 1} | {
    prefix + suffix: base**power
    for power, prefix in enumerate("kmgt", start=1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,3})", re.ASCII)


def _split(text: str) -> tuple[str, str] | None:
    match = _QUANTITY.fullmatch(text.strip())
    return (match[1], match[2].lower()) if match else None


def _seconds(value: object) -> float:
    if isinstance(value, bool):
        return math.nan
    if isinstance(value, int | float):
        return float(value) if abs(value) <= MAX_DURATION else math.nan
    parts = _split(value) if isinstance(value, str) else None
    if parts is None or parts[1] not in _SECONDS:
        return math.nan
    return float(parts[0]) * _SECONDS[parts[1]]


def parse_duration(value: object) -> float:
    """Return seconds for ``"10m"``, ``"7d"``, ``"500ms"``, ``"30"`` or a number of seconds.

    Raises ValueError, with one line that gives what is allowed, for anything else.
    """
    seconds = _seconds(value)
    if not 0 < seconds <= MAX_DURATION:
        raise ValueError(f"not a duration; allowed is {DURATION_ALLOWED}")
    return seconds


def parse_size(value: object) -> int:
    """Return bytes for ``"512MB"`` (10**6), ``"64KiB"`` (2**10) or a whole number of bytes.

    Raises ValueError, with one line that gives what is allowed, for anything else.
    """
    size: float = 0
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (parts := _split(value)) and parts[1] in _BYTES:
        number = float(parts[0]) if "." in parts[0] else int(parts[0])
        size = number * _BYTES[parts[1]]
    if not 0 < size < 2**63 or size != int(size):
        raise ValueError(f"not a size; allowed is {SIZE_ALLOWED}")
    return int(size)


_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%?", re.ASCII)


def parse_percent(value: object) -> float:
    """Return 10.0 for ``"10%"``, ``"10"`` or 10.

    Raises ValueError, with one line that gives what is allowed, for anything else.
    """
    percent = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        percent = float(value) if abs(value) <= 100 else math.nan
    elif isinstance(value, str) and (match := _PERCENT.fullmatch(value.strip())):
        percent = float(match[1])
    if not 0 <= percent <= 100:
        raise ValueError(f"not a percentage; allowed is {PERCENT_ALLOWED}")
    return percent
