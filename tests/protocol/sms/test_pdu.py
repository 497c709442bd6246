"""PDUs both ways: the standard's fields, two other implementations, and bytes that are no PDU.

The other implementations are the package smspdudecoder and the simulated modem, which shares nothing with
the bridge.
"""

import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smspdudecoder.easy import (  # type: ignore[import-untyped]  # it ships no types
    read_incoming_sms,
    read_outgoing_sms,
)

from bridge.errors import BadPdu
from bridge.protocol.sms.alphabet import DEFAULT, pack
from bridge.protocol.sms.header import Place
from bridge.protocol.sms.received import Deliver, StatusReport, decode
from bridge.protocol.sms.segments import Alphabet
from bridge.protocol.sms.submit import Pdu, submit
from bridge.protocol.sms.text import GAP, UserData, join, join_with_gaps
from bridge.sim.modem import air
from bridge.sim.modem.pdu import tpdu

TO = "+15551234567"
AT = datetime(2026, 11, 21, 8, 30, 15, tzinfo=UTC)
LETTERS = DEFAULT.replace("\x1b", "") + "€[]{}^~\\|"
PHRASES = st.one_of(
    st.text(alphabet=LETTERS, max_size=600),
    st.text(max_size=300),
    st.text(alphabet="a😀你𝄞é€", max_size=300),
)


def delivered(octets: bytes | str) -> Deliver:
    found = decode(octets.hex() if isinstance(octets, bytes) else octets)
    assert isinstance(found, Deliver)
    return found


def joined(pdus: list[bytes]) -> str:
    """Read the parts of a text in any order, as they are joined after all have come."""
    parts = [delivered(pdu) for pdu in pdus]
    if len(parts) == 1:
        return join([parts[0].data])
    ordered = sorted(parts, key=lambda part: part.place or Place(0, False, 0, 0))
    assert [part.place and part.place.number for part in ordered] == list(range(1, len(parts) + 1))
    return join(part.data for part in ordered)


def agrees(other: str, text: str) -> bool:
    """Compare with smspdudecoder, which lacks the form feed and reads zero bits of filling as an ``@``."""
    return "\f" in text or other.rstrip("@") == text.rstrip("@")


def raw(
    user_data: str, *, first: int = 0x04, coding: int = 0x00, length: int, oa: str = "0b915155214365f7"
) -> str:
    """Return an SMS-DELIVER with an empty service centre and the given fields, in hexadecimal."""
    return f"00{first:02x}{oa}00{coding:02x}62112180035100{length:02x}{user_data}"


# -- sending ---------------------------------------------------------------------------------------------


def test_a_short_text_is_one_pdu_of_known_bytes() -> None:
    """Type, reference, number, identifier, coding, length and packed text, behind an empty service centre."""
    assert submit(TO, "hellohello") == [Pdu(22, "0001000B915155214365F700000AE8329BFD4697D9EC37")]
    assert submit("+123456", "é", status_report=True) == [Pdu(11, "0021000691214365000001" + "05")]


@given(PHRASES, st.integers(0, 255), st.booleans())
def test_any_text_is_read_by_others(text: str, reference: int, report: bool) -> None:
    """Two other readers find recipient, header and text in what is sent, with the length that is said."""
    pdus = submit(TO, text, reference=reference, status_report=report)
    read = [tpdu.read_submit(bytes.fromhex(pdu.hex)) for pdu in pdus]
    assert "".join(each.text or "" for each in read) == text
    for number, (each, pdu) in enumerate(zip(read, pdus, strict=True), 1):
        assert (each.to, each.report, each.length, each.reference) == (TO, report, pdu.length, 0)
        place = air.concatenation(each.udh)
        assert place == (None if len(pdus) == 1 else (reference, len(pdus), number, False))
        other: dict[str, Any] = read_outgoing_sms(pdu.hex)
        assert other["recipient"] == TO
        assert agrees(other["content"], each.text or "")


# -- receiving -------------------------------------------------------------------------------------------


@given(PHRASES, st.integers(0, 255), st.booleans(), st.randoms())
def test_any_text_is_received_as_another_sent_it(
    text: str, reference: int, wide: bool, chance: random.Random
) -> None:
    """Parts of 8-bit and 16-bit references, in any order, make the text; other readers agree on each part."""
    pdus = air.parts(TO, text, AT, reference=reference, wide=wide)
    chance.shuffle(pdus)
    assert joined(pdus) == text
    for pdu in pdus:
        found = delivered(pdu)
        assert (found.sender, found.sent_at, found.flash) == (TO, AT.timestamp(), False)
        assert found.place is None or found.place[:3] == (reference, wide, len(pdus))
        other: dict[str, Any] = read_incoming_sms(pdu.hex())
        assert (other["sender"], other["date"]) == (TO, AT)
        assert agrees(other["content"], join([found.data]))


