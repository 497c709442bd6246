"""What goes into a batch comes out of it, and as much goes in as fits."""

import json
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.batch import LIMIT, Builder, Builds, Packed, PlainBuilder, Reading, decode, encode, encode_plain

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_PAYLOAD = st.one_of(st.binary(), _TEXT.map(str.encode), st.sampled_from([b"21.5", b'{"t":1}', b"\0" * 9]))
_TOPICS = st.lists(_TEXT, max_size=3).map(tuple)
_TIME = st.one_of(st.integers(-(2**40), 2**40), st.floats(-1e12, 1e12), st.floats(1.7e9, 1.7e9 + 5))
IDS = st.from_regex(r"\A[A-Za-z0-9-]{1,16}\Z")


def readings(*, known: bool) -> st.SearchStrategy[list[Reading]]:
    """Messages whose time is known, or of which none is."""
    if known:
        one = st.builds(Reading, _TOPICS, _TIME, _PAYLOAD)
    else:
        one = st.builds(Reading, _TOPICS, st.none(), _PAYLOAD, _TIME)
    return st.lists(one, min_size=1)


def as_read(written: list[Reading]) -> tuple[Reading, ...]:
    """Return messages as a reader has them: times rounded down, counted from the first."""
    times = [math.floor(each.seconds if each.at is None else each.at) for each in written]
    return tuple(
        Reading(each.topics, None if each.at is None else time, each.payload, time - times[0])
        for each, time in zip(written, times, strict=True)
    )


@given(IDS, st.one_of(readings(known=True), readings(known=False)))
def test_bytes_come_out_as_they_went_in(batch_id: str, written: list[Reading]) -> None:
    """Any topics and payloads, times that go back, a clock that is not known."""
    batch = decode(encode(batch_id, written))
    assert (batch.id, batch.readings) == (batch_id, as_read(written))


@given(readings(known=True))
def test_the_plain_form_keeps_topics_times_and_what_is_no_json(written: list[Reading]) -> None:
    """JSON comes out with the same value."""
    for read, expected in zip(decode(encode_plain(written)).readings, as_read(written), strict=True):
        assert (read.topics, read.at) == (expected.topics, expected.at)
        if read.payload != expected.payload:
            value = json.loads(expected.payload)
            assert value == (read.payload.decode() if isinstance(value, str) else json.loads(read.payload))


def fitting(limit: int, written: list[Reading], whole: Callable[[list[Reading]], bytes]) -> int:
    """Return the number of messages before the first with which a batch is too large, by trying each."""
    for number in range(len(written)):
        if len(whole(written[: number + 1])) > limit:
            return number
    return len(written)


def packed(builder: Builds, written: list[Reading]) -> Packed:
    """Return what a builder makes of as many messages as it takes."""
    for each in written:
        if not builder.add(each):
            break
    return builder.pack()


@given(readings(known=True), st.integers(0, 2000))
def test_a_builder_packs_what_fits(written: list[Reading], limit: int) -> None:
    """In both forms; one more would not fit."""
    count, content = packed(Builder("b", limit), written)
    if count:
        assert content == encode("b", written[:count])
        assert len(content) <= limit
    assert count == len(written) or len(encode("b", written[: count + 1])) > limit
    count, content = packed(PlainBuilder(limit), written)
    assert count == fitting(limit, written, encode_plain)
    assert not count or content == encode_plain(written[:count])


def sensor_readings(count: int, topics: int, seed: int) -> list[Reading]:
    """Readings as sensors send them, their numbers drawn by chance."""
    chance = random.Random(seed)
    return [
        Reading(
            (f"sensors/room-{chance.randrange(topics)}",),
            1.7e9 + 60 * number + chance.random(),
            json.dumps({"temperature": round(chance.uniform(15, 25), 1), "seq": number}).encode(),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("limit", [100, 101, 1000, 1001, 1002, 1003, 2500])
@pytest.mark.parametrize("topics", [1, 10, 1000])
def test_a_builder_is_exact_with_readings_of_sensors(limit: int, topics: int) -> None:
    """To the byte, with one topic as with as many as messages."""
    written = sensor_readings(250, topics, limit)
    (count, _) = packed(Builder("b", limit), written)
    assert count == fitting(limit, written, lambda some: encode("b", some))


def test_a_batch_is_found_in_few_trials() -> None:
    """Whatever its messages are like: each trial compresses all of it, which takes a small box a while."""
    chance = random.Random(3)
    payloads: list[Callable[[int], bytes]] = [
        lambda number: b"21.%d" % number,
        lambda number: b"x" * (900 if number < 500 else 1),
        lambda number: chance.randbytes(1 if number < 500 else 300),
        lambda number: chance.randbytes(300) if number % 100 == 0 else b"1",
    ]
    for payload in payloads:
        written = [Reading((f"t{number}",), 1.7e9, payload(number)) for number in range(1000)]
        for limit in (1000, 4000, 14_000, 30_000):
            builder = Counting("b", limit)
            count, content = packed(builder, written)
            assert len(content) <= limit
            assert count == len(written) or len(encode("b", written[: count + 1])) > limit
            assert builder.trials <= 20


class Counting(Builder):
    """Counts the trials."""

    trials = 0

    def _try(self, sizes: list[int], number: int) -> Any:
        self.trials += 1
        return super()._try(sizes, number)


def test_a_builder_takes_no_more_than_a_million_bytes_of_json() -> None:
    """However well they compress."""
    written = [Reading((), 0, b"x" * 1000)] * 1100
    for builder in (Builder("b", 2 * LIMIT), PlainBuilder(2 * LIMIT)):
        count, content = packed(builder, written)
        assert 900 < count < 1000
        assert len(decode(content).readings) == count


def test_the_plain_form_is_measured_as_it_is_sent() -> None:
    """Within a request's JSON its quotation marks take two bytes."""
    one = encode_plain([Reading(("a",), 1, b"1")])
    size = len(json.dumps(one.decode())) - 2
    for limit, fits in ((size, True), (size - 1, False)):
        builder = PlainBuilder(limit, lambda piece: len(json.dumps(piece.decode())) - 2)
        assert builder.add(Reading(("a",), 1, b"1")) is fits
