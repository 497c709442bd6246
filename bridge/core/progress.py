"""What a part shows of itself to the watchdog."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Progress(NamedTuple):
    """How far a part has come, and whether it owes more."""

    name: str
    """Which part; what follows its first word says which of several."""
    steps: int
    """Counts what it did; only whether it changed is looked at."""
    busy: bool
    """Something waits for it, so that it has to get on; a part that owes nothing rightly rests."""
    extra: float = 0.0
    """Seconds that what it does now may take beyond what is usual for such a part."""


class Part(Protocol):
    """What can be watched."""

    def progress(self) -> Iterable[Progress]:
        """Return how far it has come, in each of its works."""