def test_a_real_delivery_is_read() -> None:
    """A PDU of a real network: sender, time and text."""
    found = delivered("07911326040000F0040B911346610089F60000208062917314080CC8F71D14969741F977FD07")
    assert found.sender == "+31641600986"
    assert found.sent_at == datetime(2002, 8, 26, 19, 37, 41, tzinfo=UTC).timestamp()
    assert join([found.data]) == "How are you?"


@pytest.mark.parametrize(
    ("address", "sender"),
    [
        ("0b915155214365f7", "+15551234567"),
        ("0a815155214365", "1555123456"),
        ("0ba15155214365f7", "15551234567"),
        ("05815155f1", "15551"),
        ("04812a43", "*234"),
        ("14d0c4f23c7d760390ef7619", "Design@Home"),
        ("00d0", ""),
        ("0081", ""),
    ],
)
def test_senders_are_numbers_or_names(address: str, sender: str) -> None:
    """International numbers have a plus, national ones do not; names are in the 7-bit alphabet."""
    found = delivered(raw("e8329bfd06", length=5, oa=address))
    assert (found.sender, join([found.data])) == (sender, "hello")


@given(st.integers(0, 3_000_000_000), st.integers(-48, 56))
def test_the_zone_of_a_stamp_is_counted(seconds: int, quarters: int) -> None:
    """A stamp is local time and quarters of an hour; what comes out is the moment."""
    zone = timezone(timedelta(minutes=15 * quarters))
    at = datetime(1991, 1, 1, tzinfo=zone) + timedelta(seconds=seconds)
    (pdu,) = air.parts(TO, "x", at, reference=0, wide=False)
    assert delivered(pdu).sent_at == at.timestamp()


@pytest.mark.parametrize("stamp", ["00000000000000", "ffffffffffffff", "62312280035100", "62112142035100"])
def test_a_stamp_that_is_no_time_is_unknown(stamp: str) -> None:
    """A text with a senseless time stamp is a text without one."""
    found = delivered(raw("e8329bfd06", length=5).replace("62112180035100", stamp))
    assert found.sent_at is None
    assert join([found.data]) == "hello"


@pytest.mark.parametrize(
    ("coding", "alphabet", "flash"),
    [
        (0x00, Alphabet.GSM7, False),
        (0x04, Alphabet.DATA, False),
        (0x08, Alphabet.UCS2, False),
        (0x0C, Alphabet.GSM7, False),
        (0x10, Alphabet.GSM7, True),
        (0x11, Alphabet.GSM7, False),
        (0x18, Alphabet.UCS2, True),
        (0x40, Alphabet.GSM7, False),
        (0x80, Alphabet.GSM7, False),
        (0xC8, Alphabet.GSM7, False),
        (0xD0, Alphabet.GSM7, False),
        (0xE0, Alphabet.UCS2, False),
        (0xF0, Alphabet.GSM7, True),
        (0xF4, Alphabet.DATA, True),
        (0xF6, Alphabet.DATA, False),
    ],
)
def test_the_coding_says_alphabet_and_class(coding: int, alphabet: Alphabet, flash: bool) -> None:
    """Every group of codings has its alphabet; class 0 is a flash text."""
    found = delivered(raw("00410042", coding=coding, length=4))
    assert (found.data.alphabet, found.flash) == (alphabet, flash)
    if alphabet is Alphabet.UCS2:
        assert join([found.data]) == "AB"


