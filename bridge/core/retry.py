"""What to do after an exchange: one table of outcomes, and the delay before the next try.

A message whose failed tries have carried many bytes waits longer, so that a message that never passes does
not use up the data of all others: see `sparing`.

The rules::

    what happened                           verdict
    ---------------------------------------------------------------------------------------
    the peer accepted                       delivered
    a permanent code (2, 4, 5, 7, 8)        rejected: the same bytes can never succeed
    code 3                                  retry; the whole destination is held
    no connection                           retry; the destination is down
    no answer, a garbled one, code 1 or 6   retry; it may have been this message alone
    the same, and it must not go twice      unconfirmed
    the attempts of its route ran out       failed

The decision is a value; the uplink carries it out.
"""

import random
from enum import Enum, auto
from typing import NamedTuple

from bridge.core.messages import State

MAX_DELAY = 300.0
"""Longest delay, in seconds, before a retry of a message that has cost little."""

SPENT_FREELY = 1_000_000
"""Bytes that the failed tries of one message may carry up before it has to wait longer."""

SPARING = 250.0
"""Carried bytes beyond `SPENT_FREELY` that add one second of delay."""

LONGEST = 86400.0
"""Longest delay of all, in seconds."""


class Kind(Enum):
    """The meaning of an exchange for its message."""

    ACCEPTED = auto()
    REFUSED = auto()
    HELD = auto()
    UNREACHED = auto()
    UNANSWERED = auto()
    DOUBTFUL = auto()


class Reading(NamedTuple):
    """An outcome, interpreted by the protocol that was spoken."""

    kind: Kind
    description: str
    code: int | None = None
    answer: bytes | None = None


class Blame(Enum):
    """Whose fault an exchange is that failed."""

    MESSAGE = auto()
    """The message's or its destination's: it is an attempt."""
    NETWORK = auto()
    """That of the network to the destination, which is tried again after a while; no attempt is counted."""
    PATH = auto()
    """The path has closed, or another has taken its place: no attempt is counted, and nothing is delayed."""
    EARLIER_PATH = auto()
    """That of a path whose place another has taken, after bytes had left: an attempt without a delay."""


_FINAL = {
    Kind.ACCEPTED: State.DELIVERED,
    Kind.REFUSED: State.REJECTED,
    Kind.DOUBTFUL: State.UNCONFIRMED,
}


def decide(reading: Reading, attempts: int, max_attempts: int | None) -> State | None:
    """Return the final state of a message after its ``attempts``-th exchange, counted from 1.

    None: it is tried again.
    """
    counts = reading.kind is not Kind.HELD
    if counts and max_attempts is not None and attempts >= max_attempts:
        return _FINAL.get(reading.kind, State.FAILED)
    return _FINAL.get(reading.kind)


def backoff(failures: int, uniform: "random.Random | None" = None) -> float:
    """Return the seconds to wait after ``failures`` failures: drawn from 0 to min(300, 2^failures).

    The draw over the full range keeps the boxes of a whole fleet from coming back at the same moment.
    """
    ceiling = min(MAX_DELAY, 2.0 ** min(failures, 16))
    return (uniform or _RANDOM).uniform(0.0, ceiling)


def sparing(spent: int) -> float:
    """Return the shortest wait, in seconds, after failed tries that carried ``spent`` bytes up in total."""
    return min(LONGEST, max(0, spent - SPENT_FREELY) / SPARING)


_RANDOM = random.SystemRandom()
