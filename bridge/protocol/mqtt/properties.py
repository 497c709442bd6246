"""MQTT 5 properties, decoded from bytes: identifier, value and place of each [MQTT 5.0, section 2.2.2].

It takes one pass and copies only the values, so its time grows with the length of the list alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

from bridge.errors import InvalidCommand

REASON_STRING = 31
USER_PROPERTY = 38

_BYTE, _TWO, _FOUR, _VARIABLE, _BINARY, _TEXT, _PAIR = range(7)
_INTEGERS = {_BYTE: 1, _TWO: 2, _FOUR: 4}

_KINDS = {
    1: ("payload_format_indicator", _BYTE),
    2: ("message_expiry_interval", _FOUR),
    3: ("content_type", _TEXT),
    8: ("response_topic", _TEXT),
    9: ("correlation_data", _BINARY),
    11: ("subscription_identifier", _VARIABLE),
    17: ("session_expiry_interval", _FOUR),
    18: ("assigned_client_identifier", _TEXT),
    19: ("server_keep_alive", _TWO),
    21: ("authentication_method", _TEXT),
    22: ("authentication_data", _BINARY),
    26: ("response_information", _TEXT),
    28: ("server_reference", _TEXT),
    31: ("reason_string", _TEXT),
    33: ("receive_maximum", _TWO),
    34: ("topic_alias_maximum", _TWO),
    35: ("topic_alias", _TWO),
    36: ("maximum_qos", _BYTE),
    37: ("retain_available", _BYTE),
    38: ("user_property", _PAIR),
    39: ("maximum_packet_size", _FOUR),
    40: ("wildcard_subscription_available", _BYTE),
    41: ("subscription_identifier_available", _BYTE),
    42: ("shared_subscription_available", _BYTE),
}
"""The properties that a server sends, with the types of their values [MQTT 5.0, section 2.2.2.2]."""

MANY = {11, 38}
"""Properties that may be repeated."""


class Property(NamedTuple):
    """One property; ``start`` and ``stop`` are its place, its identifier included."""

    identifier: int
    name: str
    value: int | str | bytes | tuple[str, str]
    start: int
    stop: int


def variable_integer(data: bytes, pos: int, end: int) -> tuple[int, int] | None:
    """Return a Variable Byte Integer and its end; None if there is none [MQTT 5.0, section 1.5.5]."""
    if pos < end and data[pos] < 128:  # nearly all of them
        return data[pos], pos + 1
    value = shift = 0
    for place in range(pos, min(pos + 4, end)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    return None


def variable_bytes(number: int) -> bytes:
    """Return a Variable Byte Integer [MQTT 5.0, section 1.5.5]."""
    if number < 128:
        return bytes((number,))
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def properties(data: bytes, pos: int, end: int) -> Iterator[Property]:
    """Yield the properties from ``pos`` to ``end``.

    Raises `InvalidCommand` at the first unreadable property and names it; the properties after it cannot be
    found.
    """
    while pos < end:
        start = pos
        found = variable_integer(data, pos, end)
        kind = _KINDS.get(found[0]) if found else None
        if found is None or kind is None:
            shown = data[pos : min(pos + 4, end)]
            raise InvalidCommand("properties", shown, "MQTT 5 has no property with this number")
        identifier, pos = found
        name, sort = kind
        value, pos = _value(name, sort, data, pos, end)
        yield Property(identifier, name, value, start, pos)


def _value(
    name: str, sort: int, data: bytes, pos: int, end: int
) -> tuple[int | str | bytes | tuple[str, str], int]:
    if sort in _INTEGERS:
        stop = pos + _INTEGERS[sort]
        if stop > end:
            raise _cut(name, data, pos, end)
        return int.from_bytes(data[pos:stop], "big"), stop
    if sort == _VARIABLE:
        found = variable_integer(data, pos, end)
        if found is None:
            raise _cut(name, data, pos, end)
        return found
    value, pos = _binary(name, data, pos, end)
    if sort == _BINARY:
        return value, pos
    text = utf8(name, value)
    if sort == _TEXT:
        return text, pos
    value, pos = _binary(name, data, pos, end)
    return (text, utf8(name, value)), pos


def _binary(name: str, data: bytes, pos: int, end: int) -> tuple[bytes, int]:
    start = pos + 2
    stop = start + int.from_bytes(data[pos:start], "big")
    if start > end or stop > end:
        raise _cut(name, data, pos, end)
    return data[start:stop], stop


def utf8(name: str, value: bytes) -> str:
    """Return the text of a UTF-8 Encoded String; raises `InvalidCommand` for an invalid one.

    Surrogates and NUL are not allowed in it; U+FEFF is [MQTT 5.0, section 1.5.4].
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise InvalidCommand(name, value[:80], "it must be UTF-8") from None
    if "\0" in text:
        raise InvalidCommand(name, text[:80], "NUL may not be in it")
    return text


def _cut(name: str, data: bytes, pos: int, end: int) -> InvalidCommand:
    return InvalidCommand(name, data[pos : min(end, pos + 80)], "it is longer than the properties are")
