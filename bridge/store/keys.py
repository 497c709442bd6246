"""Idempotency keys: ids that producers chose, each with the result that a repetition gets."""

from sqlite3 import Cursor

from bridge.store.clock import Times
from bridge.store.database import Database
from bridge.store.ledger import Ledger

KEPT_FOR = 24 * 3600.0
"""Seconds for which a key is remembered after its first receipt."""

ROUNDS, PORTION = 10, 100
"""Rounds in one transaction, and keys in one round, in which the oldest keys beyond the limits are
forgotten."""


class IdempotencyKeys:
    """The rows of ``chosen`` and ``ended``; what writes runs inside the writer's transaction."""

    def __init__(self, database: Database, times: Times, ledger: Ledger) -> None:
        self._database = database
        self._times = times
        self._ledger = ledger

    def add(self, message_id: str) -> bool:
        """Note a key; return False if it was received before."""
        times = self._times
        cursor = self._database.execute("key_add", (message_id, times.boot, times.now().wall))
        return cursor.rowcount == 1

    def release(self, message_id: str) -> None:
        """Let a key without a result be used again."""
        self._database.execute("key_forget", (message_id,))

    def is_queued(self, message_id: str) -> bool:
        """Return whether the message with this key is in the outbox."""
        return self._database.execute("key_queued", (message_id,)).fetchone() is not None

    def result(self, message_id: str) -> bytes | None:
        """Return the final result under a key, None without one."""
        row = self._database.execute("key_result", (message_id,)).fetchone()
        return row[0] if row else None

    def finish(self, message_id: str, result: bytes) -> None:
        """Keep the final result under a key, for later repetitions of it."""
        for received in self._database.execute("key_finish", (message_id,)).fetchall():
            self._database.execute("key_keep", (message_id, *received, result))
            # The bytes are counted as SQLite counts them in `key_trim`: the length of a text is in
            # characters.
            self._ledger.ended_key(1, len(message_id) + len(result))

    def expire(self) -> None:
        """Forget old keys, some at a time."""
        judged = {**self._times.judge(), "age": KEPT_FOR, "limit": ROUNDS * PORTION}
        for query in ("key_expire_old", "key_expire"):
            self._forget(self._database.execute(query, judged))

    def bound(self, number: int, size: int) -> None:
        """Forget the oldest keys with a result, beyond ``number`` of them and ``size`` bytes.

        It does so in portions, because a reload may have lowered the limits. Keys without a result belong to
        queued messages, and stay.
        """
        ledger = self._ledger
        for _ in range(ROUNDS):
            over = ledger.ended - number
            if not ledger.ended or (over <= 0 and ledger.ended_bytes <= size):
                return
            portion = (min(max(over, 1), PORTION),)
            if not self._forget(self._database.execute("key_trim_old", portion)):
                self._forget(self._database.execute("key_trim", portion))

    def _forget(self, gone: Cursor) -> int:
        sizes = [size for (size,) in gone.fetchall()]
        self._ledger.ended_key(-len(sizes), -sum(sizes))
        return len(sizes)
