"""Escalations in the database: timers of messages, the texts made for them, and what each route has sent.

A message has a row in `escalation` from its acceptance until it is escalated or ends. It happens once because
the row is removed in the transaction that stores the texts. A row whose message is gone has no effect.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bridge.core.escalation import Alarm, Escalated, Window
from bridge.core.messages import Priority, Result
from bridge.store.database import Database
from bridge.store.running_time import RunningTime

ESCALATED = "escalated:"
"""Prefix of keys in `meta`: the window of each route."""


class Escalations:
    """The rows of ``escalation`` and ``escalated``; what writes runs inside the writer's transaction."""

    def __init__(self, database: Database, time: RunningTime) -> None:
        self._database = database
        self._time = time
        self._windows: dict[str, Window]
        self._changed: set[str]
        self.timers: int
        """Messages that are still to be escalated."""
        self.texts: int
        """Texts in the outbox whose message has not ended."""
        self.made: list[Escalated]
        """What the transaction escalates; told after the commit."""
        self.dropped: list[Result]
        """The results of the texts that it drops."""
        self._read()

    def reset(self) -> None:
        """Read what the database has, as after a transaction that was rolled back."""
        self._read()

    def _read(self) -> None:
        (self.timers, self.texts) = self._database.execute("escalation_count").fetchone()
        rows = self._database.execute("meta_get_like", (f"{ESCALATED}*",)).fetchall()
        self._windows = {key.removeprefix(ESCALATED): _read_window(text) for key, text in rows}
        self._changed = set()
        self.made, self.dropped = [], []

    @property
    def concern(self) -> bool:
        """Whether the end of a message may concern an escalation."""
        return self.texts > 0 or self.waits

    @property
    def waits(self) -> bool:
        """Whether something is to be escalated later: a timer runs, or a route has left out a message."""
        return self.timers > 0 or any(each.newest for each in self._windows.values())

    def now(self) -> float:
        """Return the running time in seconds."""
        return self._time.now()

    def flush(self) -> None:
        """Write the windows that changed, and the running time while it matters."""
        for match in self._changed:
            window = self._windows.get(match)
            if window is None:
                self._database.execute("meta_drop", (ESCALATED + match,))
            else:
                self._database.execute("meta_set", (ESCALATED + match, _write_window(window)))
        if self._changed or (self.timers and self._time.stale):
            self._time.note()
        self._changed = set()

    @property
    def stale(self) -> bool:
        """Whether the running time is to be written though nothing else is."""
        return self.timers > 0 and self._time.stale

    # -- timers ------------------------------------------------------------------------------------------

    def start(self, seq: int, mono: float, after: float, earlier: float | None = None) -> None:
        """Start the timer of the message ``seq``, which came at ``mono``; or let it end at ``earlier``."""
        due = self._time.at(mono) + after if earlier is None else earlier
        self._database.execute("escalation_add", (seq, due))
        self.timers += 1

    def take(self, seqs: Iterable[int]) -> float | None:
        """Stop the timers of messages; return when the first of them would have ended."""
        found = [due for seq in seqs if (due := self._stop(seq)) is not None] if self.timers else []
        return min(found, default=None)

    def stop(self, seq: int) -> bool:
        """Stop the timer of a message; return whether it had one."""
        return self.timers > 0 and self._stop(seq) is not None

    def _stop(self, seq: int) -> float | None:
        rows = self._database.execute("escalation_drop", (seq,)).fetchall()
        self.timers -= len(rows)
        return rows[0][0] if rows else None

    def due(self, limit: int) -> list[int]:
        """Return up to ``limit`` messages whose timer has ended, the first first."""
        if not self.timers:
            return []
        return [seq for (seq,) in self._database.execute("escalation_due", (self.now(), limit)).fetchall()]

    # -- texts -------------------------------------------------------------------------------------------

    def add_text(self, seq: int, about: int) -> None:
        """Note that the text ``seq`` is about the message ``about``."""
        self._database.execute("escalated_add", (seq, about))
        self.texts += 1

    def texts_of(self, about: int) -> list[int]:
        """Return the texts about a message, and forget that they are."""
        return self._forget("escalated_drop_about", about)

    def text_ended(self, seq: int) -> None:
        """Note that a text has ended."""
        self._forget("escalated_drop", seq)

    def forget(self, seq: int) -> list[int]:
        """Forget all about a message that ends without need of a text; return the texts about it."""
        self.stop(seq)
        self.text_ended(seq)
        for match, window in tuple(self._windows.items()):
            if window != (left := window.without(seq)):
                self.set_window(match, left)
        return self.texts_of(seq)

    def _forget(self, query: str, seq: int) -> list[int]:
        rows = self._database.execute(query, (seq,)).fetchall() if self.texts else []
        self.texts -= len(rows)
        return sorted(text for (text,) in rows)

    # -- windows -----------------------------------------------------------------------------------------

    def window(self, match: str) -> Window:
        """Return what the route ``match`` has sent of late."""
        return self._windows.get(match, Window())

    def set_window(self, match: str, window: Window | None) -> None:
        """Replace the window of a route; None: there is nothing to keep."""
        if window is None:
            self._windows.pop(match, None)
        else:
            self._windows[match] = window
        self._changed.add(match)

    def windows(self) -> Sequence[tuple[str, Window]]:
        """Return the routes that have one, and their windows."""
        return tuple(self._windows.items())


def _write_window(window: Window) -> str:
    return json.dumps(window._asdict())


def _read_window(text: object) -> Window:
    """Return a window; an empty one for a text that damage has left unreadable."""
    try:
        found: dict[str, Any] = json.loads(str(text))
        newest = found["newest"]
        return Window(
            tuple(float(at) for at in found["sent"]),
            int(found["left"]),
            None if newest is None else _read_alarm(*newest),
            tuple(int(seq) for seq in found["last"]),
            str(found["text"]),
            int(found["told"]),
            tuple((str(name), float(at)) for name, at in found["refused"]),
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return Window()


def _read_alarm(seq: int, id_: str, channel: str, topics: list[str], text: str, priority: int) -> Alarm:
    return Alarm(int(seq), str(id_), str(channel), tuple(map(str, topics)), str(text), Priority(priority))
