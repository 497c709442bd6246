"""Answers of the cloud, however they arrive, and what users see of each code."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core.exchange import Outcome
from bridge.core.messages import State, Traffic
from bridge.core.retry import Kind, decide
from bridge.flow.message.codecs import CloudAccess, CloudSmsCodec, read_cloud
from bridge.protocol.cloud import DeviceKey, read_answer
from bridge.protocol.cloud_codes import describe
from bridge.sim import wire

CODES = range(9)
VALID = [wire.answer("json", code) for code in CODES] + [wire.answer("sms", code) for code in CODES]
LOOSE = [b"[ 0 , 0 ]", b"[0, 0]\r\n", b" [6,0]\n", b"00\n", b"\n30"]
answers = st.sampled_from(VALID + LOOSE)


def code_of(answer: bytes) -> int:
    return int(answer.strip(b"[ \n\r")[:1])


def outcome(answer: bytes = b"", *, error: str | None = None, written: bool = True) -> Outcome:
    return Outcome(True, written, bool(answer), answer, True, error, Traffic())


@pytest.mark.parametrize("answer", VALID + LOOSE)
def test_a_whole_answer_is_read(answer: bytes) -> None:
    """Each code is read from the JSON and the compact form, with or without white space."""
    assert read_answer(answer) == (code_of(answer), False)


@given(answers)
def test_a_prefix_is_never_garbled(answer: bytes) -> None:
    """Byte by byte an answer is incomplete until its code is there, and from then on it stays the same."""
    known = None
    for length in range(len(answer) + 1):
        code, garbled = read_answer(answer[:length])
        assert not garbled
        assert code in (known, code_of(answer))
        known = code
    assert known == code_of(answer)


@given(answers, st.text(" \r\n\t", max_size=5).map(str.encode))
def test_trailing_white_space_changes_nothing(answer: bytes, space: bytes) -> None:
    """Line ends after the answer are no part of it."""
    assert read_answer(answer + space) == (code_of(answer), False)


@given(answers, st.binary(min_size=1, max_size=20))
def test_other_trailing_bytes_never_change_the_code(answer: bytes, rest: bytes) -> None:
    """What follows may make an answer unclear, but it never makes it another code."""
    code, garbled = read_answer(answer + rest)
    assert code == code_of(answer) or (code is None and garbled)


@given(st.binary(max_size=64) | st.text("[]0123456789, \n", max_size=12).map(str.encode))
@example(b"[9999,0]")
@example(b"\xff" * 65536)
@example(b"[" * 70000)
@example(b" " * 70000)
def test_random_bytes_never_raise(received: bytes) -> None:
    """Whatever comes is a code, unclear, or not enough; a code and unclear exclude each other."""
    code, garbled = read_answer(received)
    assert code is None or (0 <= code <= 999 and not garbled)


@pytest.mark.parametrize(
    "received", [b"x", b"[x", b"[0;0]", b"[0,0]x", b"HTTP/1.1 400", b"0x", b"[-1,0]", b"[]", b"\0", b"5 "]
)
def test_garbage_is_unclear_at_once(received: bytes) -> None:
    """Bytes that no continuation makes an answer need not be waited out."""
    assert read_answer(received) == (None, True)


RETRY = None
SEEN_BY_USERS = [
    (0, State.DELIVERED, "ERR_OK"),
    (1, RETRY, "ERR_CONNCLOSED"),
    (2, State.REJECTED, "ERR_MSGINVALID"),
    (3, RETRY, "ERR_AUTHINVALID"),
    (4, State.REJECTED, "ERR_PAYLOADINVALID"),
    (5, State.REJECTED, "ERR_PROTINVALID"),
    (6, RETRY, "ERR_INTERNAL"),
    (7, State.REJECTED, "ERR_METADATA"),
    (8, State.REJECTED, "ERR_TOPICINVALID"),
    (42, RETRY, "unknown code 42"),
]


@pytest.mark.parametrize(("code", "decision", "words"), SEEN_BY_USERS)
def test_every_code_ends_as_documented(code: int, decision: State | None, words: str) -> None:
    """Each documented code, and one that is not, leads to its state, its code and its name in the result."""
    reading = read_cloud(outcome(b"[%d,0]" % code))
    assert decide(reading, 1, None) == decision
    assert reading.code == code
    assert words in reading.description
    assert describe(code) == reading.description


@pytest.mark.parametrize("answer", [b"", b"[0", b"0", b"[0,0]garbage", b"<html>"])
def test_without_a_clear_answer_a_message_is_sent_again(answer: bytes) -> None:
    """Nothing, half an answer and garbage are all retried, and said in words."""
    reading = read_cloud(outcome(answer))
    assert (reading.kind, reading.code) == (Kind.UNANSWERED, None)
    assert decide(reading, 5, None) == RETRY
    assert reading.description


@pytest.mark.parametrize(
    ("answer", "written", "kind"),
    [
        (b"00", True, Kind.ACCEPTED),
        (b"10", True, Kind.DOUBTFUL),
        (b"20", True, Kind.REFUSED),
        (b"30", True, Kind.HELD),
        (b"40", True, Kind.REFUSED),
        (b"50", True, Kind.REFUSED),
        (b"60", True, Kind.DOUBTFUL),
        (b"70", True, Kind.REFUSED),
        (b"80", True, Kind.REFUSED),
        (b"", True, Kind.DOUBTFUL),
        (b"?", True, Kind.DOUBTFUL),
        (b"", False, Kind.UNREACHED),
    ],
)
def test_an_sms_is_sent_again_only_if_no_byte_was_written(answer: bytes, written: bool, kind: Kind) -> None:
    """Any doubt about an SMS that may have left is final; a clear code counts as for messages."""
    codec = CloudSmsCodec(lambda: CloudAccess("h", 1, 5.0, DeviceKey("abcd1234")))
    assert codec.decode(outcome(answer, written=written)).kind is kind
