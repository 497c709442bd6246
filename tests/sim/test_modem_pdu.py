"""The simulated modem's own PDU code, held against other people's."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import gsm0338  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smspdudecoder.easy import read_incoming_sms  # type: ignore[import-untyped]  # it has no types

from bridge.sim.modem import air
from bridge.sim.modem.pdu import gsm7, tpdu

AT = datetime(2026, 11, 21, 8, 30, 59, tzinfo=UTC)
codecs = gsm0338.Codec()
ALPHABET = [sign for sign in map(chr, range(0x2100)) if gsm7.septets(sign)]


def test_the_alphabet_is_that_of_the_standard() -> None:
    """All 137 characters, with the codes that an independent codec gives them; no others."""
    assert len(ALPHABET) == 127 + 10
    for sign in ALPHABET:
        codes = gsm7.septets(sign)
        assert codes is not None
        assert bytes(codes[0]) == codecs.encode(sign)[0], sign
        assert gsm7.text_of(list(codes[0])) == sign


@given(st.lists(st.integers(0, 127), max_size=160), st.integers(0, 6))
def test_what_is_packed_unpacks(codes: list[int], fill: int) -> None:
    """Any septets, after any fill bits."""
    assert gsm7.unpack(gsm7.pack(codes, fill), len(codes), fill) == codes


@pytest.mark.parametrize(
    ("sender", "text"),
    [
        ("+15551234567", "Hello, world"),
        ("12345", "[é£ñ€] ^{}~\\|"),
        ("Hologram", "from a name"),
        ("+447700900123", "Привет, мир 🌍"),
        ("+1", "x" * 160),
    ],
)
def test_a_text_that_comes_in_reads_as_it_was_given(sender: str, text: str) -> None:
    """An independent decoder reads sender, time and text out of it."""
    [pdu] = air.parts(sender, text, AT, reference=1, wide=False)
    read = read_incoming_sms(pdu.hex().upper())
    assert read["content"] == text
    assert read["sender"].removeprefix("+") == sender.removeprefix("+")
    assert read["date"] == AT


@given(st.text(st.sampled_from("ab[€^é ñ"), min_size=1, max_size=900), st.booleans())
def test_a_long_text_is_cut_and_nothing_is_lost(text: str, wide: bool) -> None:
    """The parts, read by an independent decoder, give the text; no escape is torn from its character."""
    made = air.parts("+15551234567", text, AT, reference=7, wide=wide)
    read = [read_incoming_sms(pdu.hex().upper()) for pdu in made]
    # This decoder reads the seven bits that fill up the last octet as one more character, code 0: "@".
    assert "".join(each["content"].removesuffix("@") for each in read) == text
    if len(made) > 1:
        assert [each["partial"]["part_number"] for each in read] == list(range(1, len(made) + 1))
        assert {each["partial"]["reference"] for each in read} == {f"7-{len(made)}"}


@pytest.mark.parametrize(("count", "parts"), [(70, 1), (71, 2), (134, 2), (135, 3)])
def test_a_text_beyond_the_alphabet_takes_70_and_67(count: int, parts: int) -> None:
    """UCS-2: 70 characters, 67 in a part."""
    assert len(air.parts("+1", "ж" * count, AT, reference=0, wide=False)) == parts


@pytest.mark.parametrize(("count", "parts"), [(160, 1), (161, 2), (306, 2), (307, 3)])
def test_a_text_of_the_alphabet_takes_160_and_153(count: int, parts: int) -> None:
    """GSM: 160 septets, 153 in a part; with 16-bit references 152."""
    assert len(air.parts("+1", "x" * count, AT, reference=0, wide=False)) == parts
    assert len(air.parts("+1", "x" * 305, AT, reference=0, wide=True)) == 3


def test_no_part_tears_a_character_of_two_units() -> None:
    """A surrogate pair stays in one part, so that each can be shown alone."""
    for pdu in air.parts("+1", "a" + "🌍" * 100, AT, reference=0, wide=False):
        assert len(pdu) <= len(tpdu.SMSC) + 160
        read_incoming_sms(pdu.hex().upper())["content"].encode("utf-8")


def test_a_time_zone_west_of_greenwich_is_told() -> None:
    """The zone is in quarters of an hour with a sign."""
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(-timedelta(hours=3, minutes=30)))
    [pdu] = air.parts("+1", "x", at, reference=0, wide=False)
    assert read_incoming_sms(pdu.hex().upper())["date"] == at


def test_a_submit_is_read() -> None:
    """The example of many a manual: 'hellohello' to +46708251358, no validity, no service centre."""
    read = tpdu.read_submit(bytes.fromhex("0011000B916407281553F80000AA0AE8329BFD4697D9EC37"))
    assert (read.to, read.text, read.validity, read.report, read.length) == (
        "+46708251358",
        "hellohello",
        "aa",
        False,
        23,
    )


def test_a_part_of_a_submit_tells_its_place() -> None:
    """Header and text are told apart, in septets that begin after fill bits."""
    body = air.Concatenation(0x1234, 3, 2, wide=True).header()
    units = [code for codes in gsm7.septets("part[2]") or () for code in codes]
    packed = body + gsm7.pack(units, -len(body) * 8 % 7)
    length = (len(body) * 8 + 6) // 7 + len(units)
    pdu = bytes.fromhex("0061000B916407281553F80000") + bytes([length]) + packed
    read = tpdu.read_submit(pdu)
    assert read.text == "part[2]"
    assert read.report
    assert air.concatenation(read.udh) == air.Concatenation(0x1234, 3, 2, wide=True)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_submit_or_are_refused(data: bytes) -> None:
    """Nothing but `BadPdu` comes of bytes that are none."""
    with contextlib.suppress(tpdu.BadPdu):
        tpdu.read_submit(data)


def test_a_status_report_names_the_message_and_the_recipient() -> None:
    """SMS-STATUS-REPORT: type 2, the reference, the address, both times, the status."""
    pdu = tpdu.status_report(17, "+15551234567", AT, AT, 0x41)
    assert pdu.hex() == ("07912160130300f406110b915155214365f7621112800395006211128003950041")
