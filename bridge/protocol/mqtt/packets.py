"""Packets of the broker: bytes in, packets out.

A PUBLISH is decoded here. A fault in it is returned beside it if its packet identifier is readable: the
broker repeats it until it is acknowledged, so it has to be taken. All other packets are returned as kind and
body. `NotMqtt` is raised only for bytes that are no packet at all.

[MQTT 5.0, sections 2.1 and 3.3; MQTT 3.1.1 has the same without properties.]
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from bridge.core.delivery import NO_PROPERTIES, Properties
from bridge.errors import InvalidCommand, NotMqtt
from bridge.protocol.mqtt.properties import (
    MANY,
    USER_PROPERTY,
    Property,
    properties,
    utf8,
    variable_integer,
)

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(2, 8)
SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 9, 11, 13, 14
"""The first four bits of a packet that a server sends [MQTT 5.0, section 2.1.2]."""

_KINDS = {CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, PINGRESP, DISCONNECT}

HELD_LIMIT = 12_000_000
"""Bytes of one packet that are held at most. 8 MB of payload as base64 in JSON is below that. Of a larger
PUBLISH only the head is kept."""

PROPERTIES_LIMIT = 262_144
"""Bytes of a message's properties at most: the longest Response Topic and Correlation Data, and as much again
for others."""

USER_PROPERTIES = 1000
"""User properties of a message at most; four of them have a meaning."""

_HEAD = 2 + 65_535 + 2 + 4 + PROPERTIES_LIMIT
"""Bytes that hold topic, packet identifier and properties at most."""

_OF_PUBLISH = {1, 2, 3, 8, 9, 11, 35, USER_PROPERTY}  # [MQTT 5.0, section 3.3.2.3]


class Publish(NamedTuple):
    """A PUBLISH; with a ``problem`` the other fields are as far as they were readable."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int
    properties: Properties
    problem: InvalidCommand | None = None


class Packet(NamedTuple):
    """Any other packet."""

    kind: int
    body: bytes


class PacketReader:
    """Cuts the bytes of one connection into packets."""

    def __init__(self, *, version5: bool, limit: int = HELD_LIMIT) -> None:
        """``limit`` is the number of bytes of one packet that are held."""
        self._version5 = version5
        self._limit = limit
        self._parts: list[bytes] = []
        self._held = 0
        """Bytes in `_parts`."""
        self._needed = 1
        """Bytes of the packet at the start of `_parts` that are needed to go on."""
        self._large: Publish | None = None
        """A PUBLISH beyond the limit, until the remaining `_skip` bytes of it have come."""
        self._skip = 0
        self._connected = False

    def feed(self, data: bytes) -> Iterator[Publish | Packet]:
        """Yield the packets that ``data`` completes; the caller has to take all of them.

        Raises `NotMqtt` after the readable packets.
        """
        if self._large:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            if self._skip:
                return
            yield self._large
            self._large = None
            data = data[skipped:]
        self._parts.append(data)
        self._held += len(data)
        # Joined only when a packet can be complete: joining at each read would copy a large packet many
        # times.
        if self._held >= self._needed:
            yield from self._cut(b"".join(self._parts))

    def _cut(self, data: bytes) -> Iterator[Publish | Packet]:
        pos, self._needed = 0, 1
        while pos < len(data) and (place := self._place(data, pos)):
            start, stop = place
            packet = self._packet(data, pos, start, stop)
            pos = min(stop, len(data))
            if stop == pos:
                yield packet
            elif isinstance(packet, Publish):
                self._large, self._skip = packet, stop - pos
        rest = data[pos:]
        self._parts = [rest] if rest else []
        self._held = len(rest)

    def _place(self, data: bytes, pos: int) -> tuple[int, int] | None:
        """Return start and end of the body of the packet at ``pos``; None while more bytes are needed."""
        kind = data[pos] >> 4
        if kind not in _KINDS:
            raise NotMqtt(f"a packet of kind {kind}, which no server sends")
        if (kind == CONNACK) == self._connected:  # the first packet is CONNACK, no other [MQTT 5.0, 3.2]
            raise NotMqtt(
                "a second CONNACK" if self._connected else f"a packet of kind {kind} before CONNACK"
            )
        found = variable_integer(data, pos + 1, len(data))
        if found is None:
            if len(data) - pos > 4:
                raise NotMqtt("a packet whose length takes more than 4 bytes")
            self._needed = len(data) - pos + 1
            return None
        length, start = found
        if length > self._limit and kind != PUBLISH:
            raise NotMqtt(f"a packet of kind {kind} with {length} bytes")
        needed = start + (length if length <= self._limit else min(length, _HEAD))
        if needed > len(data):
            self._needed = needed - pos
            return None
        return start, start + length

    def _packet(self, data: bytes, pos: int, start: int, stop: int) -> Publish | Packet:
        kind = data[pos] >> 4
        if kind != PUBLISH:
            self._connected = True
            return Packet(kind, data[start:stop])
        if stop - start <= self._limit:
            return _publish(data[pos], data, start, stop, version5=self._version5)
        head = _publish(data[pos], data, start, start + min(stop - start, _HEAD), version5=self._version5)
        allowed = f"a packet of the broker has at most {self._limit} bytes"
        return head._replace(
            payload=b"", problem=head.problem or InvalidCommand("payload", f"{stop - start} bytes", allowed)
        )


