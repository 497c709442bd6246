"""paho-mqtt behind our own reader and writer: publications, of both sides, bypass paho.

paho ends the connection at a message that it cannot read, and the broker then sends the message again. So
`bridge.protocol.mqtt.packets` cuts each chunk from the broker into packets. Messages wait in
`BufferedSocket.came`; paho reads the other packets, cleaned by `bridge.protocol.mqtt.answers`. Our own
publications are encoded by `bridge.protocol.mqtt.publications`: paho would keep each of them for a repetition
that is the publisher's to decide, which takes a tenth of a message's processor time. Acknowledgements bypass
paho as well. paho keeps what is rare: connecting, subscriptions and the keep-alive.

The buffer saves time too: paho reads a packet in three or more ``recv`` calls, and writes each with a
``send`` of its own.

This module uses names outside paho's public interface. Nothing connects without ``_create_socket``, and
without ``_mid_generate`` a request of paho's could have the packet identifier of a publication. Only the
patience with a slow broker depends on the others: ``_last_bytes_received`` and ``_ping_t``.
"""

import socket
import ssl
import time
from collections import deque
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode

from bridge.errors import NotMqtt
from bridge.protocol.mqtt.answers import readable
from bridge.protocol.mqtt.packets import PUBACK, PUBREL, Packet, PacketReader, Publish
from bridge.protocol.mqtt.publications import acknowledgement

READ_SIZE = 65536
WRITE_LIMIT = 262144
"""Bytes queued for the broker above which paho has to keep its packets."""

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BufferedSocket:
    """A non-blocking socket that reads ahead and writes on `flush`."""

    def __init__(self, sock: Any, *, version5: bool) -> None:
        self._sock = sock
        self._version5 = version5
        self._reader = PacketReader(version5=version5)
        self._ahead = bytearray()
        self._behind = bytearray()
        self._end: OSError | None = None
        self._ended = False
        self.came: deque[Publish] = deque()
        """Messages received and not handed on yet."""
        self.acknowledged: list[tuple[int, str | None]] = []
        """Packet identifiers of our publications that were acknowledged, each with the refusal or None."""
        self.problem = ""
        """Description of bytes that are not MQTT, empty without any; reading stops there."""

    def fill(self) -> int:
        """Read one chunk at most; return its length in bytes. `recv` reports a broken connection to paho."""
        if self._ended or self.problem:
            return 0
        try:
            data: bytes = self._sock.recv(READ_SIZE)
            # Acknowledge at once: a broker without set_tcp_nodelay (Mosquitto's default) holds its next
            # packet back until we do, and Linux would wait 40 ms. Linux forgets the option after each read.
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except WOULD_BLOCK:
            return 0
        except OSError as exc:
            self._ended, self._end = True, exc
            return 0
        self._ended = not data
        try:
            for packet in self._reader.feed(data):
                self._sort(packet)
        except NotMqtt as exc:
            self.problem = str(exc)
        return len(data)

    def _sort(self, packet: Publish | Packet) -> None:
        if isinstance(packet, Publish):
            self.came.append(packet)
        elif packet.kind == PUBACK:
            self.acknowledged.append(acknowledgement(packet.body, version5=self._version5))
        elif packet.kind == PUBREL:
            self.push(b"\x70\x02" + packet.body[:2])  # the message was made durable before PUBREC was sent
        else:
            self._ahead += readable(packet, version5=self._version5)

    @property
    def unread(self) -> bool:
        """Whether paho has something to read; the end of the connection counts."""
        return bool(self._ahead) or self._ended

    def recv(self, size: int) -> bytes:
        """Return up to ``size`` bytes of the packets for paho."""
        if not self._ahead:
            if self._end:
                raise self._end
            if self._ended:
                return b""
            raise BlockingIOError
        data = bytes(self._ahead[:size])
        del self._ahead[:size]
        return data

    def pending(self) -> int:
        """Return how many bytes TLS has decrypted already, which the kernel does not report as readable."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

    def send(self, data: bytes) -> int:
        """Keep ``data`` for `flush`."""
        if len(self._behind) > WRITE_LIMIT:
            raise BlockingIOError
        self._behind += data
        return len(data)

    def push(self, data: bytes) -> None:
        """Keep ``data`` for `flush`, however much that is; the deliveries, or our own window, bound it."""
        self._behind += data

    def flush(self) -> bool:
        """Write the kept bytes; return whether all were written. Raises OSError for a broken connection."""
        while self._behind:
            try:
                sent = self._sock.send(self._behind)
            except WOULD_BLOCK:
                return False
            del self._behind[:sent]
        return True

    def close(self) -> None:
        """Close after one `flush`, because paho's DISCONNECT may be among the kept bytes."""
        try:
            self.flush()
        except OSError:
            self._behind.clear()  # the connection is broken: no byte can leave
        self._sock.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class BufferedClient(paho.Client):
    """paho's client over buffered sockets; publications and acknowledgements go past its bookkeeping.

    Packets cannot interleave, because a buffered socket takes each of paho's packets whole.
    """

    _mid = 0

    def new_mid(self) -> int:
        """Return the next packet identifier; paho's own requests take theirs from the same sequence."""
        self._mid = self._mid % 65_535 + 1
        return self._mid

    _mid_generate = new_mid

    def push(self, packet: bytes) -> None:
        """Send a packet with the next flush; without a connection it is dropped."""
        sock: Any = self.socket()
        if isinstance(sock, BufferedSocket):
            sock.push(packet)

    def offer(self, packet: bytes) -> bool:
        """Send a packet with the next flush, if the buffer has room; return whether it had."""
        sock: Any = self.socket()
        if not isinstance(sock, BufferedSocket):
            return False
        try:
            sock.send(packet)
        except BlockingIOError:
            return False
        return True

    def ack(self, mid: int, qos: int) -> MQTTErrorCode:
        """Acknowledge a durable message: PUBACK, or PUBREC for QoS 2 [MQTT 5.0, section 4.3]."""
        self.push((b"\x50\x02" if qos == 2 else b"\x40\x02") + mid.to_bytes(2, "big"))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def mark_alive(self) -> None:
        """Reset paho's keep-alive: the broker's PINGRESP may be queued behind many other packets."""
        self._ping_t = 0.0
        self._last_bytes_received = time.monotonic()

    def _create_socket(self) -> Any:
        sock: Any = super()._create_socket()  # type: ignore[misc,no-untyped-call,unused-ignore]
        return BufferedSocket(sock, version5=self.protocol == paho.MQTTv5)
