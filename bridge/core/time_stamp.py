"""The time inside a payload: ``stamp`` of a route adds it to what a sensor sends without one.

A payload that is a JSON object [RFC 8259, section 4] gets a member more, and all its other bytes stay as they
are. Any other payload is wrapped: ``{"at":1700000000,"value":21.5}``.
"""

import base64
import json
import re
from typing import Any, NoReturn

LOOKED_INTO = 1_000_000
"""Bytes of a payload that is read as JSON at most: as values it takes thirty times its length in memory."""

WRAPPED = ("value", "value_base64")
"""The keys of a wrapped payload, which are no keys for the time."""

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
"""A number as JSON has it [RFC 8259, section 6]."""

_SPACE = " \t\n\r"


def stamped(payload: bytes, key: str, at: int | None) -> bytes:
    """Return ``payload`` with its time ``at`` (Unix seconds; None: null) under ``key``.

    It stays as it is where it has the key.
    """
    member = f"{json.dumps(key, ensure_ascii=False)}:{'null' if at is None else at}"
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return f'{{{member},"value_base64":"{base64.b64encode(payload).decode()}"}}'.encode()
    found = _read_object(text) if len(payload) <= LOOKED_INTO else None
    if found is None:
        number = text.strip(_SPACE)
        value = number if _NUMBER.fullmatch(number) else json.dumps(text, ensure_ascii=False)
        return f'{{{member},"value":{value}}}'.encode()
    if key in found:
        return payload
    end = payload.rindex(b"}")
    return payload[:end] + f"{',' if found else ''}{member}".encode() + payload[end:]


def _read_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object in ``text``, None if it is none; a byte order mark before it is no fault."""
    body = text.removeprefix("\ufeff").strip(_SPACE)
    if not body.startswith("{"):
        return None
    try:
        # As floats integers have no limit of digits, and nobody looks at the values.
        found: dict[str, Any] = json.loads(body, parse_int=float, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return found


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(name)
