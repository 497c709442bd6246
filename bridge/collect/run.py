"""A collector from its start to its end."""

import asyncio
import logging
import secrets
import socket
import ssl
from contextlib import closing
from typing import Protocol

from bridge.adapters.mqtt.broker import Broker, tls_context
from bridge.adapters.system.systemd import Notifier
from bridge.collect.app import Collector
from bridge.collect.messages import Sink
from bridge.collect.mqtt import MqttSink
from bridge.collect.server import Server, allow_connections, listen, make_server
from bridge.collect.settings import CollectSettings, Nats
from bridge.errors import ConfigError, OperationError

log = logging.getLogger("collect")


class RunningSink(Sink, Protocol):
    """A sink with a task of its own."""

    async def run(self) -> None:
        """Connect, and connect again, until `close`."""

    def close(self) -> None:
        """End `run`."""


def run(settings: CollectSettings) -> int:
    """Collect until SIGTERM or SIGINT; return the exit code.

    Raises `ConfigError` and `OperationError`.
    """
    return asyncio.run(_collect(settings))


async def _collect(settings: CollectSettings) -> int:
    sink = make_sink(settings)
    allow_connections(settings.max_connections)
    host, port = settings.address
    with closing(listen(host, port)) as listener, closing(Notifier.from_environment()) as notifier:
        server = make_server(Collector(settings, sink), settings.max_connections)
        keeping = asyncio.create_task(sink.run())
        keeping.add_done_callback(lambda _: server.stop())  # without its sink a collector is of no use
        notifier.ready()
        log.info("collecting at %s", settings.listen)
        await _serve(server, listener, notifier)
        sink.close()
        await keeping
    return 0


async def _serve(server: Server, listener: socket.socket, notifier: Notifier) -> None:
    try:
        await server.serve(sockets=[listener])
    finally:
        notifier.stopping()


def make_sink(settings: CollectSettings) -> RunningSink:
    """Return the sink of ``settings``; raises `ConfigError` for bad certificates."""
    loop = asyncio.get_running_loop()
    if settings.nats is None:
        return MqttSink(loop, mqtt_broker(settings), settings.prefix)
    try:
        from bridge.collect.jetstream import JetStreamSink
    except ModuleNotFoundError as error:
        raise OperationError(missing(error, "nats")) from None
    return JetStreamSink(loop, settings.nats, settings.prefix, nats_tls(settings.nats))


def set_up(settings: CollectSettings) -> str:
    """Make or change the stream; return one line that says what was done.

    Raises `ConfigError` and `OperationError`.
    """
    if settings.nats is None:
        raise ConfigError("nats: is missing; --setup makes a stream, and a broker needs no setup")
    try:
        from bridge.collect.setup import set_up as make
    except ModuleNotFoundError as error:
        raise OperationError(missing(error, "nats")) from None
    return asyncio.run(make(settings.nats, settings.prefix, nats_tls(settings.nats)))


def missing(error: ModuleNotFoundError, extra: str) -> str:
    """Return what to do where an optional package is not installed."""
    package = (error.name or "a package").partition(".")[0]
    return f"{package} is missing; run: pip install 'hologram-bridge[{extra}]'"


def nats_tls(nats: Nats) -> ssl.SSLContext | None:
    """Return the TLS context for the servers; raises `ConfigError` for bad certificates."""
    if nats.tls is None:
        return None
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each TLS connection that nats-py ends
    return tls_context(nats.tls.ca, nats.tls.cert, nats.tls.key, section="nats.tls")


def mqtt_broker(settings: CollectSettings) -> Broker:
    """Return the broker's address and options; raises `ConfigError` for bad certificates.

    Each collector has a client id of its own, because two with the same take the broker from each other.
    """
    mqtt = settings.broker
    tls = None if mqtt.tls is None else tls_context(mqtt.tls.ca, mqtt.tls.cert, mqtt.tls.key)
    return Broker(
        mqtt.host,
        mqtt.port,
        mqtt.client_id or f"hologram-collect-{secrets.token_hex(6)}",
        version5=mqtt.protocol == 5,
        username=mqtt.username,
        password=mqtt.password,
        keepalive=mqtt.keepalive,
        tls=tls,
        persistent=False,
    )
