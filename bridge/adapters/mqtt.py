"""The MQTT session: one paho client, driven by our event loop.

paho's own thread is not used: an exception in a callback ends that thread while ``is_connected()`` stays
true. Here its documented external-loop calls run in the event loop (``loop_read`` and ``loop_write`` in
`bridge.adapters.mqtt_wire`, ``loop_misc`` here); deliveries are handled after paho has returned, so that what
goes wrong in our code reaches our code; and acknowledgements come from the loop's thread too, so none can
meet another connection than the one it is meant for. Only connecting, which blocks, has a thread of its own;
while it runs the loop's thread asks nothing of paho.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.adapters.broker import Broker, connect_problem
from bridge.adapters.lean import LeanClient
from bridge.adapters.mqtt_client import connect, new_client, publish_properties, subscribe, to_delivery
from bridge.adapters.mqtt_reasons import RIVAL_LIKELY, TAKEN_OVER, ended, refused, unanswered
from bridge.adapters.mqtt_wire import Wire
from bridge.adapters.threads import in_thread
from bridge.core.delivery import Delivery, Properties
from bridge.core.pulse import Pulse
from bridge.core.reconnects import Reconnects
from bridge.protocol.mqtt_packets import Publish

log = logging.getLogger("mqtt")

PUBLISH_WINDOW = 64
"""Our unacknowledged publications at most, if the broker's own Receive Maximum is not smaller."""

CONNACK_WAIT = 10.0
"""Seconds from CONNECT to CONNACK before the connection is given up."""


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
        self._loop = loop
        self._broker = broker
        self._handler = handler
        self._subscriptions = list(subscriptions)
        self._stale = list(stale)
        self._client = self._new_client(will)
        self._wire = Wire(
            loop,
            self._client,
            on_message=self._received,
            on_published=handler.mqtt_published,
            on_lost=self._lost,
            crowded=crowded,
        )
        self._epoch = 0
        self._closed = asyncio.Event()
        self._reason = ""
        self._code = 0
        """The reason code of the broker's DISCONNECT; 0 without one."""
        self._unexplained = False
        """Whether the last connection was ended without a word."""
        self._since: float | None = None
        """When the broker took the connection, in the loop's time; None: it has not."""
        self._stopping = False
        self.reconnects = Reconnects(random.uniform)
        self._turns = 0
        """Tries to connect, and looks at a connection that stands."""
        self.connected = False
        self.subscribed = False
        """Whether the broker has confirmed the subscriptions of this connection."""
        self.window = PUBLISH_WINDOW

    def _new_client(self, will: tuple[str, bytes] | None) -> LeanClient:
        client = new_client(self._broker, will)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        return client

    # -- connecting --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and connect again, until `disconnect`."""
        while not self._stopping:
            await self._connect_once()
            if self._stopping:
                return
            await asyncio.sleep(self.reconnects.delay())

    async def _connect_once(self) -> None:
        """Hold one connection until it ends, and tell why it did."""
        self._turns += 1
        self._closed.clear()
        self._reason, self._code, self._since = "", 0, None
        try:
            await in_thread(self._loop, self._connect)
        except (OSError, ValueError) as exc:
            self.reconnects.ended(None)
            self._handler.mqtt_down(connect_problem(exc, f"{self._broker.host}:{self._broker.port}"))
            return
        self._wire.attach()
        try:
            await self._watch()
        finally:
            self._wire.detach()
        self.connected = self.subscribed = False
        self._judge()
        self._handler.mqtt_down(self._reason or "the broker did not answer CONNECT")

    def _judge(self) -> None:
        """Take down how the connection ended; name the likely cause where the broker says none."""
        lasted = None if self._since is None else self._loop.time() - self._since
        self.reconnects.ended(lasted, taken_over=self._code == TAKEN_OVER)
        self._unexplained = self._code == 0 and lasted is not None and not self._stopping
        if self._unexplained and self.reconnects.suspicious:
            self._reason += "; " + RIVAL_LIKELY.format(id=self._broker.client_id)

    def _connect(self) -> None:
        """Runs in a thread of its own."""
        connect(self._client, self._broker)

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
                if self._since is not None:
                    self.reconnects.lasts(self._loop.time() - self._since)
                self._client.loop_misc()
                self._wire.flush()

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
            self._reason = refused(reason, properties, self._broker)
            return
        self._since = self._loop.time()
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
        if self._subscriptions:
            subscribe(self._client, self._subscriptions)

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        self.subscribed = not any(reason.is_failure for reason in reasons)
        for topic, reason in zip(self._subscriptions, reasons, strict=False):
            if reason.is_failure:
                log.error(
                    "the broker refuses the subscription to %s: %s; check its access list", topic, reason
                )

    def _on_disconnect(
        self,
        _client: paho.Client,
        _userdata: Any,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        properties: PahoProperties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._code = reason.value
            self._reason = ended(reason, properties, self._broker)
        elif self._since is None and not self._reason:
            self._reason = unanswered(reason, self._broker)
        elif not self._reason:
            lost = reason == "Unspecified error"  # what paho calls an end that nobody explained
            self._reason = "the connection to the broker " + ("was lost" if lost else f"ended: {reason}")
        self._closed.set()

    # -- what the wire tells -----------------------------------------------------------------------------

    def _received(self, message: Publish) -> None:
        if self.connected:
            delivery = to_delivery(message, self._epoch, version5=self._broker.version5)
            self._handler.mqtt_received(delivery)

    def _lost(self, reason: str) -> None:
        self._reason = reason or self._reason
        self._closed.set()

    # -- for the owner -----------------------------------------------------------------------------------

    def pulses(self) -> tuple[Pulse, ...]:
        """Return how far the session has come, for the watchdog."""
        progress = self._wire.bursts if self._wire.paused else self._turns
        return (Pulse(f"broker {self._broker.client_id}", progress, owes=not self._stopping),)

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge ``delivery``, unless its connection is gone: then the broker will send it again."""
        if delivery.qos and self.connected and delivery.epoch == self._epoch:
            self._client.ack(delivery.mid, delivery.qos)
            self._wire.flush_soon()

    def leave(self, filters: Sequence[str]) -> None:
        """Give the subscriptions to ``filters`` up, now and in each later connection."""
        self._stale = list(filters)
        if self.connected and self._stale:
            self._client.unsubscribe(self._stale)
            self._wire.flush_soon()

    @property
    def shared(self) -> bool:
        """Whether another client seems to use our client id."""
        judged = self.reconnects
        return judged.rivals > 1 or (judged.suspicious and self._unexplained)

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
        info = self._client.publish(topic, payload, qos, retain, publish_properties(self._client, properties))
        self._wire.flush_soon()
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_QUEUE_SIZE):
            log.debug("publish on %s: %s", topic, info.rc)
        return info.mid

    def publish_event(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 0; False where it cannot go now."""
        if not self.connected or not self._client.publish_event(topic.encode(), payload):
            return False
        self._wire.flush_soon()
        return True

    def disconnect(self) -> None:
        """End the connection cleanly; the session stays with the broker."""
        self._stopping = True
        if self.connected:
            self._client.disconnect()
            self._wire.flush()
        self._closed.set()
