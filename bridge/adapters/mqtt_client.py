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
from bridge.core.delivery import Delivery, Properties
from bridge.core.messages import RECEIVE_MAXIMUM
from bridge.protocol.mqtt_packets import Publish

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
        reconnect_on_failure=False,  # paho would connect, and wait, inside the loop
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
        # A stored copy of a retained command is nobody's wish of this moment. As published, the flag tells an
        # empty message from one that clears such a copy.
        options = SubscribeOptions(
            qos=1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
        )
        client.subscribe([(topic, options) for topic in topics])
    else:
        client.subscribe([(topic, 1) for topic in topics])


def to_delivery(message: Publish, epoch: int, *, version5: bool) -> Delivery:
    """Return what came in the connection numbered ``epoch``.

    In MQTT 5 the retain flag is the publisher's (Retain As Published); in 3.1.1 it marks a stored copy.
    """
    topic, payload, qos, retain, dup, mid, properties, problem = message
    asks_nothing = retain and not (version5 and (payload or problem))
    return Delivery(topic, payload, qos, asks_nothing, dup, mid, epoch, properties, problem)


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
