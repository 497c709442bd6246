"""Functions that make, connect and subscribe paho's client, and convert between its values and ours.

The differences between MQTT 5 and MQTT 3.1.1 are here. The functions keep no state and do not wait. All but
`connect` belong to the loop's thread.
"""

from collections.abc import Sequence
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.adapters.mqtt.broker import Broker
from bridge.adapters.mqtt.buffered import BufferedClient
from bridge.core.delivery import Delivery
from bridge.core.messages import RECEIVE_MAXIMUM
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
    """Return a client with manual acknowledgements; ``will``: topic and payload."""
    client = BufferedClient(
        CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        protocol=paho.MQTTv5 if broker.version5 else paho.MQTTv311,
        manual_ack=True,
        clean_session=None if broker.version5 else not broker.persistent,
        reconnect_on_failure=False,  # paho would connect, and wait, inside the loop
    )
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
        properties.SessionExpiryInterval = SESSION_NEVER_EXPIRES if broker.persistent else 0
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        properties.MaximumPacketSize = PACKET_LIMIT
        client.connect(
            broker.host,
            broker.port,
            broker.keepalive,
            clean_start=not broker.persistent,
            properties=properties,
        )
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
