"""The time inside a payload: one member more, and every other byte as it was."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.time_stamp import LOOKED_INTO, stamped

AT = 1_700_000_000


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ('{"t":21.5}', '{"t":21.5,"at":1700000000}'),
        ("{}", '{"at":1700000000}'),
        ("{ }", '{ "at":1700000000}'),
        ('{"a":{"at":1}}', '{"a":{"at":1},"at":1700000000}'),
        ('{"a":[{}]}', '{"a":[{}],"at":1700000000}'),
        ('{"a":"}"}', '{"a":"}","at":1700000000}'),
        (' {"a" : 1 } \r\n', ' {"a" : 1 ,"at":1700000000} \r\n'),
        ('{\n\t"a": 1\n}\n', '{\n\t"a": 1\n,"at":1700000000}\n'),
        ('\ufeff{"a":1}', '\ufeff{"a":1,"at":1700000000}'),
        ('{"a":1,"a":2}', '{"a":1,"a":2,"at":1700000000}'),
        ('{"é":"\\ud800"}', '{"é":"\\ud800","at":1700000000}'),
        ('{"a":1e999}', '{"a":1e999,"at":1700000000}'),
        (f'{{"a":{"9" * 5000}}}', f'{{"a":{"9" * 5000},"at":1700000000}}'),
    ],
)
def test_an_object_gets_a_member_more(payload: str, expected: str) -> None:
    """Before its last brace, whatever stands around it and in it."""
    assert stamped(payload.encode(), "at", AT).decode() == expected


@pytest.mark.parametrize(
    "payload", ['{"at":1}', '{"at":null,"b":2}', '{"\\u0061t":1}', ' {"at":{},"at":2}\n']
)
def test_an_object_that_has_the_key_stays_as_it_is(payload: str) -> None:
    """However the key is written."""
    assert stamped(payload.encode(), "at", AT) == payload.encode()


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("21.5", "21.5"),
        ("-0", "-0"),
        ("1E+400", "1E+400"),
        (" 7\r\n", "7"),
        ("9" * 5000, "9" * 5000),
        ("", '""'),
        ("on", '"on"'),
        ("on\n", '"on\\n"'),
        ('say "é"', '"say \\"é\\""'),
        ("021", '"021"'),
        ("+1", '"+1"'),
        ("1,5", '"1,5"'),
        ("٣", '"٣"'),
        ("NaN", '"NaN"'),
        ("-Infinity", '"-Infinity"'),
        ("true", '"true"'),
        ("[1]", '"[1]"'),
        ('"a"', '"\\"a\\""'),
        ('{"a":NaN}', '"{\\"a\\":NaN}"'),
        ('{"a":1', '"{\\"a\\":1"'),
        ('{"a":1}{}', '"{\\"a\\":1}{}"'),
        ("{'a':1}", "\"{'a':1}\""),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, None),
    ],
)
def test_anything_else_is_wrapped(payload: str, value: str | None) -> None:
    """A number stays a number, and everything else is text."""
    wrapped = stamped(payload.encode(), "at", AT).decode()
    assert wrapped == f'{{"at":1700000000,"value":{json.dumps(payload) if value is None else value}}}'


def test_bytes_that_are_no_text_are_base64() -> None:
    """JSON carries text."""
    assert json.loads(stamped(b"\xff\x00", "at", None)) == {"at": None, "value_base64": "/wA="}


def test_a_very_large_payload_is_not_looked_into() -> None:
    """It is wrapped whole: read as values it could take all the memory."""
    largest = b'{"a":"' + b"x" * (LOOKED_INTO - 8) + b'"}'
    assert stamped(largest, "at", 5) == largest[:-1] + b',"at":5}'
    larger = b"[" * LOOKED_INTO + b"1"
    assert json.loads(stamped(larger, "at", 5)) == {"at": 5, "value": larger.decode()}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)
objects = st.dictionaries(st.text(max_size=4) | st.just("at"), json_values, max_size=5)
keys = st.text(min_size=1, max_size=6).filter(str.isprintable) | st.just("at")
times = st.none() | st.integers(0, 2**38)
space = st.text(" \t\r\n", max_size=3)


@given(objects, keys, times, space, space, st.booleans())
def test_every_object_keeps_its_bytes(
    value: dict[str, Any], key: str, at: int | None, before: str, after: str, plain: bool
) -> None:
    """Without the new member it is what it was, and the member is the time."""
    text = json.dumps(value, ensure_ascii=plain, indent=None if plain else 1)
    payload = (before + text + after).encode()
    got = stamped(payload, key, at)
    if key in value:
        assert got == payload
        return
    read = json.loads(got)
    assert read.pop(key) == at
    assert read == value
    end = payload.rindex(b"}")
    assert got.startswith(payload[:end])
    assert got.endswith(payload[end:])


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode), times)
def test_every_payload_comes_out_again(payload: bytes, at: int | None) -> None:
    """What is wrapped is unwrapped to the same bytes, but for the white space around a number."""
    read = json.loads(stamped(payload, "at", at))
    assert read.pop("at") == at
    if "value_base64" in read:
        assert base64.b64decode(read["value_base64"]) == payload
    elif isinstance(value := read.get("value"), str):
        assert value.encode() == payload
    else:
        assert json.loads(payload) in (value, read)
