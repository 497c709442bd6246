"""Memory of what the broker has acknowledged, so that a repeat of a batch is not published again."""

from collections import OrderedDict

KEPT = 3600.0
"""Seconds for which an acknowledged message is remembered."""

MOST = 500_000
"""Batches that are remembered at most: about 200 MB. Beyond it the oldest is forgotten early."""

Batch = tuple[str, str]
"""A device, and the id of a batch of its."""


class Seen:
    """Remembers messages by device, batch and number; ``now`` is in seconds of any clock."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._numbers: OrderedDict[Batch, tuple[float, int]] = OrderedDict()
        """The time of the last acknowledgement, the oldest first, and a bit for each number."""

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, batch: Batch, number: int, now: float) -> None:
        """Remember that a message is acknowledged."""
        _, numbers = self._numbers.get(batch, (now, 0))
        self._numbers[batch] = now, numbers | 1 << number
        self._numbers.move_to_end(batch)
        self._forget(now)

    def holds(self, batch: Batch, number: int, now: float) -> bool:
        """Return whether a message was acknowledged within the last hour."""
        self._forget(now)
        _, numbers = self._numbers.get(batch, (now, 0))
        return bool(numbers >> number & 1)

    def _forget(self, now: float) -> None:
        while self._numbers:
            batch, (time, _) = next(iter(self._numbers.items()))
            if len(self._numbers) <= self._most and now - time <= KEPT:
                return
            del self._numbers[batch]
