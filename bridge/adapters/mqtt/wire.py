"""The wire between paho and the event loop: bytes are read and written when the socket is ready.

paho's documented external-loop calls (``loop_read``, ``loop_write``) run here for all packets but those of
publications, which `bridge.adapters.mqtt.buffered` keeps from paho. Messages are handed on after paho has
returned, so that our exceptions do not pass through paho.

Everything runs in the loop's thread but for one call: when paho reconnects, it closes the socket of the
previous connection in the thread that connects. `Wire` has detached that socket before, and ignores it.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import MQTTErrorCode

from bridge.adapters.mqtt.buffered import BufferedClient, BufferedSocket
from bridge.protocol.mqtt.packets import Publish

READ_BURST = 256
"""Most messages handed on in one turn of the loop, which one transaction then makes durable."""


class Wire:
    """Moves the bytes of a client's successive connections."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: BufferedClient,
        *,
        on_message: Callable[[Publish], None],
        on_published: Callable[[int, str | None], None],
        on_lost: Callable[[str], None],
        on_cut: Callable[[str], None],
        backpressure: Callable[[Callable[[], None]], bool],
    ) -> None:
        """``on_published`` gets the packet id, and the reason of a refusal or None.

        ``on_lost`` gets why the connection cannot go on, empty where paho's ``on_disconnect`` reported it.
        ``on_cut`` gets the reason where the other side ended the connection. ``backpressure`` returns whether
        to pause reading; it then calls its argument once there is room.
        """
        self._loop = loop
        self._client = client
        self._message = on_message
        self._confirm = on_published
        self._lost = on_lost
        self._cut = on_cut
        self._backpressure = backpressure
        self._sock: BufferedSocket | None = None
        self._writing = False
        self._flushing = False
        self._paused = False
        self.bursts = 0
        """Number of reads from the socket."""
        client.on_socket_close = self._on_socket_close

    # -- the socket --------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Take over the socket that paho has connected."""
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
        """Close the socket and forget it, whatever paho did with it."""
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
        """Unwatch a socket that paho closes inside its calls, before its descriptor is used again."""
        if sock is self._sock:
            self._unwatch(sock)

    # -- reading -----------------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether reading from a connection that is up waits until there is room again."""
        return self._paused and self._sock is not None

    def _readable(self) -> None:
        sock = self._sock
        if sock is None or self._paused:
            return
        self.bursts += 1
        if not sock.came and sock.fill():
            self._client.mark_alive()
        self._feed_paho(sock)
        came = self._hand_on(sock)
        self.flush()
        if sock is not self._sock:
            return  # a handler ended the connection
        if not sock.came and sock.problem:
            self._lost(f"the broker sent what is not MQTT: {sock.problem}")
        elif sock.fileno() >= 0:
            self._read_on(sock, came=came)

    def _read_on(self, sock: BufferedSocket, *, came: bool) -> None:
        if came and self._backpressure(self._resume):
            self._loop.remove_reader(sock.fileno())
            self._paused = True
        elif sock.came or sock.pending():
            # Messages that were read ahead make no socket readable: return for them in the loop's next turn.
            self._loop.call_soon(self._readable)

    def _hand_on(self, sock: BufferedSocket) -> bool:
        """Hand on confirmations and messages; return whether there were messages."""
        acknowledged, sock.acknowledged = sock.acknowledged, []
        for mid, problem in acknowledged:
            self._confirm(mid, problem)
        burst = min(len(sock.came), READ_BURST)
        for _ in range(burst):
            self._message(sock.came.popleft())
        return burst > 0

    def _resume(self) -> None:
        """Resume reading, if the paused connection is still open."""
        if self._paused and self._sock is not None and self._sock.fileno() >= 0:
            self._paused = False
            self._loop.add_reader(self._sock.fileno(), self._readable)
            self._readable()  # messages that were read ahead make no socket readable

    def _feed_paho(self, sock: BufferedSocket) -> None:
        try:
            while sock.unread and sock.fileno() >= 0:
                if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    self._lost("")
                    return
        except (ValueError, LookupError, MQTTException) as exc:  # a packet that paho cannot read
            self._lost(f"the broker sent what is not MQTT: {exc}")

    # -- writing -----------------------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Schedule `flush` for the loop's next turn, so that one write takes all packets until then."""
        if not self._writing and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write paho's queued packets; the rest waits until the socket is writable."""
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
