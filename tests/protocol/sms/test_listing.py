"""What a modem says of its store of texts, as modems write it and as they do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.sms.listing import (
    Entry,
    Store,
    read_list,
    read_notice,
    read_one,
    read_pushed,
    read_reference,
    read_store,
)

BARE = "040B915155214365F700006211218003510005E8329BFD06"
SIZE = len(BARE) // 2
PDU = "07912160130300F4" + BARE


def test_received_texts_are_listed() -> None:
    """Unread and read ones with their index; what somebody stored to send is left out."""
    lines = [
        f"+CMGL: 1,0,,{SIZE}", PDU,
        f'+CMGL:2,1,"",{SIZE}', PDU.lower(),
        f"+CMGL: 3,2,,{SIZE}", PDU,
        f"+CMGL: 4,3,,{SIZE}", PDU,
        f"+CMGL: 12,1,{SIZE}", PDU,
    ]  # fmt: skip
    whole = [Entry(1, PDU, True), Entry(2, PDU.lower(), True), Entry(12, PDU, True)]
    assert read_list(lines) == whole
    assert read_one(7, [f"+CMGR: 1,,{SIZE}", PDU]) == Entry(7, PDU, True)


def test_the_length_tells_whether_bytes_were_lost() -> None:
    """It counts without the service centre's address; where that is left out an empty one takes its place."""
    assert read_list([f"+CMGL: 1,0,,{SIZE}", PDU[:-1]]) == [Entry(1, PDU[:-1], False)]
    assert read_list([f"+CMGL: 1,0,,{SIZE - 1}", PDU]) == [Entry(1, PDU, False)]
    assert read_list([f"+CMGL: 1,0,,{SIZE}", BARE]) == [Entry(1, "00" + BARE, True)]
    assert read_list(["+CMGL: 1,0,,5", "A"]) == [Entry(1, "A", False)]


def test_lines_that_belong_to_nothing_are_passed_over() -> None:
    """A head without its PDU, a PDU without its head, and other lines disturb no neighbour."""
    lines = [PDU, "+CMGL: 1,0,,9", f"+CMGL: 2,0,,{SIZE}", "^RSSI: 19", PDU, PDU, "+CMGL: x"]
    assert read_list(lines) == [Entry(2, PDU, True)]
    assert read_one(1, ["+CSQ: 9,99"]) is None
    assert read_list([]) == []


def test_store_and_reference_are_read() -> None:
    """How full the store is, and the reference of a text that went out."""
    assert read_store(['+CPMS: "SM",2,25,"SM",2,25,"ME",0,99']) == Store("SM", 2, 25)
    assert read_store(["+CPMS: 2,25"]) is None
    assert read_reference(["+CMGS: 41"]) == 41
    assert read_reference(["+CMGS:7,0891"]) == 7
    assert read_reference([]) is None


@pytest.mark.parametrize(
    ("line", "store"),
    [
        ('+CMTI: "ME",3', "ME"),
        ('+CMTI:"sm",0', "SM"),
        ('+CDSI: "SR",1', "SR"),
        ('^SMMEMFULL: "SM"', "SM"),
        ('+QIND: "SMSFULL","ME"', "ME"),
        ('+QIND: "csq",31,99', None),
        ("+CMT: ,24", None),
        ("+CMTI", None),
        ("", None),
    ],
)
def test_codes_name_the_store_that_changed(line: str, store: str | None) -> None:
    """New texts, new reports and full stores are told with the store's name, in several makers' ways."""
    assert read_notice(line) == store


def test_a_code_may_bring_the_text_itself() -> None:
    """The PDU is the line after it; without one there is nothing to take."""
    assert read_pushed("+CMT: ,24", PDU.encode() + b"\r\n") == PDU
    assert read_pushed('+CMT: "",24', PDU.encode()) == PDU
    assert read_pushed("+CDS: 25", PDU.encode()) == PDU
    assert read_pushed("+CMT: ,24", b"") is None
    assert read_pushed('+CMTI: "ME",1', PDU.encode()) is None
    assert read_pushed('+CDSI: "SR",1', PDU.encode()) is None


LINES = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(["+CMGL: 1,0,,24", PDU, "+CMGR: 1,,24", '+CPMS: "ME",1,2', "+CMGS: 3"]),
        st.from_regex(r"\+(CMGL|CMGR|CPMS|CMGS|CMTI): ?[0-9,\"A-F]{0,30}"),
    ),
    max_size=8,
)


@given(LINES, st.binary(max_size=40))
def test_any_lines_are_read(lines: list[str], data: bytes) -> None:
    """Nothing that a modem says makes the reading fail."""
    read_list(lines)
    read_one(1, lines)
    read_store(lines)
    read_reference(lines)
    for line in lines:
        read_notice(line)
        read_pushed(line, data)


def test_a_number_of_thousands_of_digits_is_no_number() -> None:
    """Garbage can look like a very long number."""
    lines = [f"+CMGL: {'9' * 5000},0,,24", PDU, f"+CMGS: {'9' * 5000}", f'+CPMS: "ME",{"9" * 5000},1']
    assert read_list(lines) == []
    assert read_store(lines) is None
