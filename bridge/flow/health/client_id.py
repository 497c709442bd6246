"""The client id: made once and kept in the store, so that a new hostname does not change it.

The broker keeps messages for a client id. A client that returns under another id leaves them there, and the
broker collects more. So an id that the configuration has replaced is remembered until its session has been
fetched and ended (`bridge.flow.message.earlier`).

An earlier session that may be another box's is left alone: the store was copied to this machine, or another
client uses the id, which may be the very reason for the new one.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from bridge.flow.health.monitor import CONTROL_FILTERS, DATA_FILTERS
from bridge.flow.message.sessions import DATA
from bridge.store.journal import Journal

log = logging.getLogger("mqtt")

IN_USE, MADE, EARLIER, MACHINE, SHARED = "client_id", "client_id_made", "earlier_ids", "machine", "shared_id"
"""Keys in the store: the id in use, the id that was made, the earlier ids whose sessions are not ended, the
machine that the store belongs to, and the id that another client uses too."""

COPIED = (
    "the outbox was made on another machine: if that one still runs and has the same broker, the two take "
    'the client id "%s" from each other; then give each its own mqtt.client_id'
)

SERIAL = Path("/proc/device-tree/serial-number")
"""A Raspberry Pi's own serial number. The machine id is not enough, because it is copied with an image."""

MACHINE_ID = Path("/etc/machine-id")


class Earlier(NamedTuple):
    """A replaced client id, and its sessions."""

    id: str
    number: int
    """The bridge's own number for its session of messages, under which its receipts are kept."""
    filters: Sequence[str]
    """Filters that its sessions may be subscribed to."""


def machine() -> str:
    """Return a hash that identifies this machine, as machine-id(5) asks; empty without an identity."""
    for path in (SERIAL, MACHINE_ID):
        try:
            return hashlib.sha256(b"hologram-bridge" + path.read_bytes()).hexdigest()[:16]
        except OSError:
            continue
    return ""


class ClientId:
    """Owns the id's keys in the store; lives in the event loop's thread."""

    def __init__(self, journal: Journal, *, configured: str | None, hostname: str, machine: str) -> None:
        """``configured`` is the id of the configuration. Without it ``hostname`` makes the id the first time.

        ``machine`` is what `machine` returns.
        """
        self._outbox, self._writer = journal.outbox, journal.writer
        outbox = journal.outbox
        self._made = outbox.meta(MADE)
        if configured is None and self._made is None:
            self._made = f"hologram-bridge-{hostname}"
        self.id: str = configured or self._made
        known = outbox.meta(MACHINE)
        self.copied: bool = bool(known and machine and known != machine)
        """Whether the store came from another machine."""
        replaced: list[list[Any]] = outbox.meta_json(EARLIER, [])
        self.earlier = [Earlier(*each) for each in replaced if len(each) == len(Earlier._fields)]
        """Oldest first."""
        self._shared: str | None = outbox.meta(SHARED)
        # Two boxes with one id take the session from each other at every connection.
        if self.copied and outbox.meta(IN_USE) == self.id:
            log.warning(COPIED, self.id)
        self._replace(outbox.meta(IN_USE))
        self._keep(machine or known)

    def _replace(self, old: str | None) -> None:
        """Remember the previous id, unless its session may be another box's."""
        self.earlier = [] if self.copied else [each for each in self.earlier if each.id != self.id]
        if old is None or old == self.id:
            return
        if self.copied or self._shared == old:
            log.warning('the broker\'s session of the client id "%s" is left to the other client', old)
            return
        kept: Iterator[list[str]] = (
            self._outbox.meta_json(key, []) for key in (DATA_FILTERS, CONTROL_FILTERS)
        )
        self.earlier.append(Earlier(old, self._outbox.meta(DATA) or 0, list(chain(*kept))))

    def _keep(self, machine: str | None) -> None:
        values = {IN_USE: self.id, MADE: self._made, MACHINE: machine, EARLIER: json.dumps(self.earlier)}

        def keep() -> None:
            for key, value in values.items():
                self._outbox.set_meta(key, value)

        self._writer.write(keep)

    def ended(self, earlier: Earlier) -> None:
        """Forget an earlier id whose sessions are ended or given up."""
        self.earlier.remove(earlier)
        left = json.dumps(self.earlier)
        self._writer.write(lambda: self._outbox.set_meta(EARLIER, left))

    def shared(self, another: bool) -> None:  # positional, as a callback
        """Note whether another client uses this id too."""
        name = self.id if another else None
        if name != self._shared:
            self._shared = name
            self._writer.write(lambda: self._outbox.set_meta(SHARED, name))
