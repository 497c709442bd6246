"""The MQTT session: one paho client, driven by our event loop.

paho's own thread is not used: an exception in a callback ends that thread while ``is_connected()`` stays
true. Here its documented external-loop calls (``loop_read``, ``loop_write``, ``loop_misc``) run in the event
loop, deliveries are collected first and handled after paho has returned, so that what goes wrong in our
code reaches our code; and acknowledgements come from the loop's thread too, so none can meet another
connection than the one it is meant for.
"""

import asyncio
import logging
import random
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.adapters.broker import Broker, connect_problem
from bridge.adapters.lean import BufferedSocket, LeanClient, install
from bridge.adapters.threads import in_thread
from bridge.core.delivery import NO_PROPERTIES, Delivery, Properties
from bridge.core.messages import RECEIVE_MAXIMUM
from bridge.core.pulse import Pulse

log = logging.getLogger("mqtt")

SESSION_NEVER_EXPIRES = 0xFFFFFFFF  # [MQTT 5.0, section 3.1.2.11.2]
PUBLISH_WINDOW = 64
"""Our unacknowledged publications at most, if the broker's own Receive Maximum is not smaller."""

PACKET_LIMIT = 32_000_000
"""Bytes of one packet from the broker, which drops what is larger; far above what we accept."""

CONNACK_WAIT = 10.0
"""Seconds from CONNECT to CONNACK before the connection is given up."""

MAX_RECONNECT_DELAY = 15.0
"""Seconds: the broker is on the same box, and everything waits for it."""

READ_BURST = 256
"""Packets read in one go, which one transaction then makes durable."""


class Handler(Protocol):
    """What a session tells its owner; all calls come in the loop's thread."""

    def mqtt_up(self, *, session_present: bool) -> None:
        """The connection stands and the subscriptions are asked for."""

    def mqtt_down(self, reason: str) -> None:
        """The connection is lost, or could not be made."""

    def mqtt_received(self, delivery: Delivery) -> None:
        """A message came."""

    def mqtt_published(self, mid: int, problem: str | None) -> None:
        """The broker acknowledged our QoS 1 publication, or refused it for the reason given."""


