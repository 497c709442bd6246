"""What a batch is."""

import re
from dataclasses import dataclass

LIMIT = 1_000_000
"""Bytes of JSON in a batch at most: what a reader is prepared to unpack."""

LARGEST_TIME = 2**53 - 1
"""Seconds at most, either side of zero: what every reader of JSON holds exactly [RFC 8259, section 6]."""

_ID = re.compile(r"[A-Za-z0-9-]{1,16}", re.ASCII)


class BatchError(ValueError):
    """What was read is not a batch that this version reads; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One message of a batch.

    When it is written, times may have a fraction: they are rounded down.
    """

    topics: tuple[str, ...]
    at: float | None
    """Unix time in seconds, a whole number when it was read; None where the box did not know the time."""
    payload: bytes
    seconds: float = 0
    """Seconds by the box's monotonic clock. It is written where ``at`` is None, with any origin. A batch that
    was read counts from its first message."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was read."""

    id: str | None
    """The same in each repeat, another in each other batch of the device; None in the form ``plain``."""
    readings: tuple[Reading, ...]


def is_id(text: object) -> bool:
    """Return whether ``text`` may be a batch's id: 1 to 16 letters, digits and hyphens."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None
