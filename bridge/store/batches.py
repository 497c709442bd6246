"""Batches in the database: which messages of a lane are in one, and how a refused one is divided.

A batch is always at the head of its lane, so its messages are those up to its last, and no message has to be
marked. It is on disk before its first byte leaves, and stays the same in every repeat. When the last of its
messages has gone, whatever their results, its row goes too, so that nothing repeats it.
"""

import json
from collections.abc import Callable, Iterator
from sqlite3 import Row
from typing import NamedTuple

from bridge.core.messages import Formed, Queued, Traffic
from bridge.store.database import Database
from bridge.store.rows import read_topics

REFUSED = "batch_refused:"
"""Prefix of keys in `meta`: the routes whose batches the cloud refuses."""


class Division(NamedTuple):
    """A lane of batches: the batch at its head, and what is left of a refused one."""

    formed: Formed | None = None
    ends: tuple[int, ...] = ()
    """The numbers of the messages with which the next batches end."""
    alone: int = 0
    """The number of the message that goes as an ordinary request, because its batch of one was refused."""


class Sized(NamedTuple):
    """A message that waits for its batch, without its payload."""

    seq: int
    topics: tuple[str, ...]
    size: int
    """Bytes of payload and topics."""
    boot: int
    mono: float
    """When it came, in monotonic seconds of its boot."""
    lifetime: float | None


UNDIVIDED = Division()


