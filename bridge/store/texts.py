"""Texts over the air, as far as they must outlast a crash.

That is: parts that wait for others, what was read before, and whose status report is awaited.

All methods run in the event loop's thread; those that write run inside the writer's transaction. A PDU is
kept as the modem gave it: what it means is not the store's to know.

Ages count in seconds that the bridge has run, summed up over its runs. A box without a clock has them too,
and a text whose part is missing is not given up because the box was off.
"""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

from bridge.core.messages import Now
from bridge.store.database import Database

MAX_SEEN = 5000
"""Fingerprints kept: far more than a modem's store holds. One that is read again counts as new."""

SEEN_FOR = 30 * 86400.0
"""Seconds for which they are kept."""

MAX_SENT = 1000
"""Sent parts whose status report is awaited; references count to 255 before they come again."""

SENT_FOR = 7 * 86400.0
"""Seconds for which a status report is awaited: service centres try for days."""

_RUNNING = "running"


class Part(NamedTuple):
    """A part of a text, as the store needs to know it."""

    sender: str
    reference: int
    wide: bool
    total: int
    number: int
    sent_at: float | None
    pdu: str


class Waiting(NamedTuple):
    """A text of which parts are missing."""

    id: str
    sender: str
    total: int
    age: float
    """Seconds that its first part has waited."""


class Texts:
    """The tables of texts."""

    def __init__(self, database: Database, clock: Callable[[], Now]) -> None:
        self._database = database
        self._clock = clock
        row = database.execute("meta_get", (_RUNNING,)).fetchone()
        self._before: float = row[0] if row else 0.0
        self._since = clock().mono

    def running(self) -> float:
        """Return the seconds that the bridge has run in all."""
        return self._before + self._clock().mono - self._since

    def keep_time(self) -> None:
        """Write down how long the bridge has run, and forget what is old enough."""
        now = self.running()
        self._database.execute("meta_set", (_RUNNING, now))
        self._database.execute("text_seen_trim", (now - SEEN_FOR, MAX_SEEN))
        self._database.execute("text_sent_trim", (now - SENT_FOR, MAX_SENT))

    # -- received ----------------------------------------------------------------------------------------

    def first_sight(self, fingerprint: bytes) -> bool:
        """Note a PDU; False when it was here before."""
        row = self._database.execute("text_seen_find", (fingerprint,)).fetchone()
        if row is not None:  # it is still on the modem: it must not be forgotten before others
            self._database.execute("text_seen_again", (self.running(), row[0]))
            return False
        self._database.execute("text_seen_add", (fingerprint, self.running()))
        return True

    def add(self, part: Part, new_id: Callable[[], str], near: float) -> str:
        """Keep ``part``; return the id of the text that it belongs to.

        That is one of the same sender, reference and total that lacks this part and whose others were sent
        within ``near`` seconds of it, as references come again; of several the nearest. Without one it begins
        a text, ``new_id()``.
        """
        place = (part.sender, part.reference, part.wide, part.total)
        away: dict[str, float] = {}
        for text, number, sent_at in self._database.execute("text_part_place", place):
            distance = inf if number == part.number else _distance(sent_at, part.sent_at)
            away[text] = max(away.get(text, 0.0), distance)
        nearest = min(away, key=away.__getitem__, default="")
        text = nearest if away.get(nearest, inf) <= near else new_id()
        values = (text, *place, part.number, part.sent_at, self.running(), part.pdu)
        self._database.execute("text_part_add", values)
        return text

    def parts(self, text: str) -> dict[int, str]:
        """Return the PDUs of a text that are there, by their numbers."""
        return dict(self._database.execute("text_part_of", (text,)).fetchall())

    def remove(self, text: str) -> None:
        """Forget the parts of a text: it has been published."""
        self._database.execute("text_part_drop", (text,))

    def overdue(self, age: float) -> list[Waiting]:
        """Return the texts whose first part has waited ``age`` seconds, oldest first."""
        now = self.running()
        rows = self._database.execute("text_part_old", (now - age,)).fetchall()
        return [Waiting(text, sender, total, now - running) for text, sender, total, running in rows]

    def oldest(self) -> Waiting | None:
        """Return the text that has waited longest."""
        row = self._database.execute("text_part_oldest").fetchone()
        return Waiting(row[0], row[1], row[2], self.running() - row[3]) if row else None

    def waiting(self) -> int:
        """Return how many parts wait for others."""
        number: int = self._database.execute("text_part_count").fetchone()[0]
        return number

    # -- sent --------------------------------------------------------------------------------------------

    def await_report(self, reference: int, recipient: str, message: str) -> None:
        """Note that the modem sent a part of ``message`` to ``recipient`` under ``reference``."""
        self._database.execute("text_sent_add", (reference, recipient, message, self.running()))

    def reported(self, reference: int, recipient: str, *, final: bool) -> str | None:
        """Return the id of the message that a status report is about; the newest, as references come again.

        ``recipient`` may lack what makes it international. After a ``final`` report none is awaited.
        """
        for seq, to, message in self._database.execute("text_sent_find", (reference,)).fetchall():
            if _same_number(to, recipient):
                if final:
                    self._database.execute("text_sent_drop", (seq,))
                return str(message)
        return None


def _distance(one: float | None, other: float | None) -> float:
    """Return the seconds between two times; what has no time is near to all."""
    return 0.0 if one is None or other is None else abs(one - other)


def _same_number(one: str, other: str) -> bool:
    """Whether two writings are of one number: a national one has a 0 for the country's digits, or nothing."""
    if one == other:
        return True
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    digits = shorter.lstrip("+0")
    return len(digits) >= 6 and longer.endswith(digits)
