"""What is on the wire, byte by byte, as the promise to those who decode it says."""

import base64
import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

import bridge
from bridge.batch import LIMIT, Batch, Reading, decode, encode, encode_plain


def unpacked(text: bytes) -> str:
    """Return a batch's JSON, by a decoder that knows nothing of ours."""
    return zlib.decompress(base64.b64decode(text, validate=True), -15).decode()


def packed(document: object) -> bytes:
    """Return base64 of DEFLATE of JSON, or of the text that ``document`` is."""
    text = document if isinstance(document, str) else json.dumps(document)
    return base64.b64encode(zlib.compress(text.encode(), wbits=-15))


def test_a_batch_has_the_bytes_of_the_promise() -> None:
    """Keys in their order, no space that is not needed, topics once, differences of rounded times."""
    readings = [
        Reading(("sensors/kitchen",), 1700000000.9, b'{"temperature":21.5}'),
        Reading((), 1700000060.1, "grün €".encode()),
        Reading(("a", "b"), 1699999999.0, b"\xff\x00"),
        Reading(("sensors/kitchen",), 1700000000, b""),
    ]
    assert unpacked(encode("b7-1", readings)) == (
        '{"v":1,"id":"b7-1","at":1700000000,"t":["sensors/kitchen",null,["a","b"]],'
        '"m":[[0,0,"{\\"temperature\\":21.5}"],[1,60,"grün €"],[2,-61,"/wA=",1],[0,1,""]]}'
    )


def test_times_are_rounded_down_before_their_difference() -> None:
    """Before 1970 too; where the time is not known the monotonic clock's are."""
    before = [Reading((), -0.5, b""), Reading((), 0.5, b""), Reading((), -1.5, b"")]
    assert '"at":-1,' in unpacked(encode("a", before))
    assert [each.at for each in decode(encode("a", before)).readings] == [-1, 0, -2]
    unknown = [Reading((), None, b"", 99.9), Reading((), None, b"", 160.0)]
    assert unpacked(encode("a", unknown)) == '{"v":1,"id":"a","at":null,"t":[null],"m":[[0,0,""],[0,61,""]]}'
    assert [(each.at, each.seconds) for each in decode(encode("a", unknown)).readings] == [
        (None, 0),
        (None, 61),
    ]


def test_what_json_must_escape_comes_out_as_it_was() -> None:
    """NUL, line separators, and what looks like JSON or base64."""
    payloads = [b"\0\n\r\x7f", "\u2028\u2029\U0001f600".encode(), b'"\\/', b"/wA=", b"\xed\xa0\x80"]
    read = decode(encode("a", [Reading(("\0\u2028",), 0, each) for each in payloads]))
    assert [each.payload for each in read.readings] == payloads
    assert {each.topics for each in read.readings} == {("\0\u2028",)}


def test_what_a_reader_does_not_know_is_ignored() -> None:
    """Keys, and further elements of a row; a fourth element other than 1 does not make it base64."""
    document = {
        "v": 1, "id": "a", "at": 5, "x": {}, "t": [None, "a", ["b"], []],
        "m": [[0, 0, "QQ==", 1, {}], [1, 2, "QQ==", 0], [2, 3, "QQ==", True], [3, 0, "", None, 7]],
    }  # fmt: skip
    assert decode(packed(document)) == Batch(
        "a",
        (
            Reading((), 5, b"A", 0),
            Reading(("a",), 7, b"QQ==", 2),
            Reading(("b",), 10, b"QQ==", 5),
            Reading((), 10, b"", 5),
        ),
    )


def test_white_space_around_a_batch_is_left_out() -> None:
    """Both forms, text and bytes."""
    for text in (encode("a", [Reading((), 1, b"x")]), encode_plain([Reading((), 1, b"x")])):
        assert decode(b" \r\n" + text + b"\n") == decode(text.decode() + " ") == decode(text)


