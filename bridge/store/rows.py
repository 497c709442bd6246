"""Rows: messages and lanes as columns of `message` and `lane`, and back."""

import json
from collections.abc import Sequence
from functools import lru_cache
from math import floor
from typing import Any

from bridge.core.messages import CLOUD, Channel, Endpoint, Formed, Lane, Priority, Queued, Reply, Traffic
from bridge.store.clock import Times


@lru_cache(maxsize=64)
def endpoint_key(endpoint: Endpoint) -> str:
    """Return the column value of ``endpoint``.

    JSON, but a word for the cloud, so that its rows stay small. An account is stored in the port's place, as
    earlier versions did it: the cloud's port is never stored, and an account never has a host.
    """
    if endpoint == CLOUD:
        return "cloud"
    channel, host, port, expect, account = endpoint
    return json.dumps([channel, host, port if account is None else account, expect])


@lru_cache(maxsize=64)
def read_endpoint(key: str) -> Endpoint:
    """Return the endpoint of a column value."""
    if key == "cloud":
        return CLOUD
    channel, host, port, expect = json.loads(key)
    if port and not host:
        return Endpoint(Channel(channel), expect=expect, account=port)
    return Endpoint(Channel(channel), host, port, expect)


@lru_cache(maxsize=512)
def names_key(names: tuple[str, ...]) -> str:
    """Return the column value of a lane's topics, or of its recipient."""
    return json.dumps(names, ensure_ascii=False) if names else ""


@lru_cache(maxsize=512)
def lane_key(lane: Lane) -> tuple[str, str, int]:
    """Return the columns of ``lane``: endpoint, names and priority."""
    names = names_key(lane.names) if lane.batch is None else json.dumps(lane.batch, ensure_ascii=False)
    return endpoint_key(lane.endpoint), names, int(lane.priority)


@lru_cache(maxsize=512)
def _read_names(key: str) -> tuple[str, ...] | str:
    """Return the topics or the recipient of a lane; a text is the route of a lane of batches."""
    names = json.loads(key) if key else ()
    return names if isinstance(names, str) else tuple(names)


def read_topics(key: str | None) -> tuple[str, ...]:
    """Return the topics in a column of a message."""
    names = _read_names(key or "")
    return () if isinstance(names, str) else names


@lru_cache(maxsize=512)
def read_lane(endpoint: Endpoint, names: str, priority: int, topics: str | None = None) -> Lane:
    """Return a lane from its columns, with the ``topics`` that a message has for itself."""
    route = _read_names(names)
    batch = route if isinstance(route, str) else None
    return Lane(endpoint, read_topics(names if topics is None else topics), Priority(priority), batch)


def is_topics(value: Any) -> bool:
    """Whether this is a valid column `topics` of a message; in a damaged file it may not be."""
    try:
        return value is None or all(isinstance(name, str) for name in read_topics(value))
    except (ValueError, TypeError, RecursionError):
        return False


def is_lane(endpoint: Any, names: Any, priority: Any) -> bool:
    """Whether these are valid columns of a lane; in a damaged file they may not be."""
    try:
        where, listed = read_endpoint(endpoint), _read_names(names)
        Priority(priority)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    texts = (where.host, where.expect)
    return (
        all(isinstance(text, str | None) for text in texts)
        and isinstance(where.port, int | None)
        and isinstance(where.account, int | None)
        and all(isinstance(name, str) for name in listed)
    )


def read_message(row: tuple[Any, ...], endpoint: Endpoint, times: Times) -> Queued:
    """Return the message in a row of ``lane_heads`` or ``message_full``."""
    lane_id, names, priority, seq, id_, idempotent, payload, mono, attempts, limit = row[:10]
    up, down, reply, correlation, boot, lifetime, at, stamp, topics = row[10:19]
    queued_at = times.date(boot, mono)
    time = (floor(queued_at) if times.knows(boot) else None) if at is None else read_at(at)
    return Queued(
        seq=seq,
        id=id_,
        lane_id=lane_id,
        lane=read_lane(endpoint, names, priority, topics),
        payload=payload,
        idempotent=bool(idempotent),
        queued_at=queued_at,
        attempts=attempts,
        max_attempts=limit,
        traffic=Traffic(up, down),
        reply=Reply(reply, correlation) if reply else None,
        boot=boot,
        deadline=None if lifetime is None else queued_at + lifetime,
        at=time,
        settled=at is not None or boot != times.boot,
        stamp=stamp,
    )


def write_at(at: int | None) -> int:
    """Return the column value of a time that is settled."""
    return -1 if at is None else at


def read_at(value: int) -> int | None:
    """Return the time of a column value."""
    return None if value < 0 else value


def describe(
    row: Sequence[Any], mono: float, times: Times, formed: Formed | None, *, in_flight: bool
) -> dict[str, Any]:
    """Return the entry of ``queue list`` for a row of ``message_list``.

    ``mono`` is the monotonic time now, ``formed`` the batch that the message is in.
    """
    _seq, id_, endpoint, names, priority, size, queued_mono, attempts, lifetime, not_before, boot = row
    queued_at = times.date(boot, queued_mono)
    lane = read_lane(read_endpoint(endpoint), names, priority)
    return {
        "id": id_,
        "channel": lane.endpoint.channel.value,
        "to": lane.to,
        "topics": list(lane.topics),
        "priority": lane.priority.label,
        "bytes": size,
        "queued_at": queued_at,
        "deadline": None if lifetime is None else queued_at + lifetime,
        "attempts": attempts + (formed.attempts if formed else 0),
        "batch": formed.named._asdict() if formed else None,
        "retry_in": None if in_flight or not_before <= mono else round(not_before - mono, 1),
        "state": "under way" if in_flight else "waiting" if not_before > mono else "queued",
    }
