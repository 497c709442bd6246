"""A door before a real broker: some clients it lets in, others it refuses, or cuts with a reason."""

import contextlib
import socket
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

ACCEPTED = 0x00


class Hello(NamedTuple):
    """A CONNECT packet [MQTT 5.0, section 3.1; MQTT 3.1.1, section 3.1]."""

    client_id: str
    version5: bool

    def connack(self, code: int, *, session: bool = False) -> bytes:
        """Return the answer with a reason code, or in 3.1.1 a return code; ``session``: it is still there."""
        return bytes([0x20, 3, session, code, 0]) if self.version5 else bytes([0x20, 2, session, code])


def disconnect(code: int) -> bytes:
    """Return the broker's DISCONNECT [MQTT 5.0, section 3.14]."""
    return bytes([0xE0, 1, code])


Rule = Callable[[Hello], bytes | None]
"""What a client is told, after which its connection is closed; None lets it in."""


class Doorman:
    """Listens on ``port`` of loopback, and hands those whom ``rule`` lets in on to the broker."""

    def __init__(self, broker: int, rule: Rule) -> None:
        self.rule = rule
        self.came: dict[str, int] = defaultdict(int)
        """Connections by client id."""
        self._broker = broker
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._connections: set[socket.socket] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Close the door; what is inside is cut."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for each in tuple(self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        """Ends when the socket is closed."""
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            threading.Thread(target=self._receive, args=(connection,), daemon=True).start()

    def _receive(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            packet = connection.recv(65536)
            if not packet:
                return
            hello = _read(packet)
            self.came[hello.client_id] += 1
            answer = self.rule(hello)
            if answer is None:
                self._pass_on(connection, packet)
                return
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):  # what the client still says, so that no reset overtakes the answer
                pass

    def _pass_on(self, connection: socket.socket, packet: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._broker)) as broker:
            self._connections |= {connection, broker}
            broker.sendall(packet)
            back = threading.Thread(target=_copy, args=(broker, connection), daemon=True)
            back.start()
            _copy(connection, broker)
            back.join()
            self._connections -= {connection, broker}


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Ends when either side closes."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _read(packet: bytes) -> Hello:
    at = 1
    _, at = _number(packet, at)
    at += 2 + int.from_bytes(packet[at : at + 2], "big")
    version5 = packet[at] == 5
    at += 4
    if version5:
        length, at = _number(packet, at)
        at += length
    length = int.from_bytes(packet[at : at + 2], "big")
    return Hello(packet[at + 2 : at + 2 + length].decode(), version5)


def _number(packet: bytes, at: int) -> tuple[int, int]:
    """Return a Variable Byte Integer and what follows it [MQTT 5.0, section 1.5.5]."""
    value = shift = 0
    while True:
        byte = packet[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
