"""The connection to the broker: it subscribes and publishes nothing, not even a will.

The session is clean and ends with the connection, and every subscription is of QoS 0, so the broker keeps
nothing for us: what it cannot send at once it may drop.
"""

import contextlib
import queue
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.adapters.mqtt.broker import Broker, connect_problem
from bridge.adapters.mqtt.reasons import ended, refused, unanswered
from bridge.core.reconnects import Reconnects
from bridge.errors import OperationError
from bridge.watch.board import CONTROLS, Board
from bridge.watch.values import Line

FIRST_WAIT = 10.0
"""Seconds for the broker to accept the first connection."""

_KEPT = 32_000_000
"""Most bytes of messages that wait for the view, which a person may have stopped by Ctrl-S."""

_BURST = 500
"""Most messages taken between two drawings."""

_SHOWN = 65_536
"""Bytes of a payload that are kept; the bridge's own reports are shorter."""


class _Change(NamedTuple):
    """The connection began or ended; ``text`` is the broker's address, or the reason."""

    up: bool
    text: str


def client_id() -> str:
    """Return a new client id of 23 characters, which every broker takes [MQTT 3.1.1, section 3.1.3.1]."""
    return f"hologram-watch-{secrets.token_hex(4)}"


def filters(prefix: str, *, commands: bool) -> list[str]:
    """Return what to subscribe to: the bridge's reports, and people's ``commands`` with their payloads."""
    reports = ["result", "event", "in", "in/sms", "network/status"]
    bridge = ["bridge/state", "bridge/info", "bridge/health"]
    asked = ["out/#", "send", "sms/#", *CONTROLS] if commands else []
    return [f"{prefix}/{each}" for each in (*bridge, *reports, *asked)]


class Subscriber:
    """Reads the broker in a thread of its own; everything else belongs to the thread of the view."""

    def __init__(
        self, broker: Broker, topics: Sequence[str], words: Callable[[str], str] = lambda text: text
    ) -> None:
        """``words`` turns what names keys of the configuration into what the person knows."""
        self._broker = broker
        self._words = words
        self._topics = topics
        self._where = f"{broker.host}:{broker.port}"
        self._items: queue.SimpleQueue[_Change | tuple[str, bytes]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0
        self._lost = 0
        self._end = threading.Event()
        self._up_at: float | None = None
        self._said = ""
        """Why the broker refused us or ended the connection."""
        self._client = _new_client(broker)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._message

    def __enter__(self) -> Self:
        # A daemon: Ctrl-C does not wait for a connection that is being made.
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect()

    # -- the view's thread -------------------------------------------------------------------------------

    def first(self, board: Board, stopped: Callable[[], bool]) -> list[Line]:
        """Wait for the first connection, or until ``stopped``; raises `OperationError` if there is none."""
        until = time.monotonic() + FIRST_WAIT
        while not stopped():
            with contextlib.suppress(queue.Empty):
                change = self._items.get(timeout=0.1)
                assert isinstance(change, _Change), "a message comes in a connection"
                if change.up:
                    return board.connected(change.text, time.time())
                raise OperationError(change.text)
            if time.monotonic() > until:
                raise OperationError(f"the broker at {self._where} did not answer within {FIRST_WAIT:.0f} s")
        return []

    def take(self, board: Board, wait: float) -> list[Line]:
        """Put what has come on the board, waiting ``wait`` seconds for the first; return its lines."""
        lines: list[Line] = []
        with contextlib.suppress(queue.Empty):
            item = self._items.get(timeout=wait)
            for _ in range(_BURST):
                lines += self._put(board, item)
                item = self._items.get_nowait()
            lines += self._put(board, item)
        return [*lines, *self._missed(), *board.quiet(time.time())]

    def _put(self, board: Board, item: _Change | tuple[str, bytes]) -> list[Line]:
        now = time.time()
        if isinstance(item, _Change):
            return board.connected(item.text, now) if item.up else board.disconnected(item.text, now)
        with self._lock:
            self._bytes -= len(item[1])
        return board.received(*item, now)

    def _missed(self) -> list[Line]:
        with self._lock:
            lost, self._lost = self._lost, 0
        return [Line(time.time(), "odd", f"{lost} messages came too fast to be shown")] if lost else []

    # -- the reader's thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        pace = Reconnects(random.uniform)
        while not self._end.is_set():
            self._up_at, self._said = None, ""
            try:
                self._dial()
                self._client.loop_forever()
                problem = self._said or f"the broker at {self._where} ended the connection"
            except (OSError, MQTTException, ValueError) as exc:
                problem = connect_problem(exc, self._where)
            except Exception as exc:  # noqa: BLE001 paho raises anything at a packet that it cannot read
                problem = f"the broker at {self._where} sent what cannot be read ({type(exc).__name__})"
            self._items.put(_Change(False, self._words(problem)))
            pace.ended(None if self._up_at is None else time.monotonic() - self._up_at)
            self._end.wait(pace.delay())

    def _dial(self) -> None:
        broker = self._broker
        if not broker.version5:
            self._client.connect(broker.host, broker.port, broker.keepalive)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
        properties.SessionExpiryInterval = 0
        self._client.connect(
            broker.host, broker.port, broker.keepalive, clean_start=True, properties=properties
        )

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._said = refused(reason, properties, self._broker)
            return
        self._up_at = time.monotonic()
        self._items.put(_Change(True, self._where))
        client.subscribe([(topic, 0) for topic in self._topics])

    def _subscribed(
        self, _client: paho.Client, _data: Any, _mid: int, reasons: Any, _properties: Any
    ) -> None:
        denied = [topic for topic, reason in zip(self._topics, reasons, strict=False) if reason.is_failure]
        if len(denied) == len(self._topics):
            self._said = f"the broker at {self._where} does not let this user read {', '.join(denied)}"
            self._client.disconnect()

    def _disconnected(
        self, _client: paho.Client, _data: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if self._said:
            return
        if self._up_at is None:
            self._said = unanswered(reason, self._broker)
        elif flags.is_disconnect_packet_from_server:
            self._said = ended(reason, properties, self._broker)

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        payload = bytes(message.payload[:_SHOWN])
        with self._lock:
            if self._bytes > _KEPT:
                self._lost += 1
                return
            self._bytes += len(payload)
        with contextlib.suppress(UnicodeDecodeError):
            self._items.put((message.topic, payload))


def _new_client(broker: Broker) -> paho.Client:
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=broker.client_id,
        protocol=paho.MQTTv5 if broker.version5 else paho.MQTTv311,
        clean_session=None if broker.version5 else True,
        reconnect_on_failure=False,
    )
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    return client
