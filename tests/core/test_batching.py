"""Batches: when they go, and how what they cost is shared."""

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.batching import Batching, Waiting, at_most, due_at, halves, shares
from bridge.core.messages import Traffic

HOURLY = Batching(every=3600, messages=100)


@pytest.mark.parametrize(
    ("waiting", "due"),
    [
        (Waiting(1, oldest=50.0), 3650.0),
        (Waiting(99, oldest=50.0), 3650.0),
        (Waiting(100, oldest=50.0), 50.0),
        (Waiting(3, oldest=50.0, full=True), 50.0),
        (Waiting(3, oldest=50.0, deadline=1000.0), 990.0),
        (Waiting(3, oldest=50.0, deadline=9000.0), 3650.0),
        (Waiting(3, oldest=50.0, deadline=52.0), 42.0),
    ],
)
def test_a_batch_is_due_at_the_earliest_of_its_reasons(waiting: Waiting, due: float) -> None:
    """The time of the oldest, the number, the size, and twice the timeout before the earliest deadline."""
    assert due_at(HOURLY, waiting, timeout=5.0) == due


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(1, 10_000))
def test_shares_add_up_to_the_exchange(up: int, down: int, number: int) -> None:
    """To the byte, and they differ by one byte at most."""
    parts = shares(Traffic(up, down), number)
    assert len(parts) == number
    assert (sum(each.up for each in parts), sum(each.down for each in parts)) == (up, down)
    for values in ([each.up for each in parts], [each.down for each in parts]):
        assert max(values) - min(values) <= 1


@given(st.integers(2, 1000))
def test_halving_ends_at_single_messages(number: int) -> None:
    """Each half has at least one message, and the first is not the smaller one."""
    seqs = list(range(10, 10 + number))
    middle, last = halves(seqs)
    first, second = middle - 10 + 1, last - middle
    assert last == seqs[-1]
    assert 0 <= first - second <= 1
    assert min(first, second) >= 1


@given(st.binary(max_size=5000))
def test_a_request_is_never_larger_than_the_bound(content: bytes) -> None:
    """What cannot be compressed is stored, and base64 makes four characters of three bytes."""
    packer = zlib.compressobj(9, wbits=-15)
    assert len(base64.b64encode(packer.compress(content) + packer.flush())) <= at_most(len(content))
