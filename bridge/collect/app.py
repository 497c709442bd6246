"""The collector as an ASGI application: routes, the secret, bounds, and the status of each answer.

| request | answer |
|---|---|
| ``POST /`` | the webhook's JSON |
| ``POST /alerts/<device id>/<topic>`` | an Alert's body; device and topic may be in headers instead |
| ``GET /health`` | 200 while broker or stream is there, else 503 |
| ``GET /metrics`` | Prometheus's text format |

A POST is answered 200 once broker or stream has acknowledged all of it, 503 where they do not, 401 without
the secret, 400 for what is no message, 413 for what is too large, 408 where its body does not come.
"""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any, NamedTuple

from bridge.collect.figures import CONTENT_TYPE, Figures
from bridge.collect.messages import SetAside, Sink, Unavailable
from bridge.collect.settings import CollectSettings
from bridge.collect.unpack import unpack
from bridge.collect.webhook import BadRequest, Upload, read_alert, read_webhook

log = logging.getLogger("collect")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_WAIT = 10.0
"""Seconds for a body to come."""

LINGER = 5.0
"""Seconds for the rest of a body that is too large, before the answer."""

BODIES = 64_000_000
"""Bytes of all bodies that are being read at most."""

ALERTS = "/alerts"


class Answer(NamedTuple):
    """A response; ``text`` is a line for a person, or what was asked for."""

    status: int
    text: str = ""
    content_type: str = "text/plain; charset=utf-8"


class Refused(Exception):
    """A request that is answered without being read to its end."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


class Collector:
    """The application; ``sink`` takes the messages."""

    def __init__(self, settings: CollectSettings, sink: Sink) -> None:
        self._settings = settings
        self._secret_header = settings.secret.header.lower().encode()
        self._secret = settings.secret.value.encode()
        self._sink = sink
        self._figures = Figures()
        self._in_flight = 0
        self._reading = 0
        """Bytes of the bodies that are being read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request [ASGI, HTTP & WebSocket specification, 2.3]."""
        assert scope["type"] == "http", "no other kind is served"
        self._in_flight += 1
        try:
            answer = await self._answer(scope, receive)
        except Refused as refused:
            answer = refused.answer
        finally:
            self._in_flight -= 1
        self._figures.requests[answer.status] += 1
        await _respond(send, answer, with_body=scope["method"] != "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        method, path = scope["method"], scope["path"]
        if method in ("GET", "HEAD"):
            return self._report(path)
        if path not in ("/", ALERTS) and not path.startswith(f"{ALERTS}/"):
            return Answer(404, "see POST /, POST /alerts, GET /health and GET /metrics\n")
        if method != "POST":
            return Answer(405, "POST only\n")
        headers = {name.lower(): value for name, value in scope["headers"]}
        # The secret comes first: who does not have it costs nothing and learns nothing.
        if not hmac.compare_digest(headers.get(self._secret_header, b""), self._secret):
            return Answer(401, f"the header {self._settings.secret.header} lacks the secret\n")
        body = await self._body(headers, receive)
        return await self._take(scope["raw_path"], headers, body)

    def _report(self, path: str) -> Answer:
        problem = self._sink.problem
        if path == "/health":
            status = 200 if problem is None else 503
            return Answer(status, json.dumps(self._figures.health(problem)) + "\n", "application/json")
        if path == "/metrics":
            return Answer(200, self._figures.metrics(problem, self._in_flight), CONTENT_TYPE)
        return Answer(404, "see GET /health and GET /metrics\n")

    # -- reading -----------------------------------------------------------------------------------------

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Return the body; raises `Refused` where it is too large, too slow, or cut off."""
        most = self._settings.max_body
        if int(headers.get(b"content-length", b"0")) > most:  # the server has checked that it is a number
            if b"expect" not in headers:  # otherwise the sender waits for our word before it sends any
                await _discard(receive)
            raise Refused(_too_large(most))
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_WAIT):
                while await self._part(receive, body, most):
                    pass
        except TimeoutError:
            raise Refused(Answer(408, f"the body did not come within {BODY_WAIT:g} s\n")) from None
        finally:
            self._reading -= len(body)
        self._figures.body_bytes += len(body)
        return bytes(body)

    async def _part(self, receive: Receive, body: bytearray, most: int) -> bool:
        """Read one part of the body; return whether more comes."""
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Refused(Answer(400, "the connection ended before the body\n"))
        part = event.get("body", b"")
        if len(body) + len(part) > most:
            if event.get("more_body", False):
                await _discard(receive)
            raise Refused(_too_large(most))
        body += part
        self._reading += len(part)
        if self._reading > BODIES:
            raise Refused(Answer(503, "too much is being read\n"))
        return bool(event.get("more_body", False))

    # -- passing on --------------------------------------------------------------------------------------

    async def _take(self, raw_path: bytes, headers: dict[bytes, bytes], body: bytes) -> Answer:
        try:
            upload = self._upload(raw_path.decode("ascii", "replace"), headers, body)
        except BadRequest as error:
            return Answer(400, f"{error}\n")
        messages, aside = unpack(upload, self._settings.batch_topic)
        try:
            repeats = await self._sink.publish(messages)
        except Unavailable as error:
            return Answer(503, f"{error}\n")
        self._figures.messages += len(messages) - repeats
        self._figures.repeats += repeats
        self._put_aside(upload.device, aside)
        return Answer(200)

    def _upload(self, path: str, headers: dict[bytes, bytes], body: bytes) -> Upload:
        if path.partition("?")[0] == "/":
            return read_webhook(body)
        names = self._settings.alerts
        found = {
            key: headers.get(name.lower().encode(), b"").decode("utf-8", "replace")
            for key, name in (
                ("device", names.device),
                ("topics", names.topics),
                ("received", names.received),
            )
        }
        return read_alert(body, path.partition("?")[0].removeprefix(ALERTS), found, time.time())

    def _put_aside(self, device: str, aside: Iterable[SetAside]) -> None:
        for kind, reason in aside:
            self._figures.put_aside(device, kind, reason)
            log.warning("device %s: set aside: %s", device, reason)


async def _discard(receive: Receive) -> None:
    """Read the rest of a body for a while, and keep nothing of it.

    A connection that ends with bytes unread is reset, which may take our answer from the sender [RFC 9112,
    9.6]; without the answer it would repeat the request.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body", False):
                pass


def _too_large(most: int) -> Answer:
    return Answer(413, f"the body is larger than {most} bytes; see max_body\n")


async def _respond(send: Send, answer: Answer, *, with_body: bool) -> None:
    body = answer.text.encode()
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if answer.status == 503:
        headers.append((b"retry-after", b"5"))
    if answer.status not in (200, 503):
        headers.append((b"connection", b"close"))  # what comes after may be the rest of the body
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body if with_body else b""})
