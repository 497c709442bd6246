"""Our publications: PUBLISH packets to the broker, and what its PUBACK says.

[MQTT 5.0, sections 3.3 and 3.4; MQTT 3.1.1 has the same without properties and reason codes.]
"""

import re
from functools import lru_cache

from bridge.core.delivery import Properties
from bridge.errors import NotMqtt, Unpublishable
from bridge.protocol.mqtt.properties import USER_PROPERTY, variable_bytes

_CORRELATION_DATA = 9
_LONGEST = 65_535
"""Bytes of a text or of binary data at most [MQTT 5.0, section 1.5.4]."""

_NEVER_IN_TOPICS = re.compile(r"[+#\0]")

_UNSPECIFIED = "Unspecified error"
_REFUSALS = {
    0x83: "Implementation specific error",
    0x87: "Not authorized",
    0x90: "Topic name invalid",
    0x91: "Packet identifier in use",
    0x97: "Quota exceeded",
    0x99: "Payload format invalid",
}
"""Reason codes of a PUBACK that refuse the publication [MQTT 5.0, section 3.4.2.1]."""


def publication(
    topic: str,
    payload: bytes,
    *,
    mid: int = 0,
    retain: bool = False,
    properties: Properties | None = None,
    version5: bool,
) -> bytes:
    """Return a PUBLISH packet: at QoS 1 with the packet identifier ``mid``, at QoS 0 with none.

    Of ``properties`` it carries the correlation data and the user properties. Raises `Unpublishable` for a
    topic or a property that MQTT cannot encode.
    """
    try:
        head = _topic(topic) + (mid.to_bytes(2, "big") if mid else b"")
        if version5:
            head += _properties(properties) if properties else b"\0"
    except ValueError as exc:  # UnicodeEncodeError is one
        raise Unpublishable(f"MQTT has no form for its topic or properties: {exc}") from exc
    first = 0x30 | (2 if mid else 0) | retain
    return b"%c%b%b%b" % (first, variable_bytes(len(head) + len(payload)), head, payload)


@lru_cache(maxsize=16)
def _topic(topic: str) -> bytes:
    encoded = topic.encode()
    if not topic or len(encoded) > _LONGEST or _NEVER_IN_TOPICS.search(topic):
        raise Unpublishable("its topic is none that one can publish to")
    return _sized(encoded)


def _properties(given: Properties) -> bytes:
    parts = [] if given.correlation is None else [b"%c" % _CORRELATION_DATA + _sized(given.correlation)]
    parts += [
        b"%c%b%b" % (USER_PROPERTY, _sized(name.encode()), _sized(value.encode()))
        for name, value in given.user
    ]
    encoded = b"".join(parts)
    return variable_bytes(len(encoded)) + encoded


def _sized(data: bytes) -> bytes:
    if len(data) > _LONGEST:
        raise ValueError(f"a property has over {_LONGEST} bytes")
    return len(data).to_bytes(2, "big") + data


def acknowledgement(body: bytes, *, version5: bool) -> tuple[int, str | None]:
    """Return the packet identifier in a PUBACK, and why the broker refuses the publication, None if not.

    A reason code from 0x80 on is a refusal [MQTT 5.0, section 2.4]. Raises `NotMqtt` for a packet that is too
    short.
    """
    if len(body) < 2:
        raise NotMqtt(f"a PUBACK with only {len(body)} bytes")
    code = body[2] if version5 and len(body) > 2 else 0
    return body[0] << 8 | body[1], _REFUSALS.get(code, _UNSPECIFIED) if code >= 0x80 else None
