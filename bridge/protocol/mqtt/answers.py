"""The broker's answers, reduced to a form that paho always accepts.

Paho raises for an unknown reason code, for a value out of range, for U+FEFF in a text and for a repeated
property; the connection would end each time. So properties that nobody uses are left out, and an unknown
reason code becomes the general one of its kind [MQTT 5.0, sections 2.4, 3.2 and 3.4 to 3.14].
"""

from bridge.errors import InvalidCommand, NotMqtt
from bridge.protocol.mqtt.packets import (
    CONNACK,
    DISCONNECT,
    PINGRESP,
    SUBACK,
    UNSUBACK,
    Packet,
)
from bridge.protocol.mqtt.properties import (
    REASON_STRING,
    Property,
    properties,
    variable_bytes,
    variable_integer,
)

_CODES = {
    CONNACK: {0, 1, *range(128, 139), 140, 144, 149, 151, 153, 154, 155, 156, 157, 159},
    SUBACK: {0, 1, 2, 128, 131, 135, 143, 145, 151, 158, 161, 162},
    UNSUBACK: {0, 17, 128, 131, 135, 143, 145},
    DISCONNECT: {0, *range(128, 132), 135, 137, 139, 141, 142, 143, 144, *range(147, 163)},
}
"""Reason codes of MQTT 5; 1 in CONNACK is MQTT 3.1.1's code for a refused version."""

_CODES_3 = {CONNACK: {0, 1, 2, 3, 4, 5}, SUBACK: {0, 1, 2, 128}}

_NUMBERS = {17, 19, 33, 34, 36, 37, 39, 40, 41, 42}
_KEPT = {CONNACK: _NUMBERS | {REASON_STRING}, DISCONNECT: {17, REASON_STRING}}
_MOST = {33: 65_535, 39: 268_435_455}
"""Properties that may not be 0, with the largest value that paho accepts; no packet is larger."""


def readable(packet: Packet, *, version5: bool) -> bytes:
    """Return ``packet`` in a form that paho accepts; empty for a packet that is not needed.

    Raises `NotMqtt` for a packet that is too short.
    """
    kind, body = packet
    if kind == PINGRESP:
        return b"\xd0\x00"
    try:
        clean = _clean(kind, body, version5=version5)
    except IndexError:
        raise NotMqtt(f"a packet of kind {kind} with only {len(body)} bytes") from None
    return b"" if clean is None else bytes((kind << 4,)) + variable_bytes(len(clean)) + clean


def _clean(kind: int, body: bytes, *, version5: bool) -> bytes | None:
    if kind == CONNACK:
        kept = _kept(kind, body, 2)[0] if version5 else b""
        return bytes((body[0], _code(kind, body[1], version5=version5))) + kept
    if kind == DISCONNECT:
        return bytes((_code(kind, body[0] if body else 0),)) + _kept(kind, body, 1)[0]
    mid = bytes((body[0], body[1]))
    if kind not in (SUBACK, UNSUBACK):
        return None
    if kind == UNSUBACK and not version5:
        return mid
    kept, pos = _kept(kind, body, 2) if version5 else (b"", 2)
    codes = body[pos:] or (b"\0" if kind == UNSUBACK else b"")  # paho needs at least one code
    return mid + kept + bytes(_code(kind, code, version5=version5) for code in codes)


def _code(kind: int, code: int, *, version5: bool = True) -> int:
    known = (_CODES if version5 else _CODES_3).get(kind, ())
    if code in known:
        return code
    # A code from 0x80 on is a refusal [MQTT 5.0, section 2.4]; in CONNACK of MQTT 3.1.1 every code but 0 is
    # one.
    refusal = code >= 128 or kind == CONNACK
    return (128 if version5 or kind == SUBACK else 3) if refusal else 0


def _kept(kind: int, body: bytes, pos: int) -> tuple[bytes, int]:
    """Return the useful properties at ``pos`` with their length, and the end of all properties."""
    if pos >= len(body):
        return b"\0", len(body)
    found = variable_integer(body, pos, len(body))
    if found is None or sum(found) > len(body):
        raise NotMqtt(f"a packet of kind {kind} whose properties end after it")
    length, start = found
    kept = b""
    seen: set[int] = set()
    try:
        for each in properties(body, start, start + length):
            if each.identifier not in seen and _is_useful(kind, each):
                kept += body[each.start : each.stop]
                seen.add(each.identifier)
    except InvalidCommand:
        pass  # properties before the unreadable one count; those after it cannot be found
    return variable_bytes(len(kept)) + kept, start + length


def _is_useful(kind: int, given: Property) -> bool:
    if given.identifier not in _KEPT.get(kind, {REASON_STRING}):
        return False
    if isinstance(given.value, int):
        return given.identifier not in _MOST or 0 < given.value <= _MOST[given.identifier]
    return isinstance(given.value, str) and "\ufeff" not in given.value
