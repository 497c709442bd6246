"""The wire between paho and the event loop: bytes are read and written when the socket is ready.

paho's documented external-loop calls (``loop_read``, ``loop_write``) run here, for all but messages,
which `bridge.adapters.mqtt.buffered` reads past it. What came is handed on after paho has returned, so
that what goes wrong in our code reaches our code.

Everything runs in the loop's thread but for one call: when paho connects anew it closes what it still has of
the connection before, in the thread that connects. That socket was detached long ago, and `Wire` ignores it.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from bridge.adapters.mqtt.buffered import BufferedSocket, LeanClient
from bridge.protocol.mqtt.packets import Publish

READ_BURST = 256
"""Messages handed on in one go, which one transaction then makes durable."""


class Wire:
    """Moves the bytes of a client's connections, one after the other."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: LeanClient,
        *,
        on_message: Callable[[Publish], None],
        on_published: Callable[[int, str | None], None],
        on_lost: Callable[[str], None],
        on_cut: Callable[[str], None],
        crowded: Callable[[Callable[[], None]], bool],
    ) -> None:
        """``on_published`` gets the packet id, and why the broker refused if it did.

        ``on_lost`` gets why the connection cannot go on, empty where paho's ``on_disconnect`` has said it;
        ``on_cut`` gets it where the other side ended the connection.
        ``crowded`` says that too much came already; it calls back what it is given when there is room again.
        """
        self._loop = loop
        self._client = client
        self._message = on_message
        self._confirm = on_published
        self._lost = on_lost
        self._cut = on_cut
        self._crowded = crowded
        self._published: list[tuple[int, str | None]] = []
        self._sock: BufferedSocket | None = None
        self._writing = False
        self._flushing = False
        self._paused = False
        self.bursts = 0
        """Times that something was read."""
        client.on_socket_close = self._on_socket_close

    # -- the socket --------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Take up the socket that paho has connected."""
        sock: Any = self._client.socket()
        if sock is None:
            self._lost("")
            return
        self._sock = sock
        self._paused = False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self.flush()

    def detach(self) -> None:
        """Give the socket up and close it, whatever paho did with it."""
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

    # -- reading -----------------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether nothing is read from a connection that stands, until there is room again."""
        return self._paused and self._sock is not None

    def _readable(self) -> None:
        sock = self._sock
        if sock is None or self._paused:
            return
        self.bursts += 1
        if not sock.came and sock.fill():
            self._client.heard()
        self._feed_paho(sock)
        came = self._hand_on(sock)
        self.flush()
        if sock is not self._sock:
            return  # while it was handed on, the connection was given up
        if not sock.came and sock.problem:
            self._lost(f"the broker sent what is not MQTT: {sock.problem}")
        elif sock.fileno() >= 0:
            self._read_on(sock, came=came)

    def _read_on(self, sock: BufferedSocket, *, came: bool) -> None:
        if came and self._crowded(self._resume):
            self._loop.remove_reader(sock.fileno())
            self._paused = True
        elif sock.came or sock.pending():
            # What was read ahead makes no socket readable: come back for it, after the others had their turn.
            self._loop.call_soon(self._readable)

    def _hand_on(self, sock: BufferedSocket) -> bool:
        """Tell what was collected; return whether there were messages."""
        published, self._published = self._published, []
        for mid, problem in published:
            self._confirm(mid, problem)
        burst = min(len(sock.came), READ_BURST)
        for _ in range(burst):
            self._message(sock.came.popleft())
        return burst > 0

    def _resume(self) -> None:
        """Read on, if it is still the connection that was paused."""
        if self._paused and self._sock is not None and self._sock.fileno() >= 0:
            self._paused = False
            self._loop.add_reader(self._sock.fileno(), self._readable)
            self._readable()  # what was read ahead makes no socket readable

    def _feed_paho(self, sock: BufferedSocket) -> None:
        client = self._client
        # Only here can a PUBACK be read. Left set, paho would build a reason and properties for each QoS 0
        # publication as well, which costs more than publishing it.
        client.on_publish = self._on_publish
        try:
            while sock.unread and sock.fileno() >= 0:
                if client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    self._lost("")
                    return
        except (ValueError, LookupError, MQTTException) as exc:  # a packet that paho cannot read
            self._lost(f"the broker sent what is not MQTT: {exc}")
        finally:
            client.on_publish = None

    def _on_publish(
        self, _client: paho.Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Any
    ) -> None:
        self._published.append((mid, str(reason) if reason.is_failure else None))

    # -- writing -----------------------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Have what paho has queued written in the next turn of the loop, with all that comes until then."""
        if not self._writing and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
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
            self._cut(f"the connection to the broker broke: {exc.strerror or exc}")
            return
        if sock.fileno() >= 0:
            self._watch_writing(sock, blocked=blocked or self._client.want_write())

    def _watch_writing(self, sock: BufferedSocket, *, blocked: bool) -> None:
        if blocked and not self._writing:
            self._loop.add_writer(sock.fileno(), self.flush)
        elif self._writing and not blocked:
            self._loop.remove_writer(sock.fileno())
        self._writing = blocked
