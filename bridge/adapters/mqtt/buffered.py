"""paho-mqtt behind our own reader: what the broker publishes never reaches it.

paho ends the connection at a message that it cannot read, and the broker sends it again. So each chunk from
the broker is cut into packets by `bridge.protocol.mqtt.packets`: messages wait in `BufferedSocket.came`, and
paho reads the rest, cleaned by `bridge.protocol.mqtt.answers`. Acknowledgements go past paho as well.

It saves time too: paho reads a packet in three or more ``recv`` calls, writes each with a ``send`` of its
own, and fills three tables anew for every packet's properties.

Leans on names that paho does not promise: ``_create_socket``, without which nothing connects, and
``_last_bytes_received``, ``_ping_t`` and where ``Properties`` is looked up, which only cost time.
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
"""Bytes that wait for the broker before paho is told to hold its packets back."""

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BufferedSocket:
    """A non-blocking socket that reads ahead, and writes when told to."""

    def __init__(self, sock: Any, *, version5: bool) -> None:
        self._sock = sock
        self._version5 = version5
        self._reader = PacketReader(version5=version5)
        self._ahead = bytearray()
        self._behind = bytearray()
        self._end: OSError | None = None
        self._ended = False
        self.came: deque[Publish] = deque()
        """Messages that were read and not handed on yet."""
        self.problem = ""
        """What the broker sent that is no MQTT: nothing after it is read."""

    def fill(self) -> int:
        """Read what has come, a chunk at most; return its bytes. What ended the connection paho is told."""
        if self._ended or self.problem:
            return 0
        try:
            data: bytes = self._sock.recv(READ_SIZE)
            # Acknowledge at once: a broker without set_tcp_nodelay (Mosquitto's default) holds its next
            # packet back until we do, and Linux would wait 40 ms with it. Has to be said again each time.
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
            self.push(b"\x70\x02" + packet.body[:2])  # what it releases was taken before PUBREC was sent
        else:
            self._ahead += readable(packet, version5=self._version5)

    @property
    def unread(self) -> bool:
        """Whether there is something for paho to read, the end of the connection too."""
        return bool(self._ahead) or self._ended

    def recv(self, size: int) -> bytes:
        """Return up to ``size`` bytes of what paho is to see."""
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
        """Return how many bytes can be read without asking the kernel."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

    def send(self, data: bytes) -> int:
        """Keep ``data`` for `flush`."""
        if len(self._behind) > WRITE_LIMIT:
            raise BlockingIOError
        self._behind += data
        return len(data)

    def push(self, data: bytes) -> None:
        """Keep an acknowledgement for `flush`: as many as there are deliveries, so they need no bound."""
        self._behind += data

    def flush(self) -> bool:
        """Write what was kept; return whether all of it went. Raises OSError for a broken connection."""
        while self._behind:
            try:
                sent = self._sock.send(self._behind)
            except WOULD_BLOCK:
                return False
            del self._behind[:sent]
        return True

    def close(self) -> None:
        """Close, after what was kept has gone as far as it goes: paho's DISCONNECT is in there."""
        try:
            self.flush()
        except OSError:
            self._behind.clear()  # the connection is broken already
        self._sock.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class LeanClient(paho.Client):
    """paho's client over buffered sockets."""

    def publish_event(self, topic: bytes, payload: bytes) -> bool:
        """Publish at QoS 0 without paho's bookkeeping; return whether the packet was taken.

        Packets cannot be mixed up: a buffered socket takes each of paho's whole [MQTT 5.0, section 3.3;
        3.1.1 has no properties].
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
        """Acknowledge what is durable: PUBACK, or PUBREC for QoS 2 [MQTT 5.0, section 4.3]."""
        sock: Any = self.socket()
        if isinstance(sock, BufferedSocket):
            sock.push((b"\x50\x02" if qos == 2 else b"\x40\x02") + mid.to_bytes(2, "big"))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def heard(self) -> None:
        """Tell paho's keep-alive that the broker lives: the answer to its ping may be behind much else."""
        self._ping_t = 0.0
        self._last_bytes_received = time.monotonic()

    def _create_socket(self) -> Any:
        sock: Any = super()._create_socket()  # type: ignore[misc,no-untyped-call,unused-ignore]
        return BufferedSocket(sock, version5=self.protocol == paho.MQTTv5)


_TABLES = vars(paho_properties.Properties(PacketTypes.PUBLISH))  # type: ignore[no-untyped-call]  # paho's


class _LeanProperties(paho_properties.Properties):
    """Properties whose tables are made once, not for every packet."""

    types: Any = _TABLES.get("types")
    names: Any = _TABLES.get("names")
    properties: Any = _TABLES.get("properties")

    def __init__(self, packetType: int) -> None:  # noqa: N803  # paho's name for it
        object.__setattr__(self, "packetType", packetType)

    def clear(self) -> None:
        """Forget what was set, without asking for every property that exists."""
        for name in [name for name in vars(self) if name != "packetType"]:
            object.__delattr__(self, name)


def install() -> None:
    """Have paho's decoders use the lean properties."""
    if not all(vars(_LeanProperties).get(name) for name in ("types", "names", "properties")):
        return
    for module in ("paho.mqtt._packet", "paho.mqtt.client"):  # since 2.2, and before
        if hasattr(sys.modules.get(module), "Properties"):
            vars(sys.modules[module])["Properties"] = _LeanProperties