class Batches:
    """The rows of ``batch``; what writes runs inside the writer's transaction."""

    def __init__(self, database: Database, get: Callable[[int], Queued | None]) -> None:
        """``get`` returns the message with a number."""
        self._database = database
        self._get = get
        self._divisions: dict[int, Division]
        self.reset()

    def reset(self) -> None:
        """Read what the database has, as after a transaction that was rolled back."""
        rows = self._database.execute("batch_all").fetchall()
        self._divisions = {row[0]: _read(row) for row in rows}

    def division(self, lane_id: int) -> Division:
        """Return the state of a lane."""
        return self._divisions.get(lane_id, UNDIVIDED)

    def of(self, queued: Queued) -> Formed | None:
        """Return the batch that ``queued`` is in; None without one."""
        return self.at(queued.lane_id, queued.seq)

    def at(self, lane_id: int, seq: int) -> Formed | None:
        """Return the batch that the message ``seq`` of a lane is in; None without one."""
        formed = self.division(lane_id).formed
        return formed if formed and seq <= formed.last else None

    def content(self, lane_id: int) -> bytes:
        """Return the content of the lane's batch."""
        return bytes(self._database.execute("batch_content", (lane_id,)).fetchone()[0])

    def members(self, lane_id: int) -> list[Queued]:
        """Return the messages of the lane's batch that still wait, the oldest first."""
        formed = self.division(lane_id).formed
        return list(self.waiting(lane_id, formed.last, formed.messages)) if formed else []

    def waiting(self, lane_id: int, upto: int, limit: int) -> Iterator[Queued]:
        """Yield up to ``limit`` messages of a lane with numbers up to ``upto``, the oldest first.

        Each is read as it is asked for, since few of them may fit into a batch, and all into no memory.
        """
        seqs = self._database.execute("batch_seqs", (lane_id, upto, limit)).fetchall()
        return (queued for (seq,) in seqs if (queued := self._get(seq)))

    def sizes(self, lane_id: int, after: int, limit: int) -> list[Sized]:
        """Return up to ``limit`` messages of a lane with numbers above ``after``, the oldest first."""
        rows = self._database.execute("batch_sizes", (lane_id, after, limit))
        return [Sized(seq, read_topics(topics), *rest) for seq, topics, *rest in rows.fetchall()]

    # -- changes -----------------------------------------------------------------------------------------

    def form(self, lane_id: int, formed: Formed, content: bytes) -> None:
        """Fix the batch at the head of a lane."""
        self._set(lane_id, self.division(lane_id)._replace(formed=formed), content)

    def spent(self, queued: Queued, traffic: Traffic, *, attempt: bool) -> bool:
        """Add an exchange to the batch of ``queued``; return False if it is in none."""
        formed = self.of(queued)
        if formed is None:
            return False
        total = formed.traffic.plus(traffic)
        formed = formed._replace(attempts=formed.attempts + attempt, traffic=total)
        self._divisions[queued.lane_id] = self.division(queued.lane_id)._replace(formed=formed)
        self._database.execute("batch_spent", (formed.attempts, *formed.traffic, queued.lane_id))
        return True

    def took(self, lane_id: int, traffic: Traffic) -> None:
        """Take ``traffic``, which results have told, off the lane's batch."""
        division = self.division(lane_id)
        if formed := division.formed:
            left = Traffic(formed.traffic.up - traffic.up, formed.traffic.down - traffic.down)
            self._divisions[lane_id] = division._replace(formed=formed._replace(traffic=left))
            self._database.execute("batch_spent", (formed.attempts, *left, lane_id))

    def charge(self, queued: Queued, attempts: int, traffic: Traffic) -> None:
        """Add the exchanges of a refused batch to one of its messages; the refusal uses up no attempt."""
        self._database.execute("batch_charge", (attempts, *traffic, queued.seq))

    def renewed(self, lane_id: int, seq: int) -> None:
        """Note that a newer message is in the place ``seq``: no batch of it was refused."""
        division = self.division(lane_id)
        if division.alone == seq:
            self._set(lane_id, division._replace(alone=0), None)

    def refused(self) -> list[str]:
        """Return the routes whose batches the cloud refuses."""
        rows = self._database.execute("meta_get_like", (f"{REFUSED}*",)).fetchall()
        return [key.removeprefix(REFUSED) for key, _ in rows]

    def set_refused(self, route: str, *, refused: bool) -> None:
        """Note that the cloud refuses the batches of ``route``, or takes them again."""
        if refused:
            self._database.execute("meta_set", (REFUSED + route, 1))
        else:
            self._database.execute("meta_drop", (REFUSED + route,))

    def divide(self, lane_id: int, division: Division) -> None:
        """Put ``division``, which has no batch, in the place of the lane's batch."""
        self._set(lane_id, division, None)

    def advance(self, lane_id: int, head: int) -> Traffic:
        """Forget what has gone, because the lane's head is now ``head``; 0: the lane is empty.

        Returns the bytes of a batch that is over now, as far as no result has taken them.
        """
        before = self._divisions.get(lane_id)
        if before is None:
            return Traffic()
        formed = before.formed if before.formed and 0 < head <= before.formed.last else None
        ends = tuple(end for end in before.ends if 0 < head <= end)
        after = Division(formed, ends, before.alone if before.alone == head else 0)
        if after != before:
            self._set(lane_id, after, None)
        return before.formed.traffic if before.formed and not formed else Traffic()

    def _set(self, lane_id: int, division: Division, content: bytes | None) -> None:
        """Write the row of a lane; without ``content`` that of a batch which is still there stays."""
        formed = division.formed
        if division == UNDIVIDED:
            self._divisions.pop(lane_id, None)
            self._database.execute("batch_drop", (lane_id,))
            return
        self._divisions[lane_id] = division
        if formed and content is None:
            self._database.execute("batch_ends", (json.dumps(division.ends), division.alone, lane_id))
            return
        batch: tuple[object, ...] = (None, None, None, 0, 0, 0, 0, 0)
        if formed:
            batch = (
                formed.id,
                formed.topic,
                content,
                formed.last,
                formed.messages,
                formed.attempts,
                *formed.traffic,
            )
        self._database.execute("batch_set", (lane_id, *batch, json.dumps(division.ends), division.alone))


def _read(row: Row) -> Division:
    _, id_, topic, last, messages, attempts, up, down, ends, alone = row
    formed = None
    if id_ is not None and topic is not None:
        formed = Formed(id_, topic, last, messages, attempts, Traffic(up, down))
    return Division(formed, tuple(json.loads(ends)), alone)


def is_ends(text: object) -> bool:
    """Whether this is a valid column `ends`; in a damaged file it may not be."""
    try:
        ends = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return False
    return isinstance(ends, list) and all(type(end) is int for end in ends)
