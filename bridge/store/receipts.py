"""Receipts: recognising what the broker sends again because our acknowledgement did not reach it.

A redelivery carries the DUP flag, the packet id of the first delivery and the same content [MQTT 5.0,
section 4.4]. Packet ids are used again after 65,535 messages (Mosquitto counts them up), so a receipt counts
only within the same broker session and among the last of them. Receive Maximum should bound how many can be
unacknowledged, but Mosquitto 2.0.11 lets more in flight once it has a queue (3,021 were seen where 128 were
asked for), so more are kept. In doubt a message is kept.

The session that carries messages and the one that carries commands about the bridge share them: no topic is
delivered by both, so the fingerprints tell them apart.
"""

from collections import deque
from hashlib import blake2b
from typing import NamedTuple

from bridge.store.database import Database

KEPT = 4096
"""Receipts kept: more than a broker was seen to repeat, far fewer than there are packet ids."""


class Receipt(NamedTuple):
    """One delivery as the broker made it."""

    session: int
    """Our number for this broker session: one more each time the broker had lost it."""
    mid: int
    dup: bool
    digest: bytes

    @property
    def key(self) -> tuple[int, int, bytes]:
        """What a repetition has in common with it."""
        return self.session, self.mid, self.digest


def digest(topic: str, payload: bytes, extra: bytes = b"") -> bytes:
    """Return a fingerprint of a delivery's content."""
    state = blake2b(topic.encode("utf-8", "surrogatepass"), digest_size=12)
    state.update(b"\0" + extra + b"\0")
    state.update(payload)
    return state.digest()


class Receipts:
    """The last deliveries, in memory and, with their messages' transaction, on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ring: deque[tuple[int, int, bytes]] = deque(maxlen=KEPT)
        self._slot = 0
        self._added: list[tuple[int, int, bytes]] = []
        self._load()

    def _load(self) -> None:
        rows = self._database.execute("receipt_all").fetchall()
        self._ring.clear()
        self._ring.extend((session, mid, fingerprint) for _slot, session, mid, fingerprint in rows)
        self._slot = rows[-1][0] + 1 if rows else 0

    def known(self, receipt: Receipt) -> bool:
        """Whether this delivery is a repetition of one that is already stored."""
        return receipt.dup and receipt.key in self._ring

    def add(self, receipt: Receipt) -> None:
        """Note a delivery; durable with the transaction."""
        self._ring.append(receipt.key)
        self._added.append(receipt.key)

    def flush(self) -> None:
        """Write the newest receipts; older ones than the ring holds need not touch the disk."""
        added = self._added[-KEPT:]
        if not added:
            return
        self._database.execute_many(
            "receipt_set", [(self._slot + place, *entry) for place, entry in enumerate(added)]
        )
        self._slot += len(added)
        self._database.execute("receipt_trim", (self._slot - KEPT,))
        self._added.clear()

    def reset(self) -> None:
        """Go back to what is on disk."""
        self._added.clear()
        self._load()