def _publish(first: int, data: bytes, pos: int, end: int, *, version5: bool) -> Publish:
    """Return the PUBLISH with its body from ``pos`` to ``end``; ``first`` is its first byte."""
    start = pos + 2
    stop = start + int.from_bytes(data[pos:start], "big")
    body = stop + 2 if first & 6 else stop
    if start > end or body > end:
        raise NotMqtt("a PUBLISH that ends within its topic or its packet identifier")
    qos, mid = (first >> 1 & 3, data[stop] << 8 | data[stop + 1]) if first & 6 else (0, 0)
    name = data[start:stop]
    given = NO_PROPERTIES
    problem: InvalidCommand | None = None
    if version5:
        given, body, problem = _given(data, body, end)
    try:
        topic = utf8("topic", name)
    except InvalidCommand as exc:
        topic, problem = name.decode("utf-8", "backslashreplace"), exc
    if not topic:
        problem = InvalidCommand("topic", topic, "the broker named none, and an alias was not offered to it")
    if qos == 3:
        qos, problem = 1, InvalidCommand("qos", qos, "it is 0, 1 or 2")
    return Publish(topic, data[body:end], qos, first & 1 == 1, first & 8 == 8, mid, given, problem)


def _given(data: bytes, pos: int, end: int) -> tuple[Properties, int, InvalidCommand | None]:
    """Return the properties at ``pos``, the start of the payload, and the fault in the properties."""
    if pos < end and data[pos] == 0:
        return NO_PROPERTIES, pos + 1, None
    length, start = variable_integer(data, pos, end) or (0, end + 1)
    if length > PROPERTIES_LIMIT:
        allowed = f"a message has at most {PROPERTIES_LIMIT} bytes of them"
        return NO_PROPERTIES, start + length, InvalidCommand("properties", f"{length} bytes", allowed)
    if start + length > end:
        shown = data[pos : min(pos + 4, end)]
        return NO_PROPERTIES, end, InvalidCommand("properties", shown, "they end after the packet")
    values: dict[int, Any] = {}
    user: list[tuple[str, str]] = []
    problem = _collect(values, user, data, start, start + length)
    return Properties(values.get(2), values.get(8), values.get(9), tuple(user)), start + length, problem


def _collect(
    values: dict[int, Any], user: list[tuple[str, str]], data: bytes, pos: int, end: int
) -> InvalidCommand | None:
    """Add the properties to ``values`` and ``user``; return their fault, None without one."""
    try:
        for each in properties(data, pos, end):
            _add(values, user, each)
    except InvalidCommand as exc:
        return exc
    return None


def _add(values: dict[int, Any], user: list[tuple[str, str]], given: Property) -> None:
    if given.identifier not in _OF_PUBLISH:
        raise InvalidCommand(given.name, given.value, "it is no property of a message")
    if isinstance(given.value, tuple):
        if len(user) >= USER_PROPERTIES:
            allowed = f"a message has at most {USER_PROPERTIES} of them"
            raise InvalidCommand(given.name, given.value, allowed)
        user.append(given.value)
    elif given.identifier in values and given.identifier not in MANY:
        raise InvalidCommand(given.name, given.value, "it may be given once")
    else:
        values[given.identifier] = given.value
