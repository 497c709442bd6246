"""paho-mqtt with fewer system calls and fewer objects per packet; its behaviour is untouched.

paho reads a packet in three or more ``recv`` calls, writes each with a ``send`` of its own, and fills three
tables anew for every packet's properties. At hundreds of messages a second that is two fifths of the bridge's
time. Both changes lean on names that paho does not promise (``_create_socket``, where ``Properties`` is
looked up): where a later paho no longer has them it simply runs as slowly as it did before.
"""

import socket
import ssl
import sys
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt import properties as paho_properties
from paho.mqtt.packettypes import PacketTypes

READ_SIZE = 65536
WRITE_LIMIT = 262144
"""Bytes that wait for the broker before paho is told to hold its packets back."""

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BufferedSocket:
    """A non-blocking socket that reads ahead, and writes when told to."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._ahead = memoryview(b"")
        self._behind = bytearray()

    def recv(self, size: int) -> bytes:
        """Return up to ``size`` bytes, from memory where there are some."""
        if not self._ahead:
            self._ahead = memoryview(self._sock.recv(READ_SIZE))
            # Acknowledge at once: a broker without set_tcp_nodelay (Mosquitto's default) holds its next
            # packet back until we do, and Linux would wait 40 ms with it. Has to be said again each time.
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return bytes(data)

    def pending(self) -> int:
        """Return how many bytes can be read without asking the kernel."""
        below: int = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
        return len(self._ahead) + below

    def send(self, data: bytes) -> int:
        """Keep ``data`` for `flush`."""
        if len(self._behind) > WRITE_LIMIT:
            raise BlockingIOError
        self._behind += data
        return len(data)

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


def _variable_length(number: int) -> bytes:
    """Return a Variable Byte Integer [MQTT 5.0, section 1.5.5]."""
    encoded = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        if not number:
            encoded.append(low)
            return bytes(encoded)
        encoded.append(low | 0x80)


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
            sock.send(b"\x30" + _variable_length(len(body)) + body)
        except BlockingIOError:
            return False
        return True

    def _create_socket(self) -> Any:
        return BufferedSocket(super()._create_socket())  # type: ignore[misc,no-untyped-call,unused-ignore]


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
