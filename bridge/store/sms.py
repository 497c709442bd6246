"""SMS over the air: the state that survives a crash.

The state is the parts that wait for others, the fingerprints of PDUs that were read, and the references of
sent segments whose status report is awaited.

All methods run in the event loop's thread; those that write run inside the writer's transaction. A PDU is
stored as it came from the modem, because the store does not interpret it.

Ages count the seconds that the bridge has run, summed over its runs. A box without a clock has these too, and
an incomplete SMS does not age while the box is off.
"""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

from bridge.core.messages import Now
from bridge.store.database import Database

MAX_SEEN = 5000
"""Fingerprints kept: far more than a modem's store holds. A fingerprint that is seen again counts as new."""

SEEN_FOR = 30 * 86400.0
"""Seconds for which a fingerprint is kept."""

MAX_SENT = 1000
"""Sent segments whose status report is awaited. References repeat after 255."""

SENT_FOR = 7 * 86400.0
"""Seconds for which a status report is awaited: service centres try for days."""

_RUNNING = "running"


class Part(NamedTuple):
    """One part of a received SMS."""

    sender: str
    reference: int
    wide: bool
    total: int
    number: int
    sent_at: float | None
    pdu: str


class Waiting(NamedTuple):
    """An incomplete SMS."""

    id: str
    sender: str
    total: int
    age: float
    """Seconds that its first part has waited."""


class SmsStore:
    """The tables for SMS over the air."""

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
        """Write down how long the bridge has run, and forget old rows."""
        now = self.running()
        self._database.execute("meta_set", (_RUNNING, now))
        self._database.execute("text_seen_trim", (now - SEEN_FOR, MAX_SEEN))
        self._database.execute("text_sent_trim", (now - SENT_FOR, MAX_SENT))

    # -- received ----------------------------------------------------------------------------------------

    def first_sight(self, fingerprint: bytes) -> bool:
        """Note the fingerprint of a PDU; return False if it was seen before."""
        row = self._database.execute("text_seen_find", (fingerprint,)).fetchone()
        if (
            row is not None
        ):  # The PDU is still on the modem, so its fingerprint must not be among the first to go.
            self._database.execute("text_seen_again", (self.running(), row[0]))
            return False
        self._database.execute("text_seen_add", (fingerprint, self.running()))
        return True

    def add(self, part: Part, new_id: Callable[[], str], near: float) -> str:
        """Keep ``part``; return the id of the SMS that it belongs to.

        It belongs to an SMS of the same sender, reference and total that lacks this part, and whose other
        parts were sent within ``near`` seconds of it, because references are reused. Of several the nearest
        counts. Without one it begins an SMS with the id ``new_id()``.
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
        """Return the stored PDUs of an SMS, by their numbers."""
        return dict(self._database.execute("text_part_of", (text,)).fetchall())

    def remove(self, text: str) -> None:
        """Forget the parts of an SMS that has become a report."""
        self._database.execute("text_part_drop", (text,))

    def overdue(self, age: float) -> list[Waiting]:
        """Return each SMS whose first part has waited ``age`` seconds, oldest first."""
        now = self.running()
        rows = self._database.execute("text_part_old", (now - age,)).fetchall()
        return [Waiting(text, sender, total, now - running) for text, sender, total, running in rows]

    def oldest(self) -> Waiting | None:
        """Return the SMS that has waited longest."""
        row = self._database.execute("text_part_oldest").fetchone()
        return Waiting(row[0], row[1], row[2], self.running() - row[3]) if row else None

    def waiting(self) -> int:
        """Return the number of parts that wait for others."""
        number: int = self._database.execute("text_part_count").fetchone()[0]
        return number

    # -- sent --------------------------------------------------------------------------------------------

    def await_report(self, reference: int, recipient: str, message: str) -> None:
        """Note that the modem sent a segment of ``message`` to ``recipient`` under ``reference``."""
        self._database.execute("text_sent_add", (reference, recipient, message, self.running()))

    def reported(self, reference: int, recipient: str, *, final: bool) -> str | None:
        """Return the id of the message that a status report is about.

        Of several with the same reference the newest counts. ``recipient`` may be in national form. After a
        ``final`` report no other is awaited.
        """
        for seq, to, message in self._database.execute("text_sent_find", (reference,)).fetchall():
            if _same_number(to, recipient):
                if final:
                    self._database.execute("text_sent_drop", (seq,))
                return str(message)
        return None


def _distance(one: float | None, other: float | None) -> float:
    """Return the seconds between two times; a missing time is near to every other."""
    return 0.0 if one is None or other is None else abs(one - other)


def _same_number(one: str, other: str) -> bool:
    """Whether two spellings mean one number: a national one has 0, or nothing, for the country's digits."""
    if one == other:
        return True
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    digits = shorter.lstrip("+0")
    # Fewer digits would take a short code for the end of a number.
    return len(digits) >= 6 and longer.endswith(digits)
