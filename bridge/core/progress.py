"""The progress that a part reports to the watchdog."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Progress(NamedTuple):
    """How far a part has come, and whether it has work to do."""

    name: str
    """The part's name; the words after the first tell several instances apart."""
    steps: int
    """A count of finished steps; the watchdog only looks for a change."""
    busy: bool
    """Whether work waits, so that the count must change; an idle part may rest."""
    extra: float = 0.0
    """Seconds that the current step may take beyond the usual limit for a part."""


class Part(Protocol):
    """A part that the watchdog can watch."""

    def progress(self) -> Iterable[Progress]:
        """Return the progress of each of the part's workers."""
