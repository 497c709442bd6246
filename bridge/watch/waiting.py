"""How many messages wait, and for how long, as far as the bridge's reports say."""

from bridge.watch.values import Health, Row

_KNOWN = 10_000
"""Most waiting messages that are known one by one; of more only their number."""


class Waiting:
    """The messages that ``message.queued`` names, and the number of those that only the health counts."""

    def __init__(self) -> None:
        self.open: dict[str, Row] = {}
        """The messages that wait and are known, the oldest first."""
        self._others = 0
        self._health: Health | None = None

    def counted(self, health: Health) -> None:
        """Take the number of messages in a new health."""
        self._health = health
        known = sum(row.queued_at <= health.at for row in self.open.values())
        self._others = max(0, health.queued - known)

    def add(self, row: Row) -> None:
        """Take a message that ``message.queued`` names."""
        if self._health and row.queued_at <= self._health.at and row.id not in self.open:
            self._others = max(0, self._others - 1)  # the health has counted it
        self.open[row.id] = row
        if len(self.open) > _KNOWN:
            self.open.pop(next(iter(self.open)))
            self._others += 1

    def ended(self, row: Row, finished_at: float, *, counted: bool) -> None:
        """Take a message's end (Unix seconds); ``counted``: it was in the queue."""
        known, health = self.open.pop(row.id, None), self._health
        if not known and counted and health and row.queued_at <= health.at < finished_at:
            self._others = max(0, self._others - 1)

    def number(self) -> int:
        """Return how many messages wait, without those after the last health that no event names."""
        return len(self.open) + self._others

    def oldest(self, now: float) -> float | None:
        """Return the age of the oldest message in seconds, as far as it is known."""
        health = self._health
        if self._others and health and health.oldest is not None:
            return max(0.0, health.oldest + now - health.ours_at)
        first = next(iter(self.open.values()), None)
        return None if first is None else max(0.0, now - first.ours_at)
