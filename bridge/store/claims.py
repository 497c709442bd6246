"""Claims: commands about the bridge itself that were acknowledged to the broker and have no result yet.

The broker does not send them again: whatever becomes of us meanwhile, each is still to get its result.
"""

import json
from typing import NamedTuple

from bridge.core.messages import Channel, Reply
from bridge.store.database import Database

_KEY = "command:"
"""Keys of `meta` under which they are kept begin with it; `chosen_orphans` knows it too."""


class Claim(NamedTuple):
    """What the result of a command needs, however it ends."""

    id: str
    chosen: bool
    """The publisher chose ``id``."""
    channel: Channel
    queued_at: float
    """Unix seconds."""
    reply: Reply | None = None


class Claims:
    """The claims on disk; what writes runs inside the writer's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, claim: Claim) -> None:
        """Keep ``claim`` until it is dropped."""
        self._database.execute("meta_set", (_KEY + claim.id, _write(claim)))

    def drop(self, claim: Claim) -> None:
        """Forget ``claim``: its result is recorded."""
        self._database.execute("meta_drop", (_KEY + claim.id,))

    def left(self) -> list[Claim]:
        """Return all that are kept, oldest first."""
        rows = self._database.execute("meta_get_like", (f"{_KEY}*",)).fetchall()
        claims = [_read(key.removeprefix(_KEY), text) for key, text in rows]
        return sorted(claims, key=lambda claim: claim.queued_at)


def is_claim(key: str, value: object) -> bool:
    """Whether a claim can be read from this entry of `meta`, as it may not in a damaged file."""
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
