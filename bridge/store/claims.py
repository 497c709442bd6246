"""Accepted commands.

Commands about the bridge itself that are acknowledged to the broker and have no result yet.

The broker does not repeat them. So each of them still gets its result after a crash.
"""

import json
from typing import NamedTuple

from bridge.core.messages import Channel, Reply
from bridge.store.database import Database

_KEY = "command:"
"""Prefix of their keys in `meta`; the query `chosen_orphans` knows it too."""


class Claim(NamedTuple):
    """What the result of a command needs, however it ends."""

    id: str
    chosen: bool
    """Whether the publisher chose ``id``, which makes the command idempotent."""
    channel: Channel
    queued_at: float
    """Time of acceptance in Unix seconds."""
    reply: Reply | None = None


class Claims:
    """The accepted commands on disk; writes run inside the writer's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, claim: Claim) -> None:
        """Keep a command until `drop`."""
        self._database.execute("meta_set", (_KEY + claim.id, _write(claim)))

    def drop(self, claim: Claim) -> None:
        """Forget a command whose result is recorded."""
        self._database.execute("meta_drop", (_KEY + claim.id,))

    def left(self) -> list[Claim]:
        """Return all of them, oldest first."""
        rows = self._database.execute("meta_get_like", (f"{_KEY}*",)).fetchall()
        claims = [_read(key.removeprefix(_KEY), text) for key, text in rows]
        return sorted(claims, key=lambda claim: claim.queued_at)


def is_claim(key: str, value: object) -> bool:
    """Whether this entry of `meta` is readable as an accepted command; in a damaged file it may not be."""
    try:
        claim = _read(key.removeprefix(_KEY), str(value))
    except (ValueError, TypeError, RecursionError):
        return False
    return isinstance(claim.queued_at, int | float)


def _write(claim: Claim) -> str:
    topic, correlation = claim.reply or (None, None)
    correlation_hex = None if correlation is None else correlation.hex()
    return json.dumps([claim.chosen, claim.channel.value, claim.queued_at, topic, correlation_hex])


def _read(name: str, text: str) -> Claim:
    chosen, channel, queued_at, topic, correlation = json.loads(text)
    reply = topic and Reply(topic, None if correlation is None else bytes.fromhex(correlation))
    return Claim(name, chosen, Channel(channel), queued_at, reply or None)
