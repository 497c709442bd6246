"""Lanes in the database: which there are, the oldest message of each, and which may be sent.

A lane without messages keeps its row, with ``head`` 0, for the next message on the same topics: making and
dropping the row and its index entries with each message would write more than the message. `KEPT` bounds the
rows that are kept.
"""

from bridge.core.messages import Endpoint, Lane, Priority
from bridge.store.database import Database
from bridge.store.rows import lane_key, read_endpoint, read_lane

KEPT = 512
"""Lanes without messages that keep their row. A box has some tens of topics."""

KNOWN = 1024
"""Lanes with messages whose number is kept in memory, so that a message on one of them asks for no row."""

Key = tuple[str, str, int]
"""Endpoint, names and priority as the row has them."""


class Lanes:
    """The rows of ``lane``; what writes runs inside the writer's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._empty: dict[int, Key]
        """Lanes without messages by their number, the one that has been so for longest first."""
        self._ids: dict[Key, int]
        """The numbers of the lanes in `_empty`."""
        self._full: dict[Key, int]
        """The numbers of lanes with messages, those of the last `KNOWN` that got one."""
        self._endpoints: set[str]
        """Destinations of which there is or was a lane with messages since the start."""
        self.batched: dict[int, Lane]
        """Lanes of batches that have messages."""
        self.waiting: set[int]
        """Those of them whose messages wait for others, and so neither go nor need a link. All do, until the
        uplink finds that their batch is due."""
        self.changed: set[int]
        """Those of them that have lost a message, or have another in its place, since the uplink looked."""
        self.grown: set[int]
        """Those of them that have a message more since then."""
        self.reset()

    def reset(self) -> None:
        """Read what the database has, as after a transaction that was rolled back."""
        rows = self._database.execute("lane_empty").fetchall()
        self._empty = {lane_id: (endpoint, names, priority) for lane_id, endpoint, names, priority in rows}
        self._ids = {key: lane_id for lane_id, key in self._empty.items()}
        self._full = {}
        self._endpoints = {row[0] for row in self._database.execute("lane_endpoints").fetchall()}
        batched = self._database.execute("lane_batched").fetchall()
        self.batched = {row[0]: read_lane(read_endpoint(row[1]), *row[2:]) for row in batched}
        self.waiting, self.changed, self.grown = set(self.batched), set(self.batched), set(self.batched)

    def append(self, lane: Lane, seq: int) -> int:
        """Add the message ``seq`` to the end of ``lane``; return the lane's number."""
        key = lane_key(lane)
        lane_id = self._full.get(key)
        if lane_id is None:
            lane_id = self._begin(key, seq)
            if len(self._full) >= KNOWN:
                del self._full[next(iter(self._full))]
            self._full[key] = lane_id
        if lane.batch is not None:
            self.grown.add(lane_id)
            if lane_id not in self.batched:
                self.batched[lane_id] = lane
                self.waiting.add(lane_id)
                self.changed.add(lane_id)
        return lane_id

    def _begin(self, key: Key, seq: int) -> int:
        """Return the number of the lane ``key``; it begins with the message ``seq`` where it has none."""
        run = self._database.execute
        lane_id = self._ids.pop(key, None)
        if lane_id is not None:
            del self._empty[lane_id]
            self._endpoints.add(key[0])
            run("lane_begin", (seq, lane_id))
        elif row := run("lane_find", key).fetchone():
            lane_id = row[0]
        else:
            self._endpoints.add(key[0])
            lane_id = run("lane_add", (*key, seq)).lastrowid
        return int(lane_id or 0)

    def find(self, lane: Lane) -> int | None:
        """Return the number of ``lane`` where it has messages."""
        key = lane_key(lane)
        if key in self._ids:
            return None
        if key in self._full:
            return self._full[key]
        row = self._database.execute("lane_find", key).fetchone()
        return int(row[0]) if row else None

    def renewed(self, lane_id: int) -> None:
        """Note that another message has taken the place of one in the lane."""
        if lane_id in self.batched:
            self.changed.add(lane_id)

    def advance(self, lane_id: int, lane: Lane, seq: int) -> int:
        """Take the message ``seq``, whose row is gone, out of the lane; return its new head, or 0."""
        rows = self._database.execute("lane_advance", {"seq": seq, "lane": lane_id}).fetchall()
        if lane_id in self.batched:
            self.changed.add(lane_id)
        if not rows or rows[0][0]:
            return int(rows[0][0]) if rows else 0
        if self.batched.pop(lane_id, None):
            self.waiting.discard(lane_id)
            self.changed.discard(lane_id)
        key = lane_key(lane)
        self._full.pop(key, None)
        self._empty[lane_id], self._ids[key] = key, lane_id
        if len(self._empty) > KEPT:
            oldest = next(iter(self._empty))
            self._database.execute("lane_drop", (oldest,))
            del self._ids[self._empty.pop(oldest)]
        return 0

    def endpoints(self) -> list[Endpoint]:
        """Return the destinations of the queued messages."""
        return [read_endpoint(row[0]) for row in self._database.execute("lane_endpoints")]

    def oldest(self, priority: Priority, limit: int) -> list[tuple[int, int]]:
        """Return the numbers and heads of up to ``limit`` lanes of ``priority``, the oldest head first."""
        found = [
            (int(lane_id), int(head))
            for endpoint in self._endpoints
            for waiting in (0, 1)
            for lane_id, head in self._database.execute(
                "lane_oldest", (endpoint, waiting, int(priority), limit)
            )
        ]
        return sorted(found, key=lambda each: each[1])[:limit]