class Session:
    """A persistent session with the broker, kept up for ever."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        handler: Handler,
        *,
        subscriptions: Sequence[str],
        stale: Sequence[str] = (),
        will: tuple[str, bytes] | None = None,
        crowded: Callable[[Callable[[], None]], bool] = lambda _: False,
    ) -> None:
        """``stale`` are filters of an earlier configuration that the session may still hold.

        ``crowded`` says that too much came already; it calls back what it is given when there is room again.
        """
        self._crowded = crowded
        install()
        self._loop = loop
        self._broker = broker
        self._handler = handler
        self._subscriptions = list(subscriptions)
        self._stale = list(stale)
        self._client = self._new_client(will)
        self._inbox: list[paho.MQTTMessage] = []
        self._published: list[tuple[int, str | None]] = []
        self._epoch = 0
        self._closed = asyncio.Event()
        self._reason = ""
        self._sock: BufferedSocket | None = None
        self._writing = False
        self._flushing = False
        self._paused = False
        self._stopping = False
        self._turns = 0
        """Tries to connect, and looks at a connection that stands."""
        self._bursts = 0
        """Times that something was read."""
        self.connected = False
        self.window = PUBLISH_WINDOW

    def _new_client(self, will: tuple[str, bytes] | None) -> LeanClient:
        version5 = self._broker.version5
        client = LeanClient(
            CallbackAPIVersion.VERSION2,
            client_id=self._broker.client_id,
            protocol=paho.MQTTv5 if version5 else paho.MQTTv311,
            manual_ack=True,
            clean_session=None if version5 else False,
        )
        client.max_inflight_messages_set(0)  # our own window counts
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_socket_close = self._on_socket_close
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        if will:
            client.will_set(will[0], will[1], qos=1, retain=True)
        return client

    # -- connecting --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and connect again, until `disconnect`."""
        failures = 0
        while not self._stopping:
            if await self._connect_once():
                failures = 0
            if self._stopping:
                return
            failures += 1
            await asyncio.sleep(random.uniform(0, min(MAX_RECONNECT_DELAY, 0.25 * 2**failures)))  # noqa: S311

    async def _connect_once(self) -> bool:
        """Hold one connection until it ends; return whether the broker had taken it."""
        self._turns += 1
        self._closed.clear()
        self._reason = ""
        try:
            await in_thread(self._loop, self._connect)
        except (OSError, ValueError) as exc:
            self._handler.mqtt_down(connect_problem(exc, f"{self._broker.host}:{self._broker.port}"))
            return False
        self._attach()
        try:
            await self._watch()
        finally:
            self._detach()
        accepted, self.connected = self.connected, False
        self._handler.mqtt_down(self._reason or "the broker did not answer CONNECT")
        return accepted

    def _connect(self) -> None:
        """Runs in a thread of its own: TCP and TLS handshakes block."""
        broker = self._broker
        if broker.version5:
            properties = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
            properties.SessionExpiryInterval = SESSION_NEVER_EXPIRES
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            properties.MaximumPacketSize = PACKET_LIMIT
            self._client.connect(
                broker.host, broker.port, broker.keepalive, clean_start=False, properties=properties
            )
        else:
            self._client.connect(broker.host, broker.port, broker.keepalive)

    def _attach(self) -> None:
        sock: Any = self._client.socket()
        if sock is None:
            self._closed.set()
            return
        self._sock = sock
        self._paused = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self._flush()

    def _detach(self) -> None:
        sock, self._sock = self._sock, None
        self._unwatch(sock)
        if sock is not None:
            sock.close()
        self._writing = False

    def _unwatch(self, sock: Any) -> None:
        if sock is not None and sock.fileno() >= 0:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())

    def _on_socket_close(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        """Paho closes sockets inside its calls: the loop must forget the number before it is used again."""
        if sock is self._sock:
            self._unwatch(sock)

    async def _watch(self) -> None:
        """Feed paho's timers until the connection ends."""
        started = self._loop.time()
        while not self._closed.is_set():
            try:
                async with asyncio.timeout(1.0):
                    await self._closed.wait()
            except TimeoutError:
                self._turns += 1
                if not self.connected and self._loop.time() - started > CONNACK_WAIT:
                    return
                self._client.loop_misc()
                self._flush()

    # -- paho's callbacks, inside its calls --------------------------------------------------------------

    def _on_connect(
        self,
        _client: paho.Client,
        _userdata: Any,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: PahoProperties | None,
    ) -> None:
        if reason.is_failure:
            self._reason = (
                f"the broker refused the connection: {reason}; check mqtt.username and mqtt.password"
            )
            return
        self._epoch += 1
        self.connected = True
        self.window = min(PUBLISH_WINDOW, getattr(properties, "ReceiveMaximum", PUBLISH_WINDOW))
        self._subscribe()
        self._loop.call_soon(self._announce, self._epoch, flags.session_present)

    def _announce(self, epoch: int, session_present: bool) -> None:  # call_soon has no keywords
        if self.connected and epoch == self._epoch:
            self._handler.mqtt_up(session_present=session_present)

    def _subscribe(self) -> None:
        if self._stale:
            self._client.unsubscribe(self._stale)
        if self._broker.version5:
            # A stored copy of a retained command is nobody's wish of this moment.
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            self._client.subscribe([(topic, options) for topic in self._subscriptions])
        else:
            self._client.subscribe([(topic, 1) for topic in self._subscriptions])

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        for topic, reason in zip(self._subscriptions, reasons, strict=False):
            if reason.is_failure:
                log.error(
                    "the broker refuses the subscription to %s: %s; check its access list", topic, reason
                )

    def _on_disconnect(
        self, _client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._reason = self._reason or f"the connection to the broker ended: {reason}"
        self._closed.set()

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        self._inbox.append(message)

    def _on_publish(
        self, _client: paho.Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Any
    ) -> None:
        self._published.append((mid, str(reason) if reason.is_failure else None))

    # -- moving bytes ------------------------------------------------------------------------------------

    def _readable(self) -> None:
        if self._sock is None or self._paused:
            return
        self._bursts += 1
        try:
            self._read_burst()
        except (ValueError, IndexError, MQTTException) as exc:  # a packet that is no MQTT
            self._reason = f"the broker sent what is not MQTT: {exc}"
            self._closed.set()
        published, self._published = self._published, []
        for mid, problem in published:
            self._handler.mqtt_published(mid, problem)
        inbox, self._inbox = self._inbox, []
        for message in inbox:
            delivery = self._delivery(message)
            if delivery is not None:
                self._handler.mqtt_received(delivery)
        self._flush()
        if inbox and self._sock is not None and self._sock.fileno() >= 0 and self._crowded(self._resume):
            self._loop.remove_reader(self._sock.fileno())
            self._paused = True

    def _resume(self) -> None:
        """Read on, if it is still the connection that was paused."""
        if self._paused and self._sock is not None and self._sock.fileno() >= 0:
            self._paused = False
            self._loop.add_reader(self._sock.fileno(), self._readable)
            self._readable()  # what was read ahead makes no socket readable

    def _read_burst(self) -> None:
        client, sock = self._client, self._sock
        # Only here can a PUBACK be read. Left set, paho would build a reason and properties for each QoS 0
        # publication as well, which costs more than publishing it.
        client.on_publish = self._on_publish
        try:
            self._read_packets(client, sock)
        finally:
            client.on_publish = None

    def _read_packets(self, client: paho.Client, sock: Any) -> None:
        for _ in range(READ_BURST):
            if client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS or sock.fileno() < 0:
                self._closed.set()
                return
            if not sock.pending():
                return
        # What was read ahead makes no socket readable: come back for it, after the others had their turn.
        self._loop.call_soon(self._readable)

    def _delivery(self, message: paho.MQTTMessage) -> Delivery | None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            log.error("the broker delivered a topic that is not UTF-8; it is left out")
            self._client.ack(message.mid, message.qos)
            return None
        return Delivery(
            topic,
            bytes(message.payload),
            message.qos,
            message.retain,
            message.dup,
            message.mid,
            self._epoch,
            _properties(message.properties),
        )

    def _flush(self) -> None:
        """Write what paho has queued; what the socket does not take now waits for it to be writable."""
        self._flushing = False
        sock = self._sock
        if sock is None or sock.fileno() < 0:
            return
        try:
            if self._client.want_write():
                self._client.loop_write()
            blocked = not sock.flush()
        except OSError as exc:
            self._reason = f"the connection to the broker broke: {exc.strerror or exc}"
            self._closed.set()
            return
        if sock.fileno() < 0:
            return
        blocked = blocked or self._client.want_write()
        if blocked and not self._writing:
            self._loop.add_writer(sock.fileno(), self._flush)
        elif self._writing and not blocked:
            self._loop.remove_writer(sock.fileno())
        self._writing = blocked

    # -- for the owner -----------------------------------------------------------------------------------

    def pulses(self) -> tuple[Pulse, ...]:
        """Return how far the session has come, for the watchdog."""
        paused = self._paused and self._sock is not None
        progress = self._bursts if paused else self._turns
        return (Pulse(f"broker {self._broker.client_id}", progress, owes=not self._stopping),)

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge ``delivery``, unless its connection is gone: then the broker will send it again."""
        if delivery.qos and self.connected and delivery.epoch == self._epoch:
            self._client.ack(delivery.mid, delivery.qos)
            self._want_flush()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int | None:
        """Publish; return the packet id that `Handler.mqtt_published` will name, None while disconnected."""
        if not self.connected:
            return None
        info = self._client.publish(topic, payload, qos, retain, self._publish_properties(properties))
        self._want_flush()
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_QUEUE_SIZE):
            log.debug("publish on %s: %s", topic, info.rc)
        return info.mid

    def publish_event(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 0; False where it cannot go now."""
        if not self.connected or not self._client.publish_event(topic.encode(), payload):
            return False
        self._want_flush()
        return True

    def _publish_properties(self, given: Properties | None) -> PahoProperties | None:
        if given is None or not self._broker.version5:
            return None
        properties = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
        if given.correlation is not None:
            properties.CorrelationData = given.correlation
        if given.user:
            properties.UserProperty = list(given.user)
        return properties

    def _want_flush(self) -> None:
        if not self._writing and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def disconnect(self) -> None:
        """End the connection cleanly; the session stays with the broker."""
        self._stopping = True
        if self.connected:
            self._client.disconnect()
            self._flush()
        self._closed.set()


_KNOWN = {"MessageExpiryInterval", "ResponseTopic", "CorrelationData", "UserProperty"}


def _properties(found: PahoProperties | None) -> Properties:
    given = vars(found) if found is not None else {}
    if not given.keys() & _KNOWN:
        return NO_PROPERTIES
    return Properties(
        given.get("MessageExpiryInterval"),
        given.get("ResponseTopic"),
        given.get("CorrelationData"),
        tuple(given.get("UserProperty", ())),
    )
