"""A broker that takes every publication, but for those that a test says what to do with."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import NamedTuple

CUT, IGNORE, DIE = "cut", "ignore", "die"

Answer = int | str
"""A reason code for PUBACK (0: taken), or else: cut this connection, ignore it, cut all connections."""


class Publication(NamedTuple):
    """What a client published."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    client: str


class ScriptedBroker:
    """Speaks as much of MQTT 5 and 3.1.1 as a client of ours needs; keeps no session and delivers nothing.

    ``judge`` says what to do with each publication; ``connack`` holds properties of an MQTT 5 CONNACK.
    """

    users: dict[str, str]

    def __init__(self, judge: Callable[[Publication], Answer] = lambda _: 0, connack: bytes = b"") -> None:
        self.judge = judge
        self.connack = connack
        self.users = {}
        self.taken: list[Publication] = []
        self.seen: list[Publication] = []
        """Every publication, taken or not, repeats too."""
        self.connections = 0
        self.pings = 0
        self._live: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more, and end every connection."""
        self._server.close()
        self.cut_all()

    def cut_all(self) -> None:
        """End every connection, as a broker that dies does."""
        with self._lock:
            live, self._live = self._live, set()
        for each in live:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def payloads(self, topic: str) -> list[bytes]:
        """Return what was taken on ``topic``, in order."""
        return [each.payload for each in self.taken if each.topic == topic]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with self._lock:
                    self._live.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Peer(self, connection).serve()
        with self._lock:
            self._live.discard(connection)


class _Peer:
    """One connection."""

    def __init__(self, broker: ScriptedBroker, connection: socket.socket) -> None:
        self._broker = broker
        self._connection = connection
        self._stream = connection.makefile("rb")
        self._version5 = False
        self._client = ""

    def serve(self) -> None:
        while True:
            first, body = self._packet()
            kind = first >> 4
            if kind == 1:
                self._connect(body)
            elif kind == 3:
                if not self._publish(first, body):
                    return
            elif kind in (8, 10):  # SUBSCRIBE, UNSUBSCRIBE
                self._answer_filters(kind, body)
            elif kind == 12:
                self._broker.pings += 1
                self._connection.sendall(b"\xd0\0")
            elif kind == 14:
                return

    def _packet(self) -> tuple[int, bytes]:
        first = self._read(1)[0]
        length = shift = 0
        while True:
            byte = self._read(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first, self._read(length)

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _connect(self, body: bytes) -> None:
        self._version5 = body[6] == 5
        self._broker.connections += 1
        rest = body[10:]
        if self._version5:
            rest = rest[1 + rest[0] :]
        self._client = rest[2 : 2 + int.from_bytes(rest[:2], "big")].decode()
        told = bytes([len(self._broker.connack)]) + self._broker.connack if self._version5 else b""
        self._send(2, b"\0\0" + told)

    def _publish(self, first: int, body: bytes) -> bool:
        """Whether the connection goes on."""
        qos, size = first >> 1 & 3, int.from_bytes(body[:2], "big")
        topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
        mid, rest = (rest[:2], rest[2:]) if qos else (b"", rest)
        if self._version5:
            length = shift = place = 0
            while True:
                length |= (rest[place] & 0x7F) << shift
                shift, place = shift + 7, place + 1
                if rest[place - 1] < 0x80:
                    break
            rest = rest[place + length :]
        found = Publication(topic, rest, qos, bool(first & 1), self._client)
        self._broker.seen.append(found)
        answer = self._broker.judge(found)
        if answer == DIE:
            self._broker.cut_all()
        if answer in (CUT, DIE):
            return False
        if answer == 0:
            self._broker.taken.append(found)
        if qos and isinstance(answer, int):
            self._send(4, mid + (struct.pack("BB", answer, 0) if answer else b""))
        return True

    def _answer_filters(self, kind: int, body: bytes) -> None:
        properties = b"\0" if self._version5 else b""
        filters = 1 if kind == 10 else body.count(b"/") or 1  # paho does not compare them
        codes = b"\0" * filters if kind == 8 or self._version5 else b""
        self._send(kind + 1, body[:2] + properties + codes)

    def _send(self, kind: int, body: bytes) -> None:
        assert len(body) < 128
        self._connection.sendall(bytes([kind << 4, len(body)]) + body)
