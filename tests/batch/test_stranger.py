"""What the bridge writes is read by a reader that was made from the description alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.batch import BatchError, Reading, decode, encode, encode_plain
from tests.batch import stranger
from tests.batch.test_round_trip import IDS, as_read, readings


def seen(written: list[Reading]) -> list[stranger.Reading]:
    """Return messages as the other reader has them."""
    return [
        stranger.Reading(
            each.topics, None if each.at is None else int(each.at), int(each.seconds), each.payload
        )
        for each in as_read(written)
    ]


@given(IDS, st.one_of(readings(known=True), readings(known=False)))
def test_it_reads_every_batch(batch_id: str, written: list[Reading]) -> None:
    """Topics, times and payloads are the same."""
    assert stranger.read(encode(batch_id, written)) == (batch_id, seen(written))


@given(readings(known=True))
def test_it_reads_the_plain_form(written: list[Reading]) -> None:
    """Both readers find the same in it."""
    text = encode_plain(written)
    ours = [(each.topics, each.at, each.payload) for each in decode(text).readings]
    assert [(each.topics, each.at, each.payload) for each in stranger.read(text).readings] == ours


_GOOD = encode("a", [Reading(("t",), 1_700_000_000, b"x")])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"AAAA",
        b"{}",
        _GOOD[:-4],
        _GOOD + b"AAAA",
        _GOOD[4:],
        b"[1]",
        b"[",
        b"\xff",
    ],
)
def test_both_refuse_the_same(text: bytes) -> None:
    """What is no batch is none for either."""
    with pytest.raises(BatchError):
        decode(text)
    with pytest.raises(ValueError, match="not a batch"):
        stranger.read(text)
