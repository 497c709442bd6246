"""Requests as the server reads them: whole, byte by byte, with trailing bytes, and at random."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sim.requests import CloudKeys, OneTimeCode, Request
from bridge.sim.wire import MAX_REQUEST, Accounts, RequestReader, answer, judge

ACCOUNTS = Accounts("abcd1234", CloudKeys("idid", "keys"), "8901", "12345678901234567890")
NOW = 59.0  # RFC 4226 appendix D: counter 1, code 287082

Seen = tuple[bytes | None, tuple[str, ...], str | None]

GOOD: list[tuple[bytes, Seen]] = [
    (b'{"k":"abcd1234","d":"hi","t":"a/b"}\n\n', (b"hi", ("a/b",), None)),
    (b'{"k":"abcd1234","d":"hi"}\r\r', (b"hi", (), None)),
    (b'{"k":"abcd1234","d":"","t":[]}\n\n', (b"", (), None)),
    (
        b'{\n"devicekey": "abcd1234",\n"data": "a\\n\\nb",\n"tags": ["x", "y_-1"]}\n\n',
        (b"a\n\nb", ("x", "y_-1"), None),
    ),
    (
        b'{"k":"abcd1234","m":"\\u0001agnostic-0.9.1","d":"\xc3\xa9","t":["x"]}\r\r',
        ("é".encode(), ("x",), None),
    ),
    (b'{"s":"idid","c":"keys","d":"old","t":["' + b"t" * 31 + b'"]}\n\n', (b"old", ("t" * 31,), None)),
    (b"Sabcd1234+15551234567 Hello there\n\n", (b"Hello there", (), "+15551234567")),
    (b"Sididkeys+4917012345 two\nlines\r\r", (b"two\nlines", (), "+4917012345")),
    (b"C8901 59 287082 Ta/b\0Tc\0Bx\xff\n\n\r\ry\0\0", (b"x\xff\n\n\r\ry", ("a/b", "c"), None)),
    (b"C8901 59 287082 B\0\0", (b"", (), None)),
    (b"C8901 59 287082 M\x01x\0Bone\0Btwo\0\0", (b"one\ntwo", (), None)),
]

BAD: list[tuple[bytes, int]] = [
    (b"{\n\n", 2),
    (b'{"k":"abcd1234","d":"\xff"}\n\n', 2),
    (b'{"k":"abcd1234","d":"\\ud800"}\n\n', 2),
    (b'{"k":"abcd1234","d":"x","n":NaN}\n\n', 2),
    (b"[1,2]\n\n", 2),
    (b"[" * 100_000 + b"\n\n", 2),
    (b'{"k":"abcd1234","data":"x"}\n\n', 2),
    (b'{"devicekey":"abcd1234","data":"x","t":"y"}\n\n', 2),
    (b'{"k":"wrong123","d":"x"}\n\n', 3),
    (b'{"k":12345678,"d":"x"}\n\n', 3),
    (b'{"k":"ididkeys","d":"x"}\n\n', 3),
    (b'{"s":"idid","c":"nope","d":"x"}\n\n', 3),
    (b'{"s":"idid","d":"x"}\n\n', 3),
    (b'{"d":"x"}\n\n', 3),
    (b'{"k":"wrong123","d":1}\n\n', 3),
    (b'{"k":"abcd1234","d":1}\n\n', 4),
    (b'{"k":"abcd1234","d":["x"]}\n\n', 4),
    (b'{"k":"abcd1234"}\n\n', 4),
    (b'{"k":"abcd1234","d":"x","m":"1agnostic"}\n\n', 7),
    (b'{"k":"abcd1234","d":"x","m":1}\n\n', 7),
    (b'{"k":"abcd1234","d":"x","t":"TOPIC 1"}\n\n', 8),
    (b'{"k":"abcd1234","d":"x","t":["ok",""]}\n\n', 8),
    (b'{"k":"abcd1234","d":"x","t":"' + b"t" * 32 + b'"}\n\n', 8),
    (b'{"k":"abcd1234","d":"x","t":[1]}\n\n', 8),
    (b'{"k":"abcd1234","d":"x","t":null}\n\n', 8),
    (b'{"k":"abcd1234","d":"x","t":"a\\n"}\n\n', 8),
    (b'{"k":"abcd1234","d":"x","t":"\\u00e9"}\n\n', 8),
    (b"Sabcd1234 15551234567 x\n\n", 2),
    (b"Sabcd1234+0155512 x\n\n", 2),
    (b"Sabcd1234+1234567890123456 x\n\n", 2),
    (b"Sabcd123\n\n", 2),
    (b"Swrong123+15551234567 x\n\n", 3),
    (b"Sabcd1234+15551234567 " + b"x" * 161 + b"\n\n", 4),
    (b"Sabcd1234+15551234567 \xff\n\n", 4),
    (b"C8901 soon 287082 Bx\0\0", 2),
    (b"C8901 59 287082 Xx\0\0", 2),
    (b"C8901 59 287083 Bx\0\0", 3),
    (b"C8902 59 287082 Bx\0\0", 3),
    (b"C8901 3600 287082 Bx\0\0", 3),
    (b"C8901 59 287082 Tx\0\0", 4),
    (b"C8901 59 287082 Mx\0Bx\0\0", 7),
    (b"C8901 59 287082 Ta b\0Bx\0\0", 8),
    (b"C" + b"1" * 127, 2),
    (b"X", 5),
    (b"\0", 5),
]

EVERY = [wire for wire, _ in GOOD] + [wire for wire, _ in BAD]


def read(*pieces: bytes) -> list[Request]:
    """Feed the pieces to one reader; return what it made of them."""
    reader = RequestReader()
    return [request for piece in pieces if (request := reader.feed(piece)) is not None]


def one(wire: bytes) -> Request:
    (request,) = read(wire)
    return request


@pytest.mark.parametrize(("wire", "seen"), GOOD)
def test_right_requests_are_accepted(wire: bytes, seen: Seen) -> None:
    """Every documented form is accepted, and its payload, topics and number are read as they were sent."""
    request = one(wire)
    assert (request.data, request.topics, request.to) == seen
    assert request.size == len(wire)
    assert judge(request, ACCOUNTS, NOW) == (0, None)


@pytest.mark.parametrize(("wire", "code"), BAD)
def test_wrong_requests_get_their_code(wire: bytes, code: int) -> None:
    """What is wrong is refused with the documented code and a reason in words."""
    answered, problem = judge(one(wire), ACCOUNTS, NOW)
    assert answered == code
    assert problem


@pytest.mark.parametrize("wire", EVERY)
def test_byte_by_byte_reads_alike(wire: bytes) -> None:
    """A request that comes in single bytes is the same request, whole at its last byte."""
    if len(wire) > 10_000:
        wire = wire[:1000] + wire[-2:]
    pieces = [wire[i : i + 1] for i in range(len(wire))]
    assert read(*pieces[:-1]) == []
    assert read(*pieces) == read(wire)


@pytest.mark.parametrize("wire", EVERY)
@pytest.mark.parametrize("more", [b"\n", b"\0", b'{"k":"abcd1234","d":"again"}\n\n', b"\xff" * 5000])
def test_trailing_bytes_are_ignored(wire: bytes, more: bytes) -> None:
    """What follows the end changes nothing, in the same read or a later one."""
    assert read(wire + more) == read(wire)
    assert read(wire, more, more) == read(wire)


def test_no_bytes_are_no_request() -> None:
    """An empty read is nothing; a request under way is counted as pending until it is whole."""
    reader = RequestReader()
    assert reader.feed(b"") is None
    assert reader.pending == 0
    assert reader.feed(b'{"k":') is None
    assert reader.pending == 5
    assert reader.feed(b"1}\n\n") is not None
    assert reader.pending == 0


def test_credentials_that_are_not_set_up_are_refused() -> None:
    """A cloud that knows a device key alone refuses the older pair and one-time codes."""
    key_only = Accounts("abcd1234")
    assert judge(one(b'{"s":"idid","c":"keys","d":"x"}\n\n'), key_only, NOW)[0] == 3
    assert judge(one(b"C8901 59 287082 Bx\0\0"), key_only, NOW)[0] == 3


def test_a_one_time_code_may_be_replayed() -> None:
    """The same request twice within its time is accepted twice."""
    request = one(b"C8901 59 287082 Bx\0\0")
    assert request.proof == OneTimeCode("8901", 59, "287082")
    assert [judge(request, ACCOUNTS, NOW)[0] for _ in range(2)] == [0, 0]


def test_answers_have_the_form_of_the_request() -> None:
    """JSON is answered in brackets, the compact forms in two digits."""
    assert answer("json", 0) == b"[0,0]"
    assert answer("unknown", 5) == b"[5,0]"
    assert answer("sms", 0) == b"00"
    assert answer("totp", 3) == b"30"


def test_a_request_without_an_end_is_bounded() -> None:
    """What never ends is refused once it is larger than any request, so memory stays bounded."""
    piece = b"{" + b" " * (1024 * 1024 - 1)
    (request,) = read(*[piece] * (MAX_REQUEST // len(piece)))
    assert request.code == 2


@given(
    key=st.sampled_from(["k", "devicekey"]),
    data=st.text(st.characters(exclude_categories=["Cs"])),
    topics=st.lists(st.from_regex(r"[A-Za-z0-9_/-]{1,31}", fullmatch=True), max_size=4),
    ascii_only=st.booleans(),
    end=st.sampled_from([b"\n\n", b"\r\r"]),
)
def test_json_carries_any_text(key: str, data: str, topics: list[str], ascii_only: bool, end: bytes) -> None:
    """Whatever text and topics a client encodes as JSON come out as they went in."""
    names = ("k", "d", "t") if key == "k" else ("devicekey", "data", "tags")
    value = dict(zip(names, ("abcd1234", data, topics), strict=True))
    request = one(json.dumps(value, ensure_ascii=ascii_only).encode() + end)
    assert judge(request, ACCOUNTS, NOW)[0] == 0
    assert request.data == data.encode()
    assert request.topics == tuple(topics)


@given(
    start=st.sampled_from(
        [b"", b"{", b"[", b"S", b"C", b"Sabcd1234+1555 ", b"C8901 59 287082 ", b'{"k":"abcd1234",']
    ),
    pieces=st.lists(st.binary(max_size=40) | st.sampled_from([b"\n\n", b"\r\r", b"\0", b"T", b"B", b" "])),
)
def test_random_bytes_never_raise(start: bytes, pieces: list[bytes]) -> None:
    """Random bytes make no request or one with a documented code, however they are cut."""
    requests = read(start, *pieces)
    assert requests == read(start + b"".join(pieces)) if start or any(pieces) else requests == []
    for request in requests:
        assert judge(request, ACCOUNTS, NOW)[0] in {0, 2, 3, 4, 5, 7, 8}
