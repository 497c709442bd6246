"""An MQTT client for tests: keeps what comes by topic, and publishes with any property."""

import contextlib
import json
import secrets
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self, TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.harness.process import patient

T = TypeVar("T")

_SESSION = 600
"""Seconds that the broker keeps what comes while this client is away, if it is MQTT 5."""


class Received(NamedTuple):
    """One message that came."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict[str, Any]
    """MQTT 5 properties by paho's names, e.g. ``CorrelationData``; ``user`` holds user properties."""
    at: float
    """Monotonic seconds."""

    def json(self) -> Any:
        """Return the payload, read as JSON."""
        return json.loads(self.payload)


class Client:
    """A client that is connected from `connect` on and stays so; paho's thread keeps it up.

    Args:
        port: the broker's, on loopback.
        filters: what to subscribe to, at QoS 1; asked for again at every connection.
        version5: MQTT 5, else 3.1.1.
        user: name and password.
        tls: whom to trust and what to show; None is a connection without TLS.

    """

    def __init__(
        self,
        port: int,
        *filters: str,
        version5: bool = True,
        user: tuple[str, str] | None = None,
        client_id: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._version5 = version5
        self._filters = filters
        self._port = port
        self._changed = threading.Condition()
        self._messages: dict[str, list[Received]] = defaultdict(list)
        self._parsed: dict[str, list[Any]] = defaultdict(list)
        self._acknowledged: set[int] = set()
        self._published = 0
        self._refused: list[tuple[int, str]] = []
        self._ready = threading.Event()
        self._paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            # A name of its own: paho does not keep one that the broker gives, and would lose its session.
            client_id=client_id or f"test-{secrets.token_hex(6)}",
            protocol=paho.MQTTv5 if version5 else paho.MQTTv311,
        )
        self._paho.on_connect = self._on_connect
        self._paho.on_subscribe = lambda *_: self._ready.set()
        self._paho.on_disconnect = lambda *_: self._ready.clear()
        self._paho.on_message = self._on_message
        self._paho.on_publish = self._on_publish
        self._paho.reconnect_delay_set(1, 1)
        if user:
            self._paho.username_pw_set(*user)
        if tls:
            self._paho.tls_set_context(tls)

    # -- life --------------------------------------------------------------------------------------------

    def connect(self, timeout: float = 10.0) -> Self:
        """Connect, and wait until the broker has granted the subscriptions."""
        properties = None
        if self._version5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
            properties.SessionExpiryInterval = _SESSION
        # Mosquitto does not save a session that began with Clean Start: it would miss what comes between a
        # restart of the broker and its own return.
        clean: dict[str, Any] = {"clean_start": False} if self._version5 else {}
        self._paho.connect("127.0.0.1", self._port, keepalive=60, properties=properties, **clean)
        self._paho.loop_start()
        assert self._ready.wait(patient(timeout)), "the broker did not take the test's client"
        return self

    @property
    def connected(self) -> bool:
        """Whether it is connected, and has its subscriptions."""
        return self._ready.is_set()

    def wait_connected(self, timeout: float = 20.0) -> None:
        """Wait until it is connected again, after the broker was away."""
        assert self._ready.wait(patient(timeout)), "the test's client did not come back"

    def close(self) -> None:
        """Disconnect."""
        self._paho.disconnect()
        with contextlib.suppress(AttributeError):  # paho looks at its thread twice, and it may end in between
            self._paho.loop_stop()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- receiving ---------------------------------------------------------------------------------------

    def messages(self, topic: str) -> list[Received]:
        """Return what came on ``topic``, in order."""
        with self._changed:
            return list(self._messages[topic])

    def topics(self) -> list[str]:
        """Return the topics on which something came."""
        with self._changed:
            return [topic for topic, messages in self._messages.items() if messages]

    def last(self, topic: str) -> Received | None:
        """Return the newest message on ``topic``."""
        with self._changed:
            return self._messages[topic][-1] if self._messages[topic] else None

    def json(self, topic: str) -> list[Any]:
        """Return what came on ``topic``, each read as JSON (once)."""
        with self._changed:
            parsed, came = self._parsed[topic], self._messages[topic]
            parsed += [json.loads(each.payload) for each in came[len(parsed) :]]
            return list(parsed)

    def results(self, message_id: str | None = None, prefix: str = "hologram") -> list[dict[str, Any]]:
        """Return the results that came, or those of one id."""
        found = self.json(f"{prefix}/result")
        return found if message_id is None else [each for each in found if each["id"] == message_id]

    def events(self, event_type: str | None = None, prefix: str = "hologram") -> list[dict[str, Any]]:
        """Return the events that came, or those of one type."""
        found = self.json(f"{prefix}/event")
        return found if event_type is None else [each for each in found if each["event_type"] == event_type]

    def wait_last(self, topic: str, timeout: float = 10.0) -> Received:
        """Wait until something has come on ``topic``; return the newest."""
        self.wait_for(lambda: self.last(topic), timeout, what=f"something on {topic}")
        newest = self.last(topic)
        assert newest is not None
        return newest

    def wait_health(self, state: str, timeout: float = 10.0) -> Any:
        """Wait until the bridge's health says ``state``, such as ``ok``; return the health."""
        self.wait_for(lambda: self.health().get("state") == state, timeout, what=f"health says {state}")
        return self.health()

    def wait_results(self, number: int, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Wait until ``number`` results have come; return all that did."""
        self.wait_for(lambda: len(self.results()) >= number, timeout, what=f"{number} results")
        return self.results()

    def state(self, topic: str) -> Any:
        """Return the newest JSON on ``topic``, an empty object where nothing came."""
        newest = self.last(topic)
        return newest.json() if newest and newest.payload else {}

    def health(self, prefix: str = "hologram") -> Any:
        """Return the bridge's newest health."""
        return self.state(f"{prefix}/bridge/health")

    def wait_for(self, predicate: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
        """Wait until ``predicate()`` is true, looking whenever something comes; return its value."""
        timeout = patient(timeout)
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (value := predicate()):
                assert time.monotonic() < deadline, f"not within {timeout} s: {what or 'the condition'}"
                self._changed.wait(0.05)
            return value

    def wait_result(self, message_id: str, timeout: float = 10.0, prefix: str = "hologram") -> dict[str, Any]:
        """Wait for the first result of ``message_id`` and return it."""
        return self.wait_for(
            lambda: self.results(message_id, prefix), timeout, what=f"the result of {message_id}"
        )[0]

    # -- publishing --------------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        payload: bytes | str = b"",
        *,
        qos: int = 1,
        retain: bool = False,
        properties: dict[str, Any] | None = None,
        user: dict[str, str] | None = None,
        wait: bool = True,
        timeout: float = 15.0,
    ) -> int:
        """Publish; with ``wait`` until the broker has acknowledged it. Returns the packet id.

        ``properties`` are MQTT 5 properties by paho's names, ``user`` is user properties.
        """
        info = self._paho.publish(topic, payload, qos, retain, _properties(properties, user))
        assert info.rc in (paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_NO_CONN), paho.error_string(info.rc)
        if wait:
            info.wait_for_publish(timeout)
            assert info.is_published(), f"the broker did not acknowledge the publication on {topic}"
        return info.mid

    def send(self, command: dict[str, Any], **options: Any) -> None:
        """Publish ``command`` as JSON to ``hologram/send``."""
        self.publish("hologram/send", json.dumps(command), **options)

    def flood(
        self, messages: Iterable[tuple[str, bytes | str]], *, window: int = 2000, timeout: float = 120.0
    ) -> int:
        """Publish many at QoS 1, at most ``window`` of them unacknowledged; return how many.

        Returns when the broker has acknowledged all of them.
        """
        deadline = time.monotonic() + timeout
        number = 0
        with self._changed:
            base = self._published
        for topic, payload in messages:
            self._paho.publish(topic, payload, 1)
            number += 1
            if number % 100 == 0:
                self._await_published(base + number - window, deadline)
        self._await_published(base + number, deadline)
        return number

    def _await_published(self, number: int, deadline: float) -> None:
        with self._changed:
            while self._published < number:
                assert time.monotonic() < deadline, "the broker did not acknowledge in time"
                self._changed.wait(0.1)

    @property
    def published(self) -> int:
        """How many publications the broker has acknowledged."""
        with self._changed:
            return self._published

    @property
    def refused(self) -> list[tuple[int, str]]:
        """Packet ids that the broker refused, with its reason (MQTT 5)."""
        with self._changed:
            return list(self._refused)

    # -- paho's thread -----------------------------------------------------------------------------------

    def _on_connect(
        self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            return
        if not self._filters:
            self._ready.set()
        elif self._version5:
            self._paho.subscribe([(each, SubscribeOptions(qos=1)) for each in self._filters])
        else:
            self._paho.subscribe([(each, 1) for each in self._filters])

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        given = vars(message.properties) if message.properties else {}
        properties = {name: value for name, value in given.items() if name[:1].isupper()}
        properties["user"] = dict(given.get("UserProperty", ()))
        received = Received(
            message.topic,
            bytes(message.payload),
            message.qos,
            message.retain,
            properties,
            time.monotonic(),
        )
        with self._changed:
            self._messages[message.topic].append(received)
            self._changed.notify_all()

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        with self._changed:
            self._published += 1
            if reason.is_failure:
                self._refused.append((mid, str(reason)))
            self._changed.notify_all()


def _properties(given: dict[str, Any] | None, user: dict[str, str] | None) -> Properties | None:
    if not given and not user:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
    for name, value in (given or {}).items():
        setattr(properties, name, value)
    if user:
        properties.UserProperty = list(user.items())
    return properties
