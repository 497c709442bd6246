"""What goes into a batch comes out of it, and as much goes in as fits."""

import json
import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.batch import LIMIT, Builder, PlainBuilder, Reading, decode, encode, encode_plain
from bridge.batch.deflate import compress, hardly_more, never_more

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


def taken(builder: Builder | PlainBuilder, written: list[Reading]) -> int:
    """Return how many of the messages the builder takes until it refuses one."""
    for number, each in enumerate(written):
        if not builder.add(each):
            assert len(builder) == number
            return number
    return len(written)


@given(readings(known=True), st.integers(0, 2000))
def test_a_builder_takes_exactly_what_fits(written: list[Reading], limit: int) -> None:
    """In both forms; what it encodes is the batch of these."""
    builder, plain = Builder("b", limit), PlainBuilder(limit)
    count = taken(builder, written)
    assert count == fitting(limit, written, lambda some: encode("b", some))
    assert not count or decode(builder.encode()) == decode(encode("b", written[:count]))
    assert not count or len(builder.encode()) <= limit
    count = taken(plain, written)
    assert count == fitting(limit, written, encode_plain)
    assert not count or plain.encode() == encode_plain(written[:count])


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
    builder = Builder("b", limit)
    assert taken(builder, written) == fitting(limit, written, lambda some: encode("b", some))


def test_a_builder_can_go_on_after_a_refusal() -> None:
    """What was too large is not in the batch; what is smaller may still fit."""
    builder = Builder("b", 120)
    assert builder.add(Reading(("a",), 1, b"x"))
    assert not builder.add(Reading(("b",), 2, random.Random(1).randbytes(500)))
    assert builder.add(Reading(("c",), 3, b"z"))
    assert decode(builder.encode()) == decode(
        encode("b", [Reading(("a",), 1, b"x"), Reading(("c",), 3, b"z")])
    )


def test_a_builder_takes_no_more_than_a_million_bytes_of_json() -> None:
    """However well they compress."""
    written = [Reading((), 0, b"x" * 1000)] * 1100
    for builder in (Builder("b", 2 * LIMIT), PlainBuilder(2 * LIMIT)):
        assert 900 < taken(builder, written) < 1000
        assert len(decode(builder.encode()).readings) == len(builder)


def test_the_plain_form_is_measured_as_it_is_sent() -> None:
    """Within a request's JSON its quotation marks take two bytes."""
    one = encode_plain([Reading(("a",), 1, b"1")])
    size = len(json.dumps(one.decode())) - 2
    for limit, fits in ((size, True), (size - 1, False)):
        builder = PlainBuilder(limit, lambda piece: len(json.dumps(piece.decode())) - 2)
        assert builder.add(Reading(("a",), 1, b"1")) is fits


@given(st.binary(max_size=3000), st.sampled_from([b"", b"\0" * 3000, bytes(range(256)) * 20]))
def test_compressed_bytes_have_an_upper_bound(noise: bytes, regular: bytes) -> None:
    """Noise, nothing else, after what compresses well."""
    text = regular + noise
    assert len(compress(text)) <= never_more(len(text))


_LINES = st.lists(
    st.one_of(st.sampled_from([b'[0,60,"21.5"],', b"aaaa", b"ab"]), st.binary(max_size=40)), max_size=200
)


@given(_LINES, _LINES, st.integers(1, 60))
def test_growth_has_an_upper_bound(before: list[bytes], after: list[bytes], times: int) -> None:
    """Whatever comes after whatever, once or many times."""
    old = b'{"v":1,"id":"b7-1","at":1700000000,"t":["a"],"m":[' + b"".join(before) * times
    new = b"".join(after)
    assert len(compress(old + new)) <= hardly_more(len(compress(old)), len(new))
