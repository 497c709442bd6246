"""Receipts: they identify deliveries that the broker repeats because it did not get our acknowledgement.

A repetition has the DUP flag, the packet identifier of the first delivery and the same content [MQTT 5.0,
section 4.4]. Packet identifiers are used again after 65,535 messages (Mosquitto counts them up). So a receipt
is valid only within one session of the broker, and only among the last ones. Receive Maximum should bound the
unacknowledged messages, but Mosquitto 2.0.11 sends more once it has a queue (3,021 were seen where 128 were
asked for), so more receipts are kept. A message in doubt is stored.

The session for messages and the session for commands share the receipts. No topic is delivered by both, so
the fingerprints differ.
"""

from collections import deque
from hashlib import blake2b
from typing import NamedTuple

from bridge.store.database import Database

KEPT = 4096
"""Receipts kept: more than a broker was seen to repeat, far fewer than there are packet identifiers."""

SPARE = 256
"""Receipts that may be kept beyond these, so that not every transaction writes the page of the oldest too."""


class Receipt(NamedTuple):
    """One delivery by the broker."""

    session: int
    """The bridge's own number for the broker's session; it grows by one when the broker has lost a
    session."""
    mid: int
    dup: bool
    digest: bytes

    @property
    def key(self) -> tuple[int, int, bytes]:
        """The part of a receipt that a repetition shares."""
        return self.session, self.mid, self.digest


def digest(topic: str, payload: bytes, extra: bytes = b"") -> bytes:
    """Return a fingerprint of a delivery's content."""
    state = blake2b(topic.encode("utf-8", "surrogatepass") + b"\0" + extra + b"\0", digest_size=12)
    state.update(payload)
    return state.digest()


class Receipts:
    """The last deliveries: in memory and, in the transaction of their messages, on disk."""

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
        self._trimmed = rows[0][0] if rows else 0

    def known(self, receipt: Receipt) -> bool:
        """Whether the delivery repeats one that is stored already."""
        return receipt.dup and receipt.key in self._ring

    def add(self, receipt: Receipt) -> None:
        """Note a delivery; durable with the transaction."""
        key = receipt.key
        self._ring.append(key)
        self._added.append(key)

    def repeats(self, receipt: Receipt | None) -> bool:
        """Return whether the delivery repeats a stored one; note it otherwise. None repeats nothing."""
        if receipt is None:
            return False
        if self.known(receipt):
            return True
        self.add(receipt)
        return False

    def flush(self) -> None:
        """Write the new receipts, except those that the ring has already dropped."""
        added = self._added[-KEPT:]
        if not added:
            return
        self._database.execute_many(
            "receipt_set", [(self._slot + place, *entry) for place, entry in enumerate(added)]
        )
        self._slot += len(added)
        if self._slot - self._trimmed > KEPT + SPARE:
            self._trimmed = self._slot - KEPT
            self._database.execute("receipt_trim", (self._trimmed,))
        self._added.clear()

    def reset(self) -> None:
        """Go back to the receipts on disk."""
        self._added.clear()
        self._load()
