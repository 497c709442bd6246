"""The MQTT session: one paho client, driven by our event loop.

paho's own thread is not used: an exception in a callback ends that thread while ``is_connected()`` stays
true. Instead paho's documented external-loop calls run in the event loop: ``loop_read`` and ``loop_write`` in
`bridge.adapters.mqtt.wire`, ``loop_misc`` here. Deliveries are handled after paho has returned, so that our
exceptions do not pass through paho. Acknowledgements come from the loop's thread too, so each one belongs to
the connection of its delivery. Only connecting has a thread of its own, because it blocks; meanwhile the
loop's thread makes no call to paho.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.adapters.mqtt.broker import Broker, connect_problem
from bridge.adapters.mqtt.buffered import BufferedClient
from bridge.adapters.mqtt.client import (
    Limits,
    connect,
    limits,
    new_client,
    set_will,
    subscribe,
    to_delivery,
)
from bridge.adapters.mqtt.concessions import Concessions
from bridge.adapters.mqtt.reasons import RIVAL_LIKELY, TAKEN_OVER, ended, refused, unanswered
from bridge.adapters.mqtt.wire import Wire
from bridge.adapters.system.threads import in_thread
from bridge.core.delivery import Delivery, Properties
from bridge.core.progress import Progress
from bridge.core.reconnects import DELAY, LASTED, Reconnects
from bridge.errors import Unpublishable
from bridge.protocol.mqtt.packets import Publish
from bridge.protocol.mqtt.publications import publication

log = logging.getLogger("mqtt")

PUBLISH_WINDOW = 64
"""Most unacknowledged publications of ours; a smaller Receive Maximum of the broker takes precedence."""

CONNACK_WAIT = 10.0
"""Seconds from CONNECT to CONNACK before the connection is dropped."""

ECHO = "hologram-bridge/echo"
"""A filter that nobody subscribes to: UNSUBSCRIBE for it changes nothing and is answered."""

NOT_FOR_A_PACKET = {0x89, 0x8B, 0x8D, 0x8E, 0x93, 0x96, 0x97, 0x98, 0x9C, 0x9D, 0x9F, 0xA0}
"""Reasons of a broker's DISCONNECT that do not depend on the contents of a publication: busy, shutting down,
keep alive, taken over, Receive Maximum, rate, quota, administrative, moved, connect time
[MQTT 5.0, section 3.14.2.1]."""


class Handler(Protocol):
    """The session's notifications to its owner; all calls come in the loop's thread."""

    def mqtt_up(self, *, session_present: bool) -> None:
        """Learn that the connection is up and the subscriptions are requested."""

    def mqtt_down(self, reason: str) -> None:
        """Learn that the connection is lost, or could not be made."""

    def mqtt_received(self, delivery: Delivery) -> None:
        """Take a message."""

    def mqtt_published(self, mid: int, problem: str | None) -> None:
        """Learn that the broker acknowledged our publication, or refused it because of ``problem``."""


class Session:
    """A persistent session with the broker, which reconnects until `disconnect`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        broker: Broker,
        handler: Handler,
        *,
        subscriptions: Sequence[str],
        stale: Sequence[str] = (),
        will: tuple[str, bytes] | None = None,
        backpressure: Callable[[Callable[[], None]], bool] = lambda _: False,
        longest_delay: float = DELAY,
    ) -> None:
        """``stale`` are filters of an earlier configuration that the session may still hold.

        ``longest_delay`` is in seconds, between two tries to connect. ``backpressure`` returns whether to
        pause reading; it then calls its argument once there is room.
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
            on_cut=self._was_cut,
            backpressure=backpressure,
        )
        self._will = will
        self._epoch = 0
        self._limits = Limits()
        self._concessions = Concessions()
        self._echoes: dict[int, Callable[[int], None]] = {}
        """Callbacks for the broker's answer, by the packet id of the request."""
        self._written: list[int] = []
        """Packet ids of publications at QoS 0, which only a later answer of the broker confirms."""
        self._closed = asyncio.Event()
        self._reason = ""
        self._code = 0
        """The reason code of the broker's DISCONNECT; 0 without one."""
        self._unexplained = False
        """Whether the last connection ended without a DISCONNECT, and no crash explains it."""
        self._resumed = False
        """Whether the broker had the session: it survives another client with our id, but not a crash."""
        self._since: float | None = None
        """Time of the loop, in seconds, at which the broker accepted the connection; None before."""
        self._stopping = False
        self.reconnects = Reconnects(random.uniform, longest_delay)
        self._turns = 0
        """Number of attempts to connect and of checks of a connection that is up."""
        self.connected = False
        self.subscribed = False
        """Whether the broker has confirmed the subscriptions of this connection."""
        self.window = PUBLISH_WINDOW
        self.cut = False
        """Whether the broker ended the last connection, possibly because of a publication."""

    def _new_client(self, will: tuple[str, bytes] | None) -> BufferedClient:
        client = new_client(self._broker, will)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
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
        """Hold one connection until it ends, and report why it did."""
        self._turns += 1
        self._closed.clear()
        self._reason, self._code, self._since = "", 0, None
        self.cut = False
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
        accepted, self.connected, self.subscribed = self.connected, False, False
        self._concede(accepted=accepted)
        self._judge()
        self._handler.mqtt_down(self._reason or "the broker did not answer CONNECT")

    def _judge(self) -> None:
        """Record how the connection ended; name the likely cause where the broker names none."""
        lasted = None if self._since is None else self._loop.time() - self._since
        self.reconnects.ended(lasted, taken_over=self._code == TAKEN_OVER)
        if self._stopping:
            return  # our own disconnect says nothing about earlier connections
        self._unexplained = self._code == 0 and lasted is not None and self._resumed
        if self._unexplained and self.reconnects.suspicious:
            self._reason += "; " + RIVAL_LIKELY.format(id=self._broker.client_id)

    def _connect(self) -> None:
        """Connect; runs in a thread of its own."""
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
            self._adapt_will(reason.value)
            self._reason = refused(reason, properties, self._broker)
            return
        if not self._broker.version5 and not self._concessions.taken():
            self._lost("the broker takes us with less than we ask for: all is tried once more")
            return
        self._since = self._loop.time()
        self._resumed = flags.session_present
        if self._epoch and not self._resumed:
            self.reconnects.crashed()
        self._epoch += 1
        self.connected = True
        self._limits = limits(properties) if self._broker.version5 else self._concessions.limits
        self.window = min(PUBLISH_WINDOW, self._limits.window)
        self._echoes.clear()
        self._written.clear()
        self._subscribe()
        self._loop.call_soon(self._announce, self._epoch, flags.session_present)

    def _adapt_will(self, code: int) -> None:
        """Use a will that the broker can take, where it refused the connection because of the will.

        [MQTT 5.0, section 3.2.2.2: 0x9A Retain not supported, 0x9B QoS not supported]
        """
        if self._will and code in (0x9A, 0x9B):
            self._limits = self._limits._replace(**({"retain": False} if code == 0x9A else {"qos": 0}))
            set_will(self._client, self._will, self._limits)

    def _concede(self, *, accepted: bool) -> None:
        """Ask for less where a broker ended an MQTT 3.1.1 connection instead of answering."""
        if accepted:
            self._concessions.ended()
        elif self.cut:
            self._concessions.cut()
        if self._will and not self._broker.version5:
            set_will(self._client, self._will, self._concessions.limits)

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
        if not self._closed.is_set():
            self.cut = _is_cut(reason, sent=flags.is_disconnect_packet_from_server)
        if flags.is_disconnect_packet_from_server:
            self._code = reason.value
            self._reason = ended(reason, properties, self._broker)
        elif self._since is None and not self._reason:
            self._reason = unanswered(reason, self._broker)
        elif not self._reason:
            lost = reason == "Unspecified error"  # paho's name for the end of the stream
            self._reason = "the connection to the broker " + ("was lost" if lost else f"ended: {reason}")
        self._closed.set()

    def _on_unsubscribe(
        self, _client: paho.Client, _userdata: Any, mid: int, _reasons: Any, _properties: Any
    ) -> None:
        if then := self._echoes.pop(mid, None):
            self._loop.call_soon(self._echoed, self._epoch, then)

    def _echoed(self, epoch: int, then: Callable[[int], None]) -> None:
        if self.connected and epoch == self._epoch:
            then(epoch)

    # -- the wire's callbacks ----------------------------------------------------------------------------

    def _received(self, message: Publish) -> None:
        if self.connected:
            delivery = to_delivery(message, self._epoch, version5=self._broker.version5)
            self._handler.mqtt_received(delivery)

    def _was_cut(self, reason: str) -> None:
        if not self._closed.is_set():
            self.cut = True
        self._lost(reason)

    def _lost(self, reason: str) -> None:
        self._reason = reason or self._reason
        self._closed.set()

    # -- for the owner -----------------------------------------------------------------------------------

    def progress(self) -> tuple[Progress, ...]:
        """Return how far the session has come, for the watchdog."""
        progress = self._wire.bursts if self._wire.paused else self._turns
        return (Progress(f"broker {self._broker.client_id}", progress, busy=not self._stopping),)

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge ``delivery``, unless its connection has ended: the broker then sends it again."""
        if delivery.qos and self.connected and delivery.epoch == self._epoch:
            self._client.ack(delivery.mid, delivery.qos)
            self._wire.flush_soon()

    def leave(self, filters: Sequence[str]) -> None:
        """End the subscriptions to ``filters``, now and in each later connection."""
        self._stale = list(filters)
        if self.connected and self._stale:
            self._client.unsubscribe(self._stale)
            self._wire.flush_soon()

    @property
    def shared(self) -> bool:
        """Whether another client seems to use our client id."""
        judged = self.reconnects
        return judged.rivals > 0 or (judged.suspicious and self._unexplained)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> int | None:
        """Publish; return the packet id that `Handler.mqtt_published` will name, None while disconnected.

        A broker without QoS 1 gets the message at QoS 0; one without retained messages gets it without the
        retain flag. Raises `Unpublishable`.
        """
        if not self.connected:
            return None
        at_least_once = min(qos, self._limits.qos) > 0
        mid = self._client.new_mid()
        packet = publication(
            topic,
            payload,
            mid=mid if at_least_once else 0,
            retain=retain and self._limits.retain,
            properties=properties,
            version5=self._broker.version5,
        )
        if len(packet) > (most := self._limits.packet):
            raise Unpublishable(f"its packet has {len(packet)} bytes, and the broker takes {most} at most")
        self._client.push(packet)
        self._wire.flush_soon()
        if not at_least_once:
            self._confirm_later(mid)
        return mid

    def _confirm_later(self, mid: int) -> None:
        """Report ``mid``, at QoS 0, as published once the broker has answered a later packet.

        The broker reads in order, and it ends the connection at a packet that it refuses.
        """
        self._written.append(mid)
        if len(self._written) == 1:
            self._loop.call_soon(self._ask_for_written)

    def _ask_for_written(self) -> None:
        written, self._written = self._written, []
        self.echo(partial(self._confirm, written))

    def _confirm(self, written: list[int], _connection: int) -> None:
        for mid in written:
            self._handler.mqtt_published(mid, None)

    def publish_event(self, topic: str, payload: bytes) -> bool:
        """Publish at QoS 0; return False where the buffer is full or the broker away.

        An event that is too large for the broker is dropped.
        """
        if not self.connected:
            return False
        packet = publication(topic, payload, version5=self._broker.version5)
        if len(packet) > self._limits.packet:
            log.warning("an event of %d bytes is left out: the broker takes no such packet", len(payload))
            return True
        if not self._client.offer(packet):
            return False
        self._wire.flush_soon()
        return True

    @property
    def connection(self) -> int | None:
        """The number of the connection that is up; None without one."""
        return self._epoch if self.connected and not self._closed.is_set() else None

    def echo(self, then: Callable[[int], None]) -> None:
        """Send a request without effect; ``then`` gets the connection's number when the broker has answered.

        ``then`` is not called if the connection ends first.
        """
        if self.connected:
            _, mid = self._client.unsubscribe(ECHO)
            if mid is not None:
                self._echoes[mid] = then
            self._wire.flush_soon()

    def reconnect(self, reason: str) -> None:
        """End the connection, and connect again."""
        self._lost(reason)

    def explained(self) -> None:
        """Forget the recent cuts because their cause is known: the next connection need not wait."""
        self.reconnects.lasts(LASTED)

    def disconnect(self) -> None:
        """End the connection cleanly; the session stays with the broker."""
        self._stopping = True
        if self.connected:
            self._client.disconnect()
            self._wire.flush()
        self._closed.set()


def _is_cut(reason: ReasonCode, *, sent: bool) -> bool:
    """Whether the broker may have ended the connection because of a publication.

    With ``sent``, ``reason`` is that of the broker's DISCONNECT. Otherwise paho found the end of the stream,
    which it calls an unspecified error, or a protocol error, or a missing answer.
    """
    if sent:
        return reason.value not in NOT_FOR_A_PACKET
    return bool(reason == ReasonCode(PacketTypes.DISCONNECT, "Unspecified error"))
