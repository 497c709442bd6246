"""The note of a failover in the store, so that a killed bridge does not begin again.

It is there from the dialling on, until the own network has reached the cloud, or the modem has not. A later
run learns from it::

    written in       where the own network refused or lost messages    where it connected and did not answer
    ------------------------------------------------------------------------------------------------------
    this boot        the modem is dialled at once, and its link taken over; messages try the own network too
    an earlier one   one look at the own network when a message        nothing: a look would not show it, and
                     waits, and the modem is dialled if it fails       the box may be in another place
"""

import json
from typing import Any

from bridge.core.failover import Failover, Plan, Stage
from bridge.store.journal import Journal
from bridge.store.space import Space

KEY = "failover"
"""Key in the store."""


class FailoverNote:
    """Keeps the note; lives in the event loop's thread."""

    def __init__(self, journal: Journal) -> None:
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._text: str | None = self._outbox.meta(KEY)

    def resumed(self, plan: Plan) -> Failover:
        """Return what a run begins with; a damaged note is none."""
        note: list[Any] = self._outbox.meta_json(KEY, [])
        if len(note) != len(("boot", "mute")) or not isinstance(note[1], bool):
            return Failover(plan)
        same_boot = note[0] == self._outbox.times.boot
        return Failover(plan).resumed(self._time.now().mono, same_boot=same_boot, mute=note[1])

    def follow(self, state: Failover) -> None:
        """Write the note, or remove it, where ``state`` asks for that."""
        text = self._of(state)
        # A disk that is full to the last byte lets no message go either.
        if text == self._text or self._writer.space is Space.EXHAUSTED:
            return
        self._text = text
        self._writer.write(lambda: self._outbox.set_meta(KEY, text))

    def _of(self, state: Failover) -> str | None:
        match state.stage:
            case Stage.DIALLING | Stage.MODEM:
                return json.dumps([self._outbox.times.boot, state.mute])
            case Stage.RETURNING:
                return self._text
            case Stage.OWN if state.failing_since is not None:
                return self._text
        return None
