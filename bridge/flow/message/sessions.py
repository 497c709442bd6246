"""The broker's sessions, counted: the numbers tell the packet ids of one from those of the next."""

from functools import partial
from typing import Protocol

from bridge.store.journal import Journal

DATA, CONTROL = "session", "control_session"
"""Keys under which the numbers of the sessions of messages and of commands are kept."""


class Numbered(Protocol):
    """A session of the broker's that has a number."""

    @property
    def number(self) -> int:
        """The number under which the receipts of the session are kept."""


class SessionNumber:
    """Number of the broker's present session, over all runs; lives in the event loop's thread."""

    def __init__(self, journal: Journal, key: str) -> None:
        found = journal.outbox.meta(key)
        self.number = found if isinstance(found, int) else 0
        """0 before the first session."""
        self._journal = journal
        self._key = key

    def renewed(self) -> None:
        """Count a session that the broker made anew: it begins to count its packets again."""
        self.number += 1
        outbox = self._journal.outbox
        self._journal.writer.write(partial(outbox.set_meta, self._key, self.number))
