"""The retry table and the delays before the next try."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.messages import State
from bridge.core.retry import MAX_DELAY, Kind, Reading, backoff, decide, sparing

RETRY = None
FAILED = State.FAILED
DELIVERED = State.DELIVERED
REJECTED = State.REJECTED
UNCONFIRMED = State.UNCONFIRMED

TABLE = [
    # kind, without a limit, below the limit, at the limit, above the limit
    (Kind.ACCEPTED, DELIVERED, DELIVERED, DELIVERED, DELIVERED),
    (Kind.REFUSED, REJECTED, REJECTED, REJECTED, REJECTED),
    (Kind.DOUBTFUL, UNCONFIRMED, UNCONFIRMED, UNCONFIRMED, UNCONFIRMED),
    (Kind.HELD, RETRY, RETRY, RETRY, RETRY),
    (Kind.UNREACHED, RETRY, RETRY, FAILED, FAILED),
    (Kind.UNANSWERED, RETRY, RETRY, FAILED, FAILED),
]


@pytest.mark.parametrize(("kind", "unlimited", "below", "at", "above"), TABLE)
def test_every_outcome_has_its_verdict(
    kind: Kind, unlimited: State | None, below: State | None, at: State | None, above: State | None
) -> None:
    """Each kind of outcome ends, holds or retries as the table says, with and without `max_attempts`."""
    reading = Reading(kind, "words")
    assert decide(reading, 1_000_000, None) == unlimited
    assert decide(reading, 2, 3) == below
    assert decide(reading, 3, 3) == at
    assert decide(reading, 4, 3) == above


def test_the_table_names_every_kind() -> None:
    """No outcome is left without a decision of its own."""
    assert {row[0] for row in TABLE} == set(Kind)


@given(st.integers(1, 10**9), st.integers(0, 2**32))
def test_a_delay_lies_between_nothing_and_its_ceiling(failures: int, seed: int) -> None:
    """After n failures the delay lies in 0 to min(300, 2^n) seconds, however large n grows."""
    delay = backoff(failures, random.Random(seed))
    assert 0.0 <= delay <= min(MAX_DELAY, 2.0 ** min(failures, 9))


def test_delays_spread_over_the_whole_range() -> None:
    """The draw is full: a fleet that lost its cloud together does not come back together."""
    delays = [backoff(20) for _ in range(2000)]
    assert min(delays) < 0.1 * MAX_DELAY
    assert max(delays) > 0.9 * MAX_DELAY
    assert 0.4 * MAX_DELAY < sum(delays) / len(delays) < 0.6 * MAX_DELAY


def test_what_has_cost_much_waits_longer() -> None:
    """Up to a megabyte the ordinary delays are all; 2 MB wait for over an hour, and nothing over a day."""
    assert sparing(0) == sparing(1_000_000) == 0
    assert sparing(2_000_000) == 4000
    assert sparing(10**12) == 86400


def test_no_message_burns_more_than_a_few_tries_a_day() -> None:
    """One of 2 MB that never passes goes at most a dozen times in seven days."""
    spent = tries = 0
    elapsed = 0.0
    while elapsed < 7 * 86400:
        spent, tries = spent + 2_000_000, tries + 1
        elapsed += sparing(spent)
    assert tries <= 13
