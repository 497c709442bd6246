"""Functions that make, connect and subscribe paho's client, and convert between its values and ours.

The differences between MQTT 5 and MQTT 3.1.1 are here. The functions keep no state and do not wait. All but
`connect` belong to the loop's thread.
"""

from collections.abc import Sequence
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.adapters.mqtt.broker import Broker
from bridge.adapters.mqtt.buffered import BufferedClient, install
from bridge.core.delivery import Delivery, Properties
from bridge.core.messages import RECEIVE_MAXIMUM
from bridge.errors import Unpublishable
from bridge.protocol.mqtt.packets import Publish

SESSION_NEVER_EXPIRES = 0xFFFFFFFF  # [MQTT 5.0, section 3.1.2.11.2]

PACKET_LIMIT = 32_000_000
"""Bytes of the largest packet that the broker may send; far above the payloads that we accept."""

LARGEST_PACKET = 268_435_460
"""Bytes of the largest packet that MQTT can encode [MQTT 5.0, section 1.5.5; 3.1.1, section 2.2.3]."""


class Limits(NamedTuple):
    """The limits that the broker announces [MQTT 5.0, section 3.2.2.3]; MQTT 3.1.1 cannot announce any."""

    packet: int = LARGEST_PACKET
    """Bytes of the largest whole packet."""
    window: int = 65_535
    """Number of our QoS 1 publications that may be unacknowledged."""
    qos: int = 1
    retain: bool = True


def limits(connack: PahoProperties | None) -> Limits:
    """Return the limits in the broker's CONNACK."""
    told = vars(connack) if connack is not None else {}
    return Limits(
        min(told.get("MaximumPacketSize", LARGEST_PACKET), LARGEST_PACKET),
        told.get("ReceiveMaximum", 65_535),
        min(told.get("MaximumQoS", 1), 1),
        bool(told.get("RetainAvailable", 1)),
    )


def new_client(broker: Broker, will: tuple[str, bytes] | None) -> BufferedClient:
    """Return a client with a persistent session and manual acknowledgements; ``will``: topic and payload."""
    install()
    client = BufferedClient(
        CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        protocol=paho.MQTTv5 if broker.version5 else paho.MQTTv311,
        manual_ack=True,
        clean_session=None if broker.version5 else False,
        reconnect_on_failure=False,  # paho would connect, and wait, inside the loop
    )
    client.max_inflight_messages_set(0)  # our own window counts
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    if will:
        set_will(client, will, Limits())
    return client


def set_will(client: BufferedClient, will: tuple[str, bytes], most: Limits) -> None:
    """Set the will (topic and payload) of the next CONNECT, at the QoS and retain flag of ``most``."""
    client.will_set(*will, qos=most.qos, retain=most.retain)


def connect(client: BufferedClient, broker: Broker) -> None:
    """Connect and queue CONNECT. Runs in a thread of its own because TCP and TLS handshakes block.

    Raises OSError or ValueError where no connection can be made.
    """
    if broker.version5:
        properties = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
        properties.SessionExpiryInterval = SESSION_NEVER_EXPIRES
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        properties.MaximumPacketSize = PACKET_LIMIT
        client.connect(broker.host, broker.port, broker.keepalive, clean_start=False, properties=properties)
    else:
        client.connect(broker.host, broker.port, broker.keepalive)


def subscribe(client: BufferedClient, topics: Sequence[str]) -> None:
    """Ask for ``topics`` at QoS 1."""
    if client.protocol == paho.MQTTv5:
        # A stored copy of a retained command may be months old, so the broker is asked to send none. Retain
        # As Published distinguishes an empty message from one that clears such a copy.
        options = SubscribeOptions(
            qos=1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
        )
        client.subscribe([(topic, options) for topic in topics])
    else:
        client.subscribe([(topic, 1) for topic in topics])


def to_delivery(message: Publish, epoch: int, *, version5: bool) -> Delivery:
    """Return ``message``, received in the connection numbered ``epoch``, as a delivery.

    In MQTT 5 the retain flag is the publisher's (Retain As Published); in 3.1.1 it marks a stored copy.
    """
    topic, payload, qos, retain, dup, mid, properties, problem = message
    asks_nothing = retain and not (version5 and (payload or problem))
    return Delivery(
        topic=topic,
        payload=payload,
        qos=qos,
        retain=asks_nothing,
        dup=dup,
        mid=mid,
        epoch=epoch,
        properties=properties,
        problem=problem,
    )


def publish_properties(client: BufferedClient, given: Properties | None) -> PahoProperties | None:
    """Return the correlation and user properties for a publication; None in MQTT 3.1.1, which has none."""
    if given is None or (given.correlation is None and not given.user) or client.protocol != paho.MQTTv5:
        return None
    properties = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
    if given.correlation is not None:
        properties.CorrelationData = given.correlation
    if given.user:
        properties.UserProperty = list(given.user)
    return properties


def checked(
    client: BufferedClient, topic: str, payload: bytes, given: Properties | None, most: int
) -> PahoProperties | None:
    """Check a publication and return its properties, as `publish_properties` does.

    Raises `Unpublishable` for a topic or property that MQTT cannot encode, and for a packet of more than
    ``most`` bytes. paho checks the same, but only after it has stored the publication for a repetition.
    """
    try:
        topic_size = len(topic.encode())
        properties = publish_properties(client, given)
        told = 0 if properties is None or given is None else _properties_size(given)
    except (ValueError, MQTTException) as exc:  # UnicodeEncodeError is a ValueError
        raise Unpublishable(f"MQTT has no form for its topic or properties: {exc}") from exc
    if not topic or topic_size > 65_535 or any(sign in topic for sign in "+#\0"):
        raise Unpublishable("its topic is none that one can publish to")
    size = packet_size(topic_size, len(payload), told or int(client.protocol == paho.MQTTv5))
    if size > most:
        raise Unpublishable(f"its packet has {size} bytes, and the broker takes {most} at most")
    return properties


def packet_size(topic: int, payload: int, properties: int = 1, qos: int = 1) -> int:
    """Return the length of a PUBLISH packet in bytes, from those of its parts [MQTT 5.0, section 3.3]."""
    body = 2 + topic + 2 * qos + properties + payload
    return 1 + sum(body >= bound for bound in (0, 1 << 7, 1 << 14, 1 << 21)) + body


def _properties_size(given: Properties) -> int:
    """Return the length of the encoded properties in bytes; raises ValueError for one that is too long."""
    texts = [text.encode() for pair in given.user for text in pair]
    sizes = [len(text) for text in (*texts, given.correlation or b"")]
    if max(sizes) > 65_535:
        raise ValueError("a property has over 65535 bytes")
    size = 5 * len(given.user) + sum(sizes) + (0 if given.correlation is None else 3)
    return size + sum(size >= bound for bound in (0, 1 << 7, 1 << 14, 1 << 21))
