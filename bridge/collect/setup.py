"""``collect --setup``: makes the stream as the configuration says, or changes it, and says what it did."""

import ssl
from enum import Enum
from typing import Any

from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from bridge.collect.jetstream import TlsClient, options, unreachable
from bridge.collect.settings import Nats
from bridge.errors import OperationError


async def set_up(settings: Nats, prefix: str, tls: ssl.SSLContext | None) -> str:
    """Make or change the stream; return one line that says what was done.

    Raises `OperationError` where no server takes us, or refuses.
    """
    client = await _connected(settings, tls)
    try:
        return await _make_or_change(client.jetstream(timeout=10), wanted(settings, prefix))
    except (Error, OSError) as error:
        raise OperationError(
            f"stream {settings.stream} cannot be set up: {error}; see nats.replicas and nats.max_bytes"
        ) from None
    finally:
        await client.close()


async def _connected(settings: Nats, tls: ssl.SSLContext | None) -> Client:
    """Return a client of any of the servers; each is tried twice."""
    problems: list[Exception] = []

    async def note(error: Exception) -> None:
        problems.append(error)

    client = TlsClient()
    try:
        await client.connect(
            **options(settings, tls),
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=1,
            error_cb=note,
        )
    except (Error, OSError, ValueError) as error:
        raise OperationError(unreachable(problems[-1] if problems else error)) from None
    return client


def wanted(settings: Nats, prefix: str) -> StreamConfig:
    """Return the stream: in files, which refuses rather than drop the oldest where it is full.

    What is refused is answered 503, and the cloud keeps it.
    """
    return StreamConfig(
        name=settings.stream,
        subjects=[f"{prefix.replace('/', '.')}.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        num_replicas=settings.replicas,
        duplicate_window=settings.duplicates,
        max_age=settings.max_age or 0,
        max_bytes=settings.max_bytes or -1,
    )


COMPARED = ("subjects", "storage", "discard", "num_replicas", "duplicate_window", "max_age", "max_bytes")


async def _make_or_change(context: JetStreamContext, config: StreamConfig) -> str:
    try:
        info = await context.stream_info(str(config.name))
    except NotFoundError:
        await context.add_stream(config)
        return f"stream {config.name}: made, with " + ", ".join(_told(config, key) for key in COMPARED)
    changed = [key for key in COMPARED if _value(info.config, key) != _value(config, key)]
    if not changed:
        return f"stream {config.name}: is as it should be"
    await context.update_stream(config)
    words = (f"{_told(config, key)} (was {_value(info.config, key)})" for key in changed)
    return f"stream {config.name}: changed: " + ", ".join(words)


def _value(config: StreamConfig, key: str) -> Any:
    value = getattr(config, key)
    if isinstance(value, Enum):
        return value.value
    if key == "max_bytes":
        return -1 if value in (None, 0, -1) else value
    return (value or 0) if key == "max_age" else value


def _told(config: StreamConfig, key: str) -> str:
    return f"{key} {_value(config, key)}"
