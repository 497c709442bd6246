"""The metrics endpoint: ``GET /metrics`` on loopback, off unless a port is given."""

import asyncio
import logging
from collections.abc import Callable

from bridge.adapters.system.door import Door

log = logging.getLogger("metrics")

REQUEST_WAIT = 5.0
"""Seconds for a complete request to arrive."""

CONNECTIONS = 8
"""Number of connections that may be open at once."""


class MetricsServer:
    """Answers each request with the text of ``render``."""

    def __init__(self, port: int, render: Callable[[], str], content_type: str) -> None:
        self._port = port
        self._render = render
        self._content_type = content_type
        self._server: asyncio.Server | None = None
        busy = _response("503 Service Unavailable", "text/plain", "too many at once\n", with_body=True)
        self._door = Door("metrics", CONNECTIONS, self._serve, busy)

    async def start(self) -> None:
        """Begin to listen; a port that is taken is only logged, because metrics are not worth a stop."""
        try:
            self._server = await asyncio.start_server(self._door, "127.0.0.1", self._port, limit=8192)
        except OSError as exc:
            log.error("no metrics: port %d cannot be used (%s); see metrics.port", self._port, exc.strerror)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_WAIT):
            head = await reader.readuntil(b"\r\n\r\n")
        writer.write(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "text/plain", "GET only\n", with_body=True)
        if path != b"/metrics":
            return _response("404 Not Found", "text/plain", "see /metrics\n", with_body=method == b"GET")
        return _response("200 OK", self._content_type, self._render(), with_body=method == b"GET")

    def close(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.close()


def _response(status: str, content_type: str, text: str, *, with_body: bool) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
