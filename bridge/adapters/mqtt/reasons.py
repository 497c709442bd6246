"""The reason codes of MQTT explained for a person: the one table for the log, the health and the doctor.

The codes are those that CONNACK and DISCONNECT carry [MQTT 5.0, sections 3.2.2.2 and 3.14.2.1]. paho turns
the return codes 1 to 5 of MQTT 3.1.1, section 3.2.2.3, into them.
"""

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.adapters.mqtt.broker import Broker

SHUTTING_DOWN = 0x8B
TAKEN_OVER = 0x8E

RIVAL = (
    'another client uses the client id "{id}", which is the case after an image was copied to a second box: '
    "give each its own mqtt.client_id"
)
"""The cause that a box in a field cannot repair by itself."""

RIVAL_LIKELY = f"it ends soon after each connection, and the broker's own log says why; likely {RIVAL}"
"""The likely cause where the broker names none: MQTT 3.1.1 has no DISCONNECT from the broker."""

_ITS_LOG = "the broker's own log says why"
_AGAIN = "it is tried again"
_PROTOCOL = "set mqtt.protocol to {other}, or see what stands between bridge and broker"
_SIZE = "let the broker take larger packets"
_MOVED = "set mqtt.host and mqtt.port to the broker that is to be used"

_FIXES = {
    0x81: _PROTOCOL,
    0x82: _PROTOCOL,
    0x84: "set mqtt.protocol to {other}",
    0x85: 'set mqtt.client_id to one that the broker allows; it is "{id}"',
    0x86: "check mqtt.username and mqtt.password",
    0x87: "check mqtt.username and mqtt.password, and what the broker lets that name do",
    0x88: _AGAIN,
    0x89: _AGAIN,
    0x8A: 'have the broker lift its ban of the client id "{id}" or of this address',
    SHUTTING_DOWN: _AGAIN,
    0x8C: "let the broker take mqtt.username and mqtt.password, the one method that the bridge has",
    0x8D: "see what holds packets up on the way, or set mqtt.keepalive higher",
    TAKEN_OVER: RIVAL,
    0x90: "set mqtt.prefix to one that the broker allows",
    0x95: _SIZE,
    0x96: "let the broker take more messages a second; " + _AGAIN,
    0x97: "raise the broker's quota for this client; " + _AGAIN,
    0x9A: "let the broker keep retained messages, which the last will is",
    0x9B: "let the broker take QoS 1",
    0x9C: _MOVED,
    0x9D: _MOVED,
    0x9F: "let the broker take more connections in a time; " + _AGAIN,
}
"""The remedy for each reason code; for other codes the broker's log says more."""


def unanswered(reason: ReasonCode, broker: Broker) -> str:
    """Explain paho's ``reason`` for a connection that ended before CONNACK, with the remedy."""
    if not broker.version5 and reason == "Protocol error":  # paho hides the return code 1 of 3.1.1
        return refused(ReasonCode(PacketTypes.CONNACK, "Unsupported protocol version"), None, broker)
    return f"the broker closed the connection before it answered; {_ITS_LOG}"


def refused(reason: ReasonCode, properties: Properties | None, broker: Broker) -> str:
    """Return why the broker refused the connection, with the remedy."""
    return "the broker refused the connection: " + "; ".join(explain(reason, properties, broker))


def ended(reason: ReasonCode, properties: Properties | None, broker: Broker) -> str:
    """Return why the broker's DISCONNECT ended the connection, with the remedy."""
    return "the broker ended the connection: " + "; ".join(explain(reason, properties, broker))


def explain(reason: ReasonCode, properties: Properties | None, broker: Broker) -> tuple[str, str]:
    """Return the reason's name with the broker's own text, and the remedy."""
    other = '"3.1.1"' if broker.version5 else "5"
    fix = _FIXES.get(reason.value, _ITS_LOG).format(id=broker.client_id, other=other)
    # Reason String and Server Reference [MQTT 5.0, sections 3.2.2.3.9 and 3.2.2.3.16] may be very long.
    more = [getattr(properties, name, "") for name in ("ReasonString", "ServerReference")]
    return str(reason) + "".join(f" ({each[:200]!r})" for each in more if each), fix
