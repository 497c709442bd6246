"""What came in one batch, together."""

from bridge.watch.values import Row, shown

_TOPICS = 3
"""Most topics of a batch that are named."""


class Batch:
    """The results of one batch, as they come; the shares of its messages add up to the exchange."""

    def __init__(self, name: str, messages: int) -> None:
        self.name = name
        self.messages = messages
        """How many messages went in it."""
        self.seen = 0
        """How many of them have a result."""
        self._first: Row | None = None
        self._topics: dict[str, None] = {}
        self._states: dict[str, int] = {}
        self._up = self._down = 0

    def add(self, row: Row) -> None:
        """Take the result of one of its messages, each once."""
        self._first = self._first or row
        self.seen += 1
        if len(self._topics) <= _TOPICS:
            self._topics[row.to] = None
        if row.state in self._states or len(self._states) < _TOPICS:
            self._states[row.state] = self._states.get(row.state, 0) + 1
        self._up, self._down = self._up + row.up, self._down + row.down

    @property
    def each(self) -> float:
        """Bytes of the IP layer for each message, up and down."""
        return (self._up + self._down) / max(1, self.seen)

    def row(self) -> Row:
        """Return the batch as one row; raises ValueError before the first result."""
        if self._first is None:
            raise ValueError(f"batch {self.name} has no result")
        return self._first._replace(
            id=f"batch {self.name}",
            to=self._where(),
            text=", ".join([f"{self._number()} at {self.each:.1f} B each in a batch", *self._ends()]),
            state=max(self._states, key=lambda state: self._states[state]),
            up=self._up,
            down=self._down,
            reason="",
        )

    def line(self) -> str:
        """Return the batch as the text of a line."""
        about = [f"batch of {self._number()}", f"{self.each:.1f} B each", *self._ends()]
        return f"{self._where()}: {', '.join(about)}, {self._up} B up, {self._down} B down ({self.name})"

    def _where(self) -> str:
        named = list(self._topics)
        more = ", …" if len(named) > _TOPICS else ""
        return shown(", ".join(named[:_TOPICS]) + more)

    def _number(self) -> str:
        return str(self.seen) if self.seen == self.messages else f"{self.seen} of {self.messages}"

    def _ends(self) -> list[str]:
        return [f"{count} {state}" for state, count in self._states.items() if state != "delivered"]
