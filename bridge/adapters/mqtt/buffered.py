"""paho-mqtt behind our own reader: the broker's publications bypass paho.

paho ends the connection at a message that it cannot read, and the broker then sends the message again. So
`bridge.protocol.mqtt.packets` cuts each chunk from the broker into packets. Messages wait in
`BufferedSocket.came`; paho reads the other packets, cleaned by `bridge.protocol.mqtt.answers`.
Acknowledgements bypass paho as well.

The buffer saves time too: paho reads a packet in three or more ``recv`` calls, writes each with a ``send`` of
its own, and builds three tables for every packet's properties.

This module uses names outside paho's public interface. Nothing connects without ``_create_socket``. Only
speed depends on the others: ``_last_bytes_received``, ``_ping_t`` and the module that ``Properties`` is
looked up in.
"""

import socket
import ssl
import sys
import time
from collections import deque
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import properties as paho_properties
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes

from bridge.errors import NotMqtt
from bridge.protocol.mqtt.answers import readable
from bridge.protocol.mqtt.packets import PUBREL, Packet, PacketReader, Publish
from bridge.protocol.mqtt.properties import variable_bytes

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
        """Keep an acknowledgement for `flush`; the number of deliveries bounds the acknowledgements."""
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
    """paho's client over buffered sockets."""

    def publish_event(self, topic: bytes, payload: bytes) -> bool:
        """Publish at QoS 0 without paho's bookkeeping; return whether the buffer had room [MQTT 5.0, 3.3].

        Packets cannot interleave, because a buffered socket takes each of paho's packets whole. MQTT 3.1.1
        has no properties.
        """
        sock: Any = self.socket()
        if not isinstance(sock, BufferedSocket):
            return False
        properties = b"\0" if self.protocol == paho.MQTTv5 else b""
        body = len(topic).to_bytes(2, "big") + topic + properties + payload
        try:
            sock.send(b"\x30" + variable_bytes(len(body)) + body)
        except BlockingIOError:
            return False
        return True

    def ack(self, mid: int, qos: int) -> MQTTErrorCode:
        """Acknowledge a durable message: PUBACK, or PUBREC for QoS 2 [MQTT 5.0, section 4.3]."""
        sock: Any = self.socket()
        if isinstance(sock, BufferedSocket):
            sock.push((b"\x50\x02" if qos == 2 else b"\x40\x02") + mid.to_bytes(2, "big"))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def mark_alive(self) -> None:
        """Reset paho's keep-alive: the broker's PINGRESP may be queued behind many other packets."""
        self._ping_t = 0.0
        self._last_bytes_received = time.monotonic()

    def _create_socket(self) -> Any:
        sock: Any = super()._create_socket()  # type: ignore[misc,no-untyped-call,unused-ignore]
        return BufferedSocket(sock, version5=self.protocol == paho.MQTTv5)


_TABLES = vars(paho_properties.Properties(PacketTypes.PUBLISH))  # type: ignore[no-untyped-call]  # paho's


class _SharedProperties(paho_properties.Properties):
    """Properties that share their tables, which paho builds for every packet."""

    types: Any = _TABLES.get("types")
    names: Any = _TABLES.get("names")
    properties: Any = _TABLES.get("properties")

    def __init__(self, packetType: int) -> None:  # noqa: N803  # paho's name for it
        object.__setattr__(self, "packetType", packetType)

    def clear(self) -> None:
        """Delete the properties that are set, without a look at every property that exists."""
        for name in [name for name in vars(self) if name != "packetType"]:
            object.__delattr__(self, name)


def install() -> None:
    """Have paho's decoders use the properties with shared tables."""
    if not all(vars(_SharedProperties).get(name) for name in ("types", "names", "properties")):
        return
    for module in ("paho.mqtt._packet", "paho.mqtt.client"):  # paho since 2.2, and before
        if hasattr(sys.modules.get(module), "Properties"):
            vars(sys.modules[module])["Properties"] = _SharedProperties
