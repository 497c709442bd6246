"""Accepted commands.

Commands about the bridge itself that are acknowledged to the broker and have no result yet.

The broker does not repeat them. So each of them still gets its result after a crash.
"""

import json
from typing import NamedTuple

from bridge.core.messages import Channel, Reply
from bridge.store.database import Database

_KEY = "command:"
"""Prefix of their keys in `meta`; the query `key_orphans` knows it too."""


class AcceptedCommand(NamedTuple):
    """What the result of a command needs, however it ends."""

    id: str
    idempotent: bool
    """Whether the publisher chose ``id``, which makes the command idempotent."""
    channel: Channel
    queued_at: float
    """Time of acceptance in Unix seconds."""
    reply: Reply | None = None


class AcceptedCommands:
    """The accepted commands on disk; writes run inside the writer's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, command: AcceptedCommand) -> None:
        """Keep a command until `drop`."""
        self._database.execute("meta_set", (_KEY + command.id, _write(command)))

    def drop(self, command: AcceptedCommand) -> None:
        """Forget a command whose result is recorded."""
        self._database.execute("meta_drop", (_KEY + command.id,))

    def left(self) -> list[AcceptedCommand]:
        """Return all of them, oldest first."""
        rows = self._database.execute("meta_get_like", (f"{_KEY}*",)).fetchall()
        commands = [_read(key.removeprefix(_KEY), text) for key, text in rows]
        return sorted(commands, key=lambda command: command.queued_at)


def is_accepted(key: str, value: object) -> bool:
    """Whether this entry of `meta` is readable as an accepted command; in a damaged file it may not be."""
    try:
        command = _read(key.removeprefix(_KEY), str(value))
    except (ValueError, TypeError, RecursionError):
        return False
    return isinstance(command.queued_at, int | float)


def _write(command: AcceptedCommand) -> str:
    topic, correlation = command.reply or (None, None)
    correlation_hex = None if correlation is None else correlation.hex()
    return json.dumps([command.idempotent, command.channel.value, command.queued_at, topic, correlation_hex])


def _read(name: str, text: str) -> AcceptedCommand:
    idempotent, channel, queued_at, topic, correlation = json.loads(text)
    reply = topic and Reply(topic, None if correlation is None else bytes.fromhex(correlation))
    return AcceptedCommand(name, idempotent, Channel(channel), queued_at, reply or None)