def test_a_million_bytes_are_a_batch_and_one_more_is_none() -> None:
    """Counted in the JSON, whatever it compresses to."""
    empty = len(unpacked(encode("a", [Reading((), 0, b"")])))
    most = Reading((), 0, b"x" * (LIMIT - empty))
    text = encode("a", [most])
    assert len(unpacked(text)) == LIMIT
    assert decode(text).readings == (most,)
    with pytest.raises(ValueError, match="at most 1,000,000 bytes"):
        encode("a", [Reading((), 0, most.payload + b"x")])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("", [Reading((), 0, b"")]), "1 to 16 letters, digits and hyphens"),
        (("a" * 17, [Reading((), 0, b"")]), "1 to 16"),
        (("a_b", [Reading((), 0, b"")]), "1 to 16"),
        (("a\n", [Reading((), 0, b"")]), "1 to 16"),
        (("a", []), "at least one message"),
        (("a", [Reading((), 0, b""), Reading((), None, b"")]), "never share a batch"),
        (("a", [Reading((), None, b""), Reading((), 0, b"")]), "never share a batch"),
        (("a", [Reading((), float("nan"), b"")]), "a time is within"),
        (("a", [Reading((), 2.0**53, b"")]), "a time is within"),
        (("a", [Reading(("\ud800",), 0, b"")]), "surrogates not allowed"),
    ],
)
def test_what_no_batch_can_hold_is_not_written(arguments: Any, says: str) -> None:
    """An id that is none, no message, clocks mixed, a time or a topic that JSON has no form for."""
    with pytest.raises(ValueError, match=says):
        encode(*arguments)


@pytest.mark.parametrize(
    ("payload", "written"),
    [
        (b'{"t":1.10, "n":12345678901234567890}', '"data":{"t":1.10, "n":12345678901234567890}'),
        (b"21.5", '"data":21.5'),
        (b" [1,\r\n2] \n", '"data":[1,  2]'),
        (b'"a"', '"data":"a"'),
        (b"a", '"data":"a"'),
        (b"", '"data":""'),
        (b"NaN", '"data":"NaN"'),
        (b"1e999", '"data":"1e999"'),
        (b"[" * 51 + b"]" * 51, '"data":"' + "[" * 51 + "]" * 51 + '"'),
        (b"[" * 100_000, '"data":"' + "[" * 100_000 + '"'),
        (b"9" * 5000, '"data":"' + "9" * 5000 + '"'),
        (b'"\\ud800"', '"data":"\\"\\\\ud800\\""'),
        (b"\xff", '"data_base64":"/w=="'),
    ],
    ids=lambda value: value[:10] if isinstance(value, bytes) else "",
)
def test_the_plain_form_has_json_as_json(payload: bytes, written: str) -> None:
    """What every reader takes as JSON is written as it is, on one line; the rest is text, or base64."""
    text = encode_plain([Reading(("a",), 5.9, payload), Reading((), None, b"x")])
    assert text.decode() == f'[{{"topic":"a","at":5,{written}}},{{"topic":null,"at":null,"data":"x"}}]'
    first, second = decode(text).readings
    assert (first.topics, first.at, second.topics, second.at) == (("a",), 5, (), None)


def test_the_plain_form_has_several_topics_as_an_array() -> None:
    """As in the other form."""
    text = encode_plain([Reading(("a", "b"), 1, b"1")])
    assert text == b'[{"topic":["a","b"],"at":1,"data":1}]'
    assert decode(text) == Batch(None, (Reading(("a", "b"), 1, b"1", 0),))


def test_it_runs_where_nothing_else_is_installed() -> None:
    """Without site-packages, and without loading any other part of the bridge."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import bridge.batch as b;"
        "assert b.decode(b.encode('a', [b.Reading((), 1, b'x')])).readings[0].payload == b'x';"
        "print(*[name for name in sys.modules if name.startswith('bridge')])"
    )
    root = Path(bridge.__file__).parents[1]
    command = [sys.executable, "-I", "-S", "-c", script, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if not name.startswith("bridge.batch")] == ["bridge"]