def test_elements_that_are_not_known_are_passed_over() -> None:
    """Ports and others stand before and behind the place of a part, and do not disturb it."""
    header = "05040b8423f0" + "0003070201" + "0804beef0301"
    user_data = f"{len(header) // 2:02x}{header}" + "hi".encode("utf-16-be").hex()
    found = delivered(raw(user_data, first=0x44, coding=0x08, length=len(user_data) // 2))
    assert join([found.data]) == "hi"
    assert found.place == (0xBEEF, True, 3, 1)  # the last one counts


@pytest.mark.parametrize(
    "element", ["0003070200", "0003070203", "0003070000", "00020702", "0804beef0005", "00ff07"]
)
def test_a_place_that_cannot_be_makes_a_text_of_its_own(element: str) -> None:
    """Part 0, part 3 of 2, and elements that are too short or too long are as if they were not there."""
    user_data = f"{len(element) // 2:02x}{element}" + "hi".encode("utf-16-be").hex()
    found = delivered(raw(user_data, first=0x44, coding=0x08, length=len(user_data) // 2))
    assert found.place is None
    assert join([found.data]) == "hi"


@pytest.mark.parametrize(
    ("element", "text", "legible"), [("240101", "İ", True), ("250101", "I", True), ("25010a", "I", False)]
)
def test_a_header_names_the_language(element: str, text: str, legible: bool) -> None:
    """A shift table that a header names is used for what follows; that of an unknown language is missed."""
    header = bytes.fromhex(f"03{element}")
    body = pack(b"\x1bI", fill=3)  # 4 octets end 3 bits before a septet does
    found = delivered(raw((header + body).hex(), first=0x44, length=5 + 2))
    assert join([found.data]) == text
    assert found.data.legible is legible


def test_a_pair_that_a_sender_cut_is_whole_again() -> None:
    """Senders cut within a surrogate pair or an escaped letter; joined parts read as if they had not."""
    emoji = "😀".encode("utf-16-be")
    assert join([UserData(Alphabet.UCS2, emoji[:2]), UserData(Alphabet.UCS2, emoji[2:])]) == "😀"
    assert join([UserData(Alphabet.GSM7, b"a\x1b"), UserData(Alphabet.GSM7, b"eb")]) == "a€b"
    assert join([UserData(Alphabet.UCS2, emoji[:2]), UserData(Alphabet.GSM7, b"b")]) == "\ufffdb"


def test_parts_that_never_came_leave_a_mark() -> None:
    """One mark for each gap, at the ends too, however many parts it has."""
    part = {number: UserData(Alphabet.GSM7, bytes((0x60 + number,))) for number in range(1, 7)}
    assert join_with_gaps(part, 6) == "abcdef"
    assert join_with_gaps({number: part[number] for number in (2, 3, 6)}, 7) == f"{GAP}bc{GAP}f{GAP}"
    assert join_with_gaps({1: part[1]}, 3) == f"a{GAP}"
    assert join_with_gaps({3: part[3]}, 3) == f"{GAP}c"


def test_data_that_is_text_is_text_and_other_data_is_not() -> None:
    """8-bit data is read as UTF-8 where that makes printable text."""
    assert join([UserData(Alphabet.DATA, "grün\n".encode())]) == "grün\n"
    for data in (b"\xff\xfe", b"a\0b"):
        with pytest.raises(BadPdu, match=f"{len(data)} bytes of data, not text"):
            join([UserData(Alphabet.DATA, data)])


@given(st.integers(0, 255), st.integers(0, 255))
def test_a_status_report_is_read(reference: int, status: int) -> None:
    """Reference, recipient and status come out as another wrote them."""
    done = AT + timedelta(seconds=9)
    found = decode(tpdu.status_report(reference, TO, AT, done, status).hex())
    assert found == StatusReport(reference, TO, status)


# -- what is no PDU --------------------------------------------------------------------------------------

WHOLE = [
    air.parts(TO, "hello " * 40, AT, reference=7, wide=True)[0],
    air.parts("Design@Home", "😀" * 60, AT, reference=7, wide=False)[0],
    tpdu.status_report(7, TO, AT, AT, 0),
]


@pytest.mark.parametrize("pdu", WHOLE)
def test_every_beginning_of_a_pdu_is_refused(pdu: bytes) -> None:
    """A PDU that lost its end is no PDU, wherever it was cut; bytes behind its end do not matter."""
    for end in range(len(pdu)):
        with pytest.raises(BadPdu):
            decode(pdu[:end].hex())
    assert decode(pdu.hex()) == decode(pdu.hex() + "ffff")


@given(st.sampled_from(WHOLE), st.data())
def test_changed_bytes_raise_only_our_error(pdu: bytes, data: st.DataObject) -> None:
    """Whatever a byte becomes, the PDU is read or refused."""
    spoilt = bytearray(pdu)
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, len(pdu) - 1))] = data.draw(st.integers(0, 255))
    read(spoilt.hex())


@given(st.one_of(st.binary(max_size=200).map(bytes.hex), st.text(max_size=60)))
def test_anything_raises_only_our_error(pdu: str) -> None:
    """Random bytes and random words are read or refused."""
    read(pdu)


@given(st.binary(min_size=1, max_size=180), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_any_user_data_raises_only_our_error(data: bytes, first: int, coding: int, length: int) -> None:
    """Whatever header and length stand behind a good beginning, the PDU is read or refused."""
    read(raw(data.hex(), first=first & 0x44 | 0x40, coding=coding, length=length))


def read(pdu: str) -> None:
    try:
        found = decode(pdu)
        if isinstance(found, Deliver):
            join_with_gaps({1: found.data}, 3)
    except BadPdu:
        return


@pytest.mark.parametrize(
    ("pdu", "reason"),
    [
        ("", "ends within the service centre's address"),
        ("zz", "not hexadecimal"),
        ("abc", "not hexadecimal"),
        ("0001000B915155214365F700000AE8329BFD4697D9EC37", "neither a received text nor a status report"),
        (raw("e8329bfd06", coding=0x20, length=5), "compressed"),
        (raw("e8329bfd06", length=50), "ends within its text"),
        (raw("ff329bfd06", first=0x44, length=5), "header is longer"),
    ],
)
def test_the_error_says_what_is_wrong(pdu: str, reason: str) -> None:
    """One line says why a PDU cannot be read."""
    with pytest.raises(BadPdu, match=reason):
        decode(pdu)
