"""Signed commands: what a right line is, and that nothing near it is one."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.protocol.remote import (
    AHEAD,
    MAX_COUNTER,
    Refusal,
    Signed,
    check_counter,
    derive,
    is_command,
    read,
    sign,
)

KEY = "correct horse battery staple"
COUNTER = 1_764_532_800_000

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=24, max_size=60)
commands = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=60)
counters = st.integers(1, MAX_COUNTER)
EXAMPLE = sign(KEY, COUNTER, "set network.apn=hologram").encode()


def test_a_line_is_written_as_the_contract_says() -> None:
    """Prefix, counter, command, and 16 characters of the lower-case base32 of HMAC-SHA256."""
    signed = b"hb1 1764532800000 status"
    mac = base64.b32encode(hmac.new(KEY.encode(), signed, hashlib.sha256).digest())[:16].lower()
    assert sign(KEY, COUNTER, "status").encode() == signed + b" " + mac
    assert sign(KEY, COUNTER, "status") == "hb1 1764532800000 status pmqq5cchdyskcn2x"


@given(keys, counters, commands)
def test_what_was_signed_is_read(key: str, counter: int, command: str) -> None:
    """With the counter and the text of it."""
    line = sign(key, counter, command).encode()
    assert is_command(line)
    assert read(line, key) == Signed(counter, command)


def test_a_command_and_its_argument_part_at_the_first_space() -> None:
    """A value may hold spaces."""
    signed = read(sign(KEY, 1, "set log.level=a b").encode(), KEY)
    assert isinstance(signed, Signed)
    assert (signed.command, signed.argument) == ("set", "log.level=a b")


@given(keys, keys, counters, commands)
def test_a_line_for_one_box_is_none_for_another(key: str, other: str, counter: int, command: str) -> None:
    """Each box has its own key."""
    assume(key.encode() != other.encode())
    assert read(sign(key, counter, command).encode(), other) is Refusal.WRONG_MAC


@pytest.mark.parametrize("at", range(len(EXAMPLE) + 1))
def test_no_byte_can_be_changed(at: int) -> None:
    """Each byte truncated, removed, doubled, put in, swapped with its neighbour, or another: all refused."""
    head, tail = EXAMPLE[:at], EXAMPLE[at:]
    mutants = {head, tail, head + tail[1:], head + tail[:1] + tail, head + tail[1:2] + tail[:1] + tail[2:]}
    mutants |= {head + bytes((byte,)) + tail for byte in range(256)}
    mutants |= {head + bytes((byte,)) + tail[1:] for byte in range(256)}
    mutants.discard(EXAMPLE)
    assert [mutant for mutant in mutants if not isinstance(read(mutant, KEY), Refusal)] == []


@given(st.binary(max_size=200))
def test_what_is_not_signed_is_refused(data: bytes) -> None:
    """Whatever the bytes."""
    assert isinstance(read(data, KEY), Refusal)
    assert isinstance(read(b"hb1 " + data, KEY), Refusal)


@given(st.data(), keys, counters, commands)
def test_mutations_of_any_line_are_refused(data: st.DataObject, key: str, counter: int, command: str) -> None:
    """Pieces of two right lines put together are no right line."""
    one, other = (sign(key, each, command).encode() for each in (counter, counter % MAX_COUNTER + 1))
    mixed = one[: data.draw(st.integers(0, len(one)))] + other[data.draw(st.integers(0, len(other))) :]
    assume(mixed not in (one, other))
    assert isinstance(read(mixed, key), Refusal)


@pytest.mark.parametrize(
    "counter", ["0", "01", "+1", "-1", "1_0", "1.0", "1e3", " 1", "٣", str(MAX_COUNTER + 1), "9" * 17, ""]
)
def test_a_counter_has_one_form(counter: str) -> None:
    """Digits without a leading zero, up to 2^53 - 1; a right MAC does not make another one good."""
    signed = f"hb1 {counter} status".encode()
    mac = base64.b32encode(hmac.digest(KEY.encode(), signed, "sha256"))[:16].lower()
    assert read(signed + b" " + mac, KEY) is Refusal.MALFORMED


def test_a_command_that_is_not_utf8_is_refused() -> None:
    """Although its MAC is right."""
    signed = b"hb1 1 \xff"
    mac = base64.b32encode(hmac.digest(KEY.encode(), signed, "sha256"))[:16].lower()
    assert read(signed + b" " + mac, KEY) is Refusal.MALFORMED


@pytest.mark.parametrize("case", [b"HB1 1 status", b"hb2 1 status", b" hb1 ", b"hb1", b"", b"hb1\t1 status"])
def test_an_ordinary_message_is_no_command(case: bytes) -> None:
    """Only the four bytes make one."""
    assert not is_command(case)


def test_the_counter_only_grows() -> None:
    """What was used up is old; a clock that is right bounds it, one that may be wrong does not."""
    assert check_counter(5, 5, None) is Refusal.OLD
    assert check_counter(4, 5, None) is Refusal.OLD
    assert check_counter(6, 5, None) is None
    assert check_counter(MAX_COUNTER, 5, None) is None
    assert check_counter(COUNTER + AHEAD, 5, COUNTER / 1000) is None
    assert check_counter(COUNTER + AHEAD + 1, 5, COUNTER / 1000) is Refusal.AHEAD


@pytest.mark.parametrize("command", ["", " status", "status ", "status\n", "sta\ntus", "st\x00atus"])
def test_what_is_no_command_is_not_signed(command: str) -> None:
    """A line end would cut it, white space at its end does not survive an SMS."""
    with pytest.raises(ValueError, match="one line"):
        sign(KEY, 1, command)


@pytest.mark.parametrize("counter", [0, -1, MAX_COUNTER + 1])
def test_a_counter_out_of_range_is_not_signed(counter: int) -> None:
    """No box would take it."""
    with pytest.raises(ValueError, match="counter"):
        sign(KEY, counter, "status")


@given(st.binary(min_size=1, max_size=80), st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_each_name_has_a_key_of_its_own(master: bytes, name: str, other: str) -> None:
    """52 characters, the same each time."""
    assume(name != other)
    assume("\ud800" not in name + other)
    key = derive(master, name)
    assert (len(key), key, key) == (52, key.lower(), derive(master, name))
    assert key != derive(master, other)
