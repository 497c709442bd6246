"""One connection to the broker, to test whether it accepts us or to end a session. It blocks."""

import queue
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.adapters.mqtt.broker import Broker, connect_problem
from bridge.adapters.mqtt.reasons import refused, unanswered

WAIT = 10.0
"""Seconds for the broker to answer."""


class Answer(NamedTuple):
    """The broker's answer to CONNECT."""

    problem: str | None
    """Why the broker did not accept us; None where it did."""
    fix: str | None = None
    """The remedy for a refusal."""
    present: bool = False
    """Whether the broker still had the session."""
    expiry: int | None = None
    """Seconds that the broker keeps the session; None where it does as it was asked."""


def ask(broker: Broker, expiry: int | None) -> Answer:
    """Connect once and disconnect.

    The session lasts for ``expiry`` seconds, in MQTT 3.1.1 for ever. None ends the session [MQTT 5.0, section
    3.1.2.4; MQTT 3.1.1, section 3.1.2.4].
    """
    client = _new_client(broker, expiry)
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    client.on_connect = lambda *said: answers.put(_read(broker, said[2], said[3], said[4]))
    client.on_disconnect = lambda *said: answers.put(_split(unanswered(said[3], broker)))
    where = f"{broker.host}:{broker.port}"
    try:
        client.connect(broker.host, broker.port, 10, **_wish(broker, expiry))
    except (OSError, ValueError) as exc:
        return Answer(connect_problem(exc, where))
    client.loop_start()
    try:
        return answers.get(timeout=WAIT)
    except queue.Empty:
        return Answer(f"the broker at {where} did not answer within {WAIT:g} s")
    finally:
        client.disconnect()
        client.loop_stop()


def _new_client(broker: Broker, expiry: int | None) -> paho.Client:
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        protocol=paho.MQTTv5 if broker.version5 else paho.MQTTv311,
        clean_session=None if broker.version5 else expiry is None,
        reconnect_on_failure=False,
    )
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    return client


def _wish(broker: Broker, expiry: int | None) -> dict[str, Any]:
    if not broker.version5:
        return {}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.SessionExpiryInterval = expiry or 0
    return {"clean_start": expiry is None, "properties": properties}


def _read(broker: Broker, flags: Any, reason: Any, properties: Any) -> Answer:
    if reason.is_failure:
        return _split(refused(reason, properties, broker))
    # CONNACK has the expiry only where it differs from the requested one [MQTT 5.0, section 3.2.2.3.2].
    return Answer(None, None, flags.session_present, getattr(properties, "SessionExpiryInterval", None))


def _split(said: str) -> Answer:
    problem, _, fix = said.partition("; ")
    return Answer(problem, fix)
