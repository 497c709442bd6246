"""Whatever comes to a reader: it is a batch, or one clear line says why not."""

import base64
import json
import re
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.batch import LIMIT, Batch, BatchError, Reading, decode, encode, encode_plain
from tests.batch.test_wire import packed


def attempt(text: str | bytes) -> Batch | None:
    """Return the batch, or None after a refusal in one line."""
    refusal = ""
    try:
        return decode(text)
    except BatchError as exc:
        refusal = str(exc)
    assert refusal.isprintable()
    assert len(refusal) < 200
    return None


GOOD = {"v": 1, "id": "a", "at": 1, "t": ["x"], "m": [[0, 0, "y"]]}
MEMORY = 50_000_000
"""Bytes at most: a million bytes of JSON become so many objects."""


def with_(**keys: object) -> bytes:
    return packed({**GOOD, **keys})


def deflated(raw: bytes) -> bytes:
    return zlib.compress(raw, 9, -15)


STREAM = deflated(json.dumps(GOOD).encode())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "a batch is empty"),
        (b" \n", "a batch is empty"),
        ("é", "a batch is not base64"),
        ("\ud800", "half a surrogate pair"),
        (b"QQ", "a batch is not base64"),
        (b"QQ==QQ==", "a batch is not base64"),
        (b"Q Q==", "a batch is not base64"),
        (base64.urlsafe_b64encode(b"\xfb\xff"), "a batch is not base64"),
        (base64.b64encode(b"\xff\xff"), "a batch is not DEFLATE"),
        (base64.b64encode(zlib.compress(b"{}")), "a batch is not DEFLATE"),
        (base64.b64encode(STREAM[:-1]), "a batch is truncated"),
        (base64.b64encode(STREAM + b"x"), "a batch has 1 bytes after its DEFLATE stream"),
        (base64.b64encode(STREAM + STREAM), "bytes after its DEFLATE stream"),
        (base64.b64encode(deflated(b"\xff")), "a batch's JSON is not UTF-8"),
        (packed("{"), "a batch is not JSON"),
        (packed('{"v":NaN}'), "a batch is not JSON: it has NaN"),
        (packed("9" * 5000), "a batch is not JSON"),
        (packed("[" * 500_000), "a batch's JSON is too deep"),
        (packed([]), "a batch's JSON is not an object"),
        (packed({}), "a batch has v null; this version reads 1"),
        (with_(v=2), "a batch has v 2; this version reads 1"),
        (with_(v="1"), 'a batch has v "1"'),
        (with_(v=True), "a batch has v true"),
        (with_(id="a" * 17), 'a batch has id "aaaaaaaaaaaaaaaaa"'),
        (with_(id=["a"]), "a batch has id an array of 1"),
        (with_(at="1"), 'at has time "1"; allowed are whole seconds'),
        (with_(at=1.5), "at has time 1.5"),
        (with_(at=True), "at has time true"),
        (with_(at=2**53), "at has time 9007199254740992"),
        (with_(t=None), "a batch has t null; allowed is an array"),
        (with_(t={}), "a batch has t an object"),
        (with_(t=[1]), "t[0] is 1; allowed are null, a string, and an array of strings"),
        (with_(t=[["a", None]]), "t[0] is an array of 2"),
        (packed('{"v":1,"id":"a","at":1,"t":["\\ud800"],"m":[]}'), "t[0] has half a surrogate pair"),
        (with_(m=5), "a batch has m 5; allowed is an array"),
        (with_(m=[5]), "m[0] is 5; a row has 3 elements"),
        (with_(m=[[0, 0, ""], [0, 0]]), "m[1] is an array of 2; a row has 3 elements"),
        (with_(m=[[1, 0, ""]]), "m[0][0] is 1; allowed is an index into the 1 of t"),
        (with_(m=[[-1, 0, ""]]), "m[0][0] is -1"),
        (with_(m=[[False, 0, ""]]), "m[0][0] is false"),
        (with_(m=[[0, 1.0, ""]]), "m[0][1] has time 1.0"),
        (with_(m=[[0, 2**53 - 1, ""], [0, 1, ""]]), "m[0] has time 9007199254740992"),
        (with_(m=[[0, 0, {}]]), "m[0][2] is an object; allowed is text"),
        (with_(m=[[0, 0, "!", 1]]), "m[0][2] is not base64"),
        (with_(m=[[0, 0, "\udc00"]]), "m[0][2] has half a surrogate pair"),
        (b"[1]", "[0] is 1; allowed is an object"),
        (b'[{"data":1},{}]', "[1] has no data"),
        (b'[{"topic":5,"data":1}]', "[0].topic is 5"),
        (b'[{"at":1.5,"data":1}]', "[0].at has time 1.5"),
        (b'[{"data_base64":"?"}]', "[0].data_base64 is not base64"),
        (b'[{"data_base64":5}]', "[0].data_base64 is 5; allowed is text"),
        (b'[{"data":"\\ud800"}]', "[0].data cannot be written"),
        (b'[{"data":1e999}]', "[0].data cannot be written"),
        (b'[{"data":1}] x', "a batch is not JSON"),
        (b"[\xff]", "a batch's JSON is not UTF-8"),
        (b"[" + b" " * LIMIT + b"]", "a batch is larger than 1,000,000 bytes"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused_in_one_line(text: str | bytes, says: str) -> None:
    """The line names the place, what is there, and what is allowed."""
    with pytest.raises(BatchError, match=re.escape(says)) as refusal:
        decode(text)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("size", [LIMIT + 1, 100_000_000], ids=["one byte too many", "a hundred times"])
def test_a_bomb_is_refused_before_it_is_unpacked(size: int) -> None:
    """Memory does not grow with what it would become."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    pieces = [squeezer.compress(b" " * min(LIMIT, size - done)) for done in range(0, size, LIMIT)]
    bomb = base64.b64encode(b"".join([*pieces, squeezer.flush()]))
    tracemalloc.start()
    try:
        with pytest.raises(BatchError, match="larger than 1,000,000 bytes unpacked"):
            decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("piece", ["{}", '{"":0}', '[0,0,""]', "-1.5"])
def test_what_json_makes_of_a_million_bytes_is_bounded(piece: str) -> None:
    """The costliest values, as many as fit, in each place that is read."""
    many = ",".join([piece] * ((LIMIT - 100) // (len(piece) + 1)))
    start = '{"v":1,"id":"a","at":1,"t":["x"],"m":['
    tracemalloc.start()
    try:
        for text in (packed(f"{start}{many}]}}"), packed(f'{start}],"x":[{many}]}}'), f"[{many}]".encode()):
            attempt(text)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


BATCHES = [
    encode("b7-1", [Reading(("a", "b"), 5, b"x" * 50), Reading((), 7, b"\xff"), Reading(("c",), 3, b"{}")]),
    encode_plain([Reading(("a", "b"), 5, b'{"x":1}'), Reading((), None, b"\xff")]),
]


@given(st.one_of(st.binary(), st.text()))
def test_anything_is_a_batch_or_an_error(text: str | bytes) -> None:
    """Noise."""
    attempt(text)


@given(st.binary())
def test_any_stream_is_a_batch_or_an_error(noise: bytes) -> None:
    """Noise within base64, and within DEFLATE."""
    attempt(base64.b64encode(noise))
    attempt(base64.b64encode(deflated(noise)))


_KEYS = st.sampled_from(["v", "id", "at", "t", "m", "topic", "data"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner),
    max_leaves=10,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, _JSON)), st.lists(_JSON))
def test_any_json_is_a_batch_or_an_error(document: dict[str, object], plain: list[object]) -> None:
    """Right keys, and values of any kind."""
    attempt(packed({**GOOD, **document}))
    attempt(json.dumps(plain))


@given(st.sampled_from(BATCHES), st.data())
def test_a_cut_or_mutated_batch_is_a_batch_or_an_error(text: bytes, data: st.DataObject) -> None:
    """Bytes changed, left out or put in; of what is cut nothing is read."""
    place = data.draw(st.integers(0, len(text) - 1))
    assert attempt(text[:place]) is None
    noise = data.draw(st.binary(max_size=4))
    length = data.draw(st.integers(0, 4))
    attempt(text[:place] + noise + text[place + length :])
    if not text.startswith(b"["):
        raw = base64.b64decode(text)
        at = min(place, len(raw) - 1)
        attempt(base64.b64encode(raw[:at] + noise + raw[at + length :]))
        assert attempt(base64.b64encode(raw[:at])) is None
        assert attempt(base64.b64encode(raw + b"\0" + noise)) is None
