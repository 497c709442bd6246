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
from functools import partial
from typing import Any

from nats.aio.client import Client
from nats.errors import Error
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import PubAck
from nats.js.errors import NoStreamResponseError

from bridge.adapters.mqtt.broker import tls_problem
from bridge.collect.messages import Message, Unavailable
from bridge.collect.outage import Outage
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

REPLACED = 3.0
"""Seconds without a connection after which a client is replaced by a new one."""

CHECK = 0.5
"""Seconds between two looks at the client."""

CLOSE_WAIT = 3.0
"""Seconds for a client to end its connection in good order."""

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


def unreachable(error: Exception) -> str:
    """Return why there is no connection to a server, for a person."""
    problem = tls_problem(error)
    reason = f"TLS {problem}" if problem else str(error) or type(error).__name__
    return f"no server of nats.servers takes us: {reason}"


class TlsClient(Client):
    """nats-py's client, which sends no password without TLS where TLS is configured.

    It would go on without TLS where the server's INFO, which comes in the clear, does not ask for it.
    """

    def _connect_command(self) -> bytes:
        if "tls" in self.options and not self._server_info.get("tls_required"):
            raise Error("the server speaks no TLS, and nats.tls asks for it")
        return super()._connect_command()


class JetStreamSink:
    """Publishes on a stream, and connects to another server of the cluster where one is lost.

    nats-py reconnects by itself. It first waits for the lost connection to be closed in good order, which a
    server that hangs never does; then its client is replaced.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: Nats, prefix: str, tls: ssl.SSLContext | None
    ) -> None:
        self._loop = loop
        self._stream = settings.stream
        self._prefix = prefix
        self._options = options(settings, tls)
        self._client: Client = TlsClient()
        self._stopping = asyncio.Event()
        self._lost: asyncio.Future[None] = loop.create_future()
        """Done when the connection is lost, with which every answer is."""
        self._closing: set[asyncio.Task[None]] = set()
        """Ends of clients that were replaced."""
        self._waiting = 0
        self._outage = Outage("not connected to a server yet")

    async def run(self) -> None:
        """Keep a connection until `close`."""
        keeping = self._loop.create_task(self._keep_connected())
        stopping = self._loop.create_task(self._stopping.wait())
        await asyncio.wait((keeping, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in (keeping, stopping):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        await _close(self._client)

    def close(self) -> None:
        """End the connection."""
        self._stopping.set()

    async def _keep_connected(self) -> None:
        while True:
            client = self._client = TlsClient()
            try:
                await self._connect(client)
                await self._on_connected(client)
                await self._while_useful(client)
            except (Error, OSError, ValueError) as error:  # ValueError: what answers is no NATS server
                await self._on_error(client, error)
            self._fail()
            closing = self._loop.create_task(_close(client))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.sleep(RETRY)

    async def _connect(self, client: Client) -> None:
        await client.connect(
            **self._options,
            name="hologram-collect",
            max_reconnect_attempts=-1,
            reconnect_time_wait=RETRY,
            ping_interval=PING,
            max_outstanding_pings=2,
            error_cb=partial(self._on_error, client),
            disconnected_cb=partial(self._on_lost, client),
            reconnected_cb=partial(self._on_connected, client),
        )

    async def _while_useful(self, client: Client) -> None:
        """Wait until the client is closed, or was without a connection for `REPLACED` seconds."""
        connected = self._loop.time()
        while not client.is_closed and self._loop.time() - connected < REPLACED:
            await asyncio.sleep(CHECK)
            if client.is_connected:
                connected = self._loop.time()

    # -- nats-py's callbacks; a client that was replaced has no say any more ------------------------------

    async def _on_connected(self, client: Client) -> None:
        if client is not self._client:
            return
        self._outage.end()
        self._lost = self._loop.create_future()
        where = client.connected_url
        log.info("connected to the server at %s", where.netloc if where else "an unknown address")

    async def _on_error(self, client: Client, error: Exception) -> None:
        if client is self._client and self._outage.problem is not None:
            self._outage.say(unreachable(error))

    async def _on_lost(self, client: Client) -> None:
        if client is self._client:
            self._fail()

    def _fail(self) -> None:
        if self._outage.problem is None:
            self._outage.say("the connection to the server was lost")
        if not self._lost.done():
            self._lost.set_result(None)

    # -- publishing --------------------------------------------------------------------------------------

    @property
    def problem(self) -> str | None:
        """Why nothing can be published now, as in `Sink`."""
        return self._outage.problem

    async def publish(self, messages: Sequence[Message]) -> int:
        """Publish all, as in `Sink`."""
        if self._outage.problem is not None:
            raise Unavailable(self._outage.problem)
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
            publishing.add_done_callback(_retrieve)
            publishing.cancel()
            raise Unavailable(
                self._outage.problem or f"stream {self._stream} has not acknowledged within {WAIT:g} s"
            )
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


def _retrieve(publishing: "asyncio.Future[list[PubAck]]") -> None:
    """Take what became of publications that nobody waits for any more, or asyncio logs it."""
    if not publishing.cancelled():
        publishing.exception()


async def _close(client: Client) -> None:
    """End a client's connection; one to a server that hangs is left behind."""
    with suppress(Error, OSError):
        await asyncio.wait_for(client.close(), CLOSE_WAIT)
