"""Batches: several messages of one route and priority in one request.

When what waits in a lane goes is a pure decision over a few numbers, however many messages wait: only those
that would be in the next batch count. It goes at the earliest of

* the time at which the oldest has waited for `Batching.every`,
* the moment when there are `Batching.messages` of them, or when one more would make the request, as it is
  sent, exceed `Batching.bytes`,
* twice ``cloud.timeout`` before the earliest deadline in it,
* `flush`, the coming up of a link on demand, and its hanging up: see `bridge.flow.message.batches`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from bridge.core.messages import Traffic

BEFORE_DEADLINE = 2
"""A batch goes so many times ``cloud.timeout`` before the earliest deadline in it."""

REFUSED_FOR = 3600.0
"""Seconds between tries of a route's first batch while the cloud refuses its form."""

EXPANSION = 4 / 3
"""Bytes that a byte of content takes on the wire at most, but for a few: base64 [RFC 4648] of data that
DEFLATE could not compress."""

SLACK = 64
"""The few: blocks of DEFLATE that are stored [RFC 1951, section 3.2.4], and the padding."""


class Batching(NamedTuple):
    """How a route puts its messages into batches."""

    every: float
    """Seconds that the oldest message waits."""
    messages: int = 200
    """Messages of one batch at most."""
    bytes: int = 4000
    """Bytes of its request at most, as it is sent."""
    topic: str = "batch"
    """The cloud topic of its request."""
    plain: bool = False
    """Whether it is readable JSON in place of the compact form."""


class Waiting(NamedTuple):
    """The messages of a lane that would be in its next batch."""

    messages: int
    oldest: float
    """Monotonic seconds at which the oldest came."""
    deadline: float | None = None
    """Monotonic seconds of the earliest deadline."""
    full: bool = False
    """Whether the message behind them does not fit."""


def due_at(batching: Batching, waiting: Waiting, timeout: float) -> float:
    """Return when the batch goes, in monotonic seconds; ``timeout`` is ``cloud.timeout`` in seconds."""
    if waiting.full or waiting.messages >= batching.messages:
        return waiting.oldest
    due = waiting.oldest + batching.every
    return due if waiting.deadline is None else min(due, waiting.deadline - BEFORE_DEADLINE * timeout)


def at_most(content: int) -> int:
    """Return the bytes that ``content`` bytes take in a request at most."""
    return int(content * EXPANSION) + SLACK


def shares(total: Traffic, number: int) -> list[Traffic]:
    """Return ``number`` equal shares of ``total`` that add up to it exactly; the first have a byte more."""
    ups, downs = (_split(value, number) for value in total)
    return [Traffic(up, down) for up, down in zip(ups, downs, strict=True)]


def _split(total: int, number: int) -> list[int]:
    places = [total * place // number for place in range(number + 1)]
    return sorted((after - before for before, after in pairwise(places)), reverse=True)


def halves(seqs: Sequence[int]) -> tuple[int, int]:
    """Return the number of the last message of each half of a refused batch; there are at least two."""
    return seqs[(len(seqs) + 1) // 2 - 1], seqs[-1]
