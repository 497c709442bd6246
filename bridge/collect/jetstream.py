"""The sink that is a NATS JetStream stream, by the client nats-py.

A publication is acknowledged once the stream's leader has it on disk on more than half of its replicas, and a
repeat with a ``Nats-Msg-Id`` that the stream remembers is acknowledged as a duplicate [NATS documentation,
JetStream, "Streams"].
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.errors import Error
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import PubAck
from nats.js.errors import NoStreamResponseError

from bridge.collect.messages import Message, Unavailable
from bridge.collect.settings import Nats

log = logging.getLogger("collect")

WAIT = 8.0
"""Seconds for the stream to acknowledge a request's messages."""

RETRY = 1
"""Seconds between two tries to connect to one server."""

CONNECT_WAIT = 2
"""Seconds for one server to take the connection."""

PING = 2
"""Seconds between pings; a server that leaves two unanswered is given up."""

MOST_WAITING = 20_000
"""Messages that wait for the stream at most; beyond it requests are refused at once."""


def subject(prefix: str, message: Message) -> str:
    """Return the subject of a message: its topic, with dots for slashes."""
    return f"{prefix}/{message.device}/{message.topics[0]}".replace("/", ".")


def headers(message: Message) -> dict[str, str]:
    """Return the headers of a message; one of a batch has an id by which the stream drops repeats."""
    found = dict(message.properties)
    if message.id is not None:
        found["Nats-Msg-Id"] = f"{message.device}-{message.id}"
    return found


def options(settings: Nats, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """Return what nats-py connects with, to any of the servers."""
    return {
        "servers": list(settings.servers),
        "user": settings.username,
        "password": settings.password,
        "token": settings.token,
        "tls": tls,
        "connect_timeout": CONNECT_WAIT,
    }


class JetStreamSink:
    """Publishes on a stream, and connects to another server of the cluster where one is lost."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: Nats, prefix: str, tls: ssl.SSLContext | None
    ) -> None:
        self._loop = loop
        self._stream = settings.stream
        self._prefix = prefix
        self._options = options(settings, tls)
        self._client = Client()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        """Set when nats-py has given the connection up for good."""
        self._lost: asyncio.Future[None] = loop.create_future()
        """Done when the connection is lost, with which every answer is."""
        self._waiting = 0
        self._down: str | None = "not connected to a server yet"

    async def run(self) -> None:
        """Keep a connection until `close`."""
        keeping = self._loop.create_task(self._keep_connected())
        stopping = self._loop.create_task(self._stopping.wait())
        await asyncio.wait((keeping, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in (keeping, stopping):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        with suppress(Error, OSError):
            await self._client.close()

    def close(self) -> None:
        """End the connection."""
        self._stopping.set()

    async def _keep_connected(self) -> None:
        while True:
            self._ended.clear()
            self._client = Client()
            try:
                await self._client.connect(
                    **self._options,
                    name="hologram-collect",
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=RETRY,
                    ping_interval=PING,
                    max_outstanding_pings=2,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_lost,
                    reconnected_cb=self._on_connected,
                    closed_cb=self._on_ended,
                )
                await self._on_connected()
                await self._ended.wait()
            except (Error, OSError) as error:
                await self._on_error(error)
            await asyncio.sleep(RETRY)

    # -- nats-py's callbacks -----------------------------------------------------------------------------

    async def _on_connected(self) -> None:
        self._down = None
        self._lost = self._loop.create_future()
        where = self._client.connected_url
        log.info("connected to the server at %s", where.netloc if where else "an unknown address")

    async def _on_error(self, error: Exception) -> None:
        text = f"no server of nats.servers takes us: {error or type(error).__name__}"
        if self._down is not None and text != self._down:
            log.warning("%s", text)
            self._down = text

    async def _on_lost(self) -> None:
        self._fail("the connection to the server was lost")

    async def _on_ended(self) -> None:
        self._fail("the server has ended the connection")
        self._ended.set()

    def _fail(self, reason: str) -> None:
        if self._down is None:
            log.warning("%s", reason)
            self._down = reason
        if not self._lost.done():
            self._lost.set_result(None)

    # -- publishing --------------------------------------------------------------------------------------

    @property
    def problem(self) -> str | None:
        """Why nothing can be published now, as in `Sink`."""
        return self._down

    async def publish(self, messages: Sequence[Message]) -> int:
        """Publish all, as in `Sink`."""
        if self._down is not None:
            raise Unavailable(self._down)
        if not messages:
            return 0
        if self._waiting + len(messages) > MOST_WAITING:
            raise Unavailable(f"{self._waiting} messages wait for the stream already")
        self._waiting += len(messages)
        try:
            answers = await self._answers(messages)
        finally:
            self._waiting -= len(messages)
        return sum(bool(answer.duplicate) for answer in answers)

    async def _answers(self, messages: Sequence[Message]) -> list[PubAck]:
        """Return the acknowledgements; raises `Unavailable` with the connection, or after `WAIT`."""
        context = self._client.jetstream()
        publishing = asyncio.gather(
            *(
                context.publish(
                    subject(self._prefix, each),
                    each.payload,
                    timeout=WAIT,
                    stream=self._stream,
                    headers=headers(each),
                )
                for each in messages
            )
        )
        await asyncio.wait((publishing, self._lost), timeout=WAIT, return_when=asyncio.FIRST_COMPLETED)
        if not publishing.done():
            publishing.cancel()
            raise Unavailable(self._down or f"stream {self._stream} has not acknowledged within {WAIT:g} s")
        try:
            return await publishing
        except NoStreamResponseError:
            raise Unavailable(
                f"there is no stream {self._stream} for {self._prefix}; run: hologram-bridge collect --setup"
            ) from None
        except NatsTimeoutError:
            raise Unavailable(f"stream {self._stream} has not acknowledged within {WAIT:g} s") from None
        except (Error, OSError) as error:
            raise Unavailable(f"stream {self._stream} refuses: {error}") from None
