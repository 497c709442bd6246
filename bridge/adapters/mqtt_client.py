"""paho's client as the bridge uses it: made, connected, subscribed, and its values turned into ours and back.

What MQTT 5 and MQTT 3.1.1 want said differently is said here. Nothing is kept and nothing waits; all but
`connect` belongs to the loop's thread.
"""

from collections.abc import Sequence

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.adapters.broker import Broker
from bridge.adapters.lean import LeanClient, install
from bridge.core.delivery import NO_PROPERTIES, Delivery, Properties
from bridge.core.messages import RECEIVE_MAXIMUM

SESSION_NEVER_EXPIRES = 0xFFFFFFFF  # [MQTT 5.0, section 3.1.2.11.2]

PACKET_LIMIT = 32_000_000
"""Bytes of one packet from the broker, which drops what is larger; far above what we accept."""


def new_client(broker: Broker, will: tuple[str, bytes] | None) -> LeanClient:
    """Return a client for a persistent session that acknowledges by hand; ``will`` is topic and payload."""
    install()
    client = LeanClient(
        CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        protocol=paho.MQTTv5 if broker.version5 else paho.MQTTv311,
        manual_ack=True,
        clean_session=None if broker.version5 else False,
    )
    client.max_inflight_messages_set(0)  # our own window counts
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    if will:
        client.will_set(will[0], will[1], qos=1, retain=True)
    return client


def connect(client: LeanClient, broker: Broker) -> None:
    """Connect and have CONNECT queued. Runs in a thread of its own: TCP and TLS handshakes block.

    Raises OSError or ValueError where it cannot be connected to.
    """
    if broker.version5:
        properties = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
        properties.SessionExpiryInterval = SESSION_NEVER_EXPIRES
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        properties.MaximumPacketSize = PACKET_LIMIT
        client.connect(broker.host, broker.port, broker.keepalive, clean_start=False, properties=properties)
    else:
        client.connect(broker.host, broker.port, broker.keepalive)


def subscribe(client: LeanClient, topics: Sequence[str]) -> None:
    """Ask for ``topics`` at QoS 1."""
    if client.protocol == paho.MQTTv5:
        # A stored copy of a retained command is nobody's wish of this moment.
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        client.subscribe([(topic, options) for topic in topics])
    else:
        client.subscribe([(topic, 1) for topic in topics])


def to_delivery(message: paho.MQTTMessage, epoch: int) -> Delivery:
    """Return what came in the connection numbered ``epoch``; UnicodeDecodeError if its topic is not UTF-8."""
    return Delivery(
        message.topic,
        bytes(message.payload),
        message.qos,
        message.retain,
        message.dup,
        message.mid,
        epoch,
        _from_paho(message.properties),
    )


_KNOWN = {"MessageExpiryInterval", "ResponseTopic", "CorrelationData", "UserProperty"}


def _from_paho(found: PahoProperties | None) -> Properties:
    given = vars(found) if found is not None else {}
    if not given.keys() & _KNOWN:
        return NO_PROPERTIES
    return Properties(
        given.get("MessageExpiryInterval"),
        given.get("ResponseTopic"),
        given.get("CorrelationData"),
        tuple(given.get("UserProperty", ())),
    )


def publish_properties(client: LeanClient, given: Properties | None) -> PahoProperties | None:
    """Return the correlation and user properties for a publication; None in MQTT 3.1.1, which has none."""
    if given is None or client.protocol != paho.MQTTv5:
        return None
    properties = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
    if given.correlation is not None:
        properties.CorrelationData = given.correlation
    if given.user:
        properties.UserProperty = list(given.user)
    return properties
