"""DNS queries and answers as bytes, and the hosts file."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.dns import Answer, hosts, query, read

ASKED = query(0x1234, "cloud.example")
QUESTION = ASKED[12:]


def record(kind: int, data: bytes, name: bytes = b"\xc0\x0c") -> bytes:
    return name + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


def answer(*records: bytes, number: int = 0x1234, flags: int = 0x8180, question: bytes = QUESTION) -> bytes:
    return struct.pack("!HHHHHH", number, flags, 1, len(records), 0, 0) + question + b"".join(records)


FIRST, SECOND = record(1, bytes([198, 51, 100, 7])), record(1, bytes([198, 51, 100, 8]))
ALIAS = record(5, b"\5other\xc0\x12")
OF_ALIAS = record(1, bytes([198, 51, 100, 9]), b"\5other\xc0\x12")


def test_a_query_is_the_bytes_of_the_standard() -> None:
    """One question for an address, recursion desired [RFC 1035, section 4.1]."""
    assert bytes.fromhex("123401000001000000000000") + b"\5cloud\7example\0\0\1\0\1" == ASKED
    assert query(1, "cloud.example.")[2:] == query(2, "cloud.example")[2:]
    assert b"\x0fxn--mnchen-3ya-\0" not in query(1, "münchen.example")
    assert b"xn--mnchen-3ya" in query(1, "münchen.example")


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    """It is an error before anything is sent."""
    with pytest.raises(UnicodeError):
        query(1, name)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (answer(FIRST), Answer(0, ("198.51.100.7",))),
        (answer(FIRST, SECOND, FIRST), Answer(0, ("198.51.100.7", "198.51.100.8"))),
        (answer(ALIAS, OF_ALIAS), Answer(0, ("198.51.100.9",))),
        (answer(FIRST) + b"more", Answer(0, ("198.51.100.7",))),
        (
            answer(FIRST, question=QUESTION.upper().replace(b"\7EXAMPLE", b"\7Example")),
            Answer(0, ("198.51.100.7",)),
        ),
        (answer(record(28, bytes(16))), Answer(0)),
        (answer(), Answer(0)),
        (answer(flags=0x8183), Answer(3)),
        (answer(flags=0x8182), Answer(2)),
        (answer(FIRST, number=0x1235), None),
        (answer(FIRST, flags=0x0100), None),
        (answer(FIRST, question=query(1, "other.example")[12:]), None),
        (b"", None),
        (ASKED, None),
    ],
)
def test_an_answer_is_read(data: bytes, found: Answer | None) -> None:
    """Addresses in their order, each once; what answers another query is none."""
    assert read(data, ASKED) == found


def test_an_answer_that_is_cut_anywhere_is_none() -> None:
    """No byte of it may be missing."""
    whole = answer(ALIAS, OF_ALIAS)
    assert [read(whole[:end], ASKED) for end in range(12, len(whole))] == [None] * (len(whole) - 12)


@given(st.binary(max_size=80))
def test_nothing_in_an_answer_breaks_the_reader(data: bytes) -> None:
    """Anybody may send it."""
    read(answer()[:12] + data, ASKED)
    read(data, ASKED)
    read(struct.pack("!HHHHHH", 0x1234, 0x8180, 1, 9, 0, 0) + QUESTION + data, ASKED)


def test_the_hosts_file_counts() -> None:
    """Any of a line's names, in any case, without comments and other families."""
    text = "127.0.0.1 localhost\n198.51.100.7\tCloud.example cloud # mine\n::1 cloud\n# 1.2.3.4 cloud\nbad\n"
    assert hosts(text, "cloud") == hosts(text, "cloud.EXAMPLE.") == ("198.51.100.7",)
    assert hosts(text, "mine") == hosts("", "cloud") == ()
