"""The client's side of a WebSocket, as far as Home Assistant's API needs it [RFC 6455]."""

import base64
import json
import os
import socket
import struct
from typing import Any, Self

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class WebSocket:
    """A connection to ``path`` of a server on loopback, for one JSON object a message."""

    def __init__(self, port: int, path: str, timeout: float = 30.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._stream = self._socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        status = self._stream.readline()
        assert b" 101 " in status, f"no WebSocket: {status!r}"
        while self._stream.readline().strip():
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, message: dict[str, Any]) -> None:
        """Send one object."""
        self._frame(_TEXT, json.dumps(message).encode())

    def _frame(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | kind, 0x80 | size)
        else:
            head = struct.pack("!BBQ", 0x80 | kind, 0xFF, size)
        # Any mask will do, so the one that changes nothing does [section 5.3].
        self._socket.sendall(head + bytes(4) + payload)

    def receive(self) -> Any:
        """Return the next object."""
        text = b""
        while True:
            first, second = self._stream.read(2)
            size = second & 0x7F
            if size >= 126:
                (size,) = struct.unpack(
                    *(("!H", self._stream.read(2)) if size == 126 else ("!Q", self._stream.read(8)))
                )
            payload = self._stream.read(size)
            kind = first & 0x0F
            if kind == _PING:
                self._frame(_PONG, payload)
                continue
            assert kind != _CLOSE, "the server closed the WebSocket"
            text += payload
            if first & 0x80:
                return json.loads(text)
