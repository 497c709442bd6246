"""Command lines, faults and orders as they are typed."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import UsageError
from bridge.sim.modem.faults import NAMES, Fault, Losses, parse_fault
from bridge.sim.modem.orders import read_order
from bridge.sim.modem.port.line import Command, Kind, parse


def test_a_line_of_both_syntaxes_is_taken_apart() -> None:
    """Basic commands follow each other at once, extended ones end at a semicolon outside of quotes."""
    assert parse('ATE0V1&C1S0=0+CMEE=2;+CPIN="1;2";^ICCID?;+CSQ;+CREG=?') == [
        Command("E", Kind.RUN, ("0",), "0"),
        Command("V", Kind.RUN, ("1",), "1"),
        Command("&C", Kind.RUN, ("1",), "1"),
        Command("S0", Kind.SET, ("0",), "0"),
        Command("+CMEE", Kind.SET, ("2",), "2"),
        Command("+CPIN", Kind.SET, ("1;2",), '"1;2"'),
        Command("^ICCID", Kind.READ, (), ""),
        Command("+CSQ", Kind.RUN, (), ""),
        Command("+CREG", Kind.TEST, (), ""),
    ]


def test_quotes_come_off_and_keep_commas_and_spaces() -> None:
    """An argument in quotes is taken as it is; an empty one stays where it is."""
    [command] = parse('at+upsd=0, 1 ,"my, apn",,"') or []
    assert (command.name, command.args) == ("+UPSD", ("0", "1", "my, apn", "", ""))


def test_a_dial_string_takes_the_rest() -> None:
    """Nothing after ATD is a command."""
    assert parse("ATE0DT*99***1#;+CSQ") == [
        Command("E", Kind.RUN, ("0",), "0"),
        Command("D", Kind.RUN, (), "T*99***1#;+CSQ"),
    ]


def test_noise_before_a_command_is_skipped_and_alone_is_nothing() -> None:
    """What stands before AT does not count; a line without AT gets no answer."""
    assert parse("\x00\xff~}AT+CSQ") == [Command("+CSQ", Kind.RUN)]
    assert parse("\x00\xff~}") is None
    assert parse("AT") == []


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_any_line_is_read_or_refused(text: str) -> None:
    """No line raises anything but what says that it is no command."""
    with contextlib.suppress(ValueError):
        parse("AT" + text)


def test_a_fault_is_read_with_its_argument_and_its_time() -> None:
    """Every name is taken; a number, a link and a later begin may follow."""
    for name in NAMES:
        assert parse_fault(f"{name}:3").name == name
    assert parse_fault("vanish:2.5,/tmp/other@7") == Fault("vanish", 2.5, "/tmp/other", 7.0)
    assert parse_fault("hang") == Fault("hang")


@pytest.mark.parametrize(
    "text",
    ["", "no", "hang:", "hang:x", "lost", "lost:0", "lost:1.5", "slow", "hang:1,b", "hang@-1", "slow:nan"],
)
def test_a_fault_that_cannot_be_is_refused(text: str) -> None:
    """The error names what was given."""
    with pytest.raises(UsageError, match="is not allowed"):
        parse_fault(text)


@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_every_nth_byte_is_lost_however_it_is_cut(parts: list[bytes], every: int) -> None:
    """Loss counts over all that is sent."""
    losses = Losses()
    losses.every = every
    whole = b"".join(parts)
    kept = b"".join(losses.left(part) for part in parts)
    assert kept == bytes(each for at, each in enumerate(whole, start=1) if at % every)


def test_an_order_is_typed_in_words_or_as_json() -> None:
    """Numbers are numbers but where a text is meant."""
    assert read_order("sms from=+15551234567 text='hello there' wide=true") == {
        "do": "sms",
        "from": "+15551234567",
        "text": "hello there",
        "wide": True,
    }
    assert read_order("signal rssi=12") == {"do": "signal", "rssi": 12}
    assert read_order("sms from=123 text=42") == {"do": "sms", "from": "123", "text": "42"}
    assert read_order('{"do": "state"}') == {"do": "state"}
    for wrong in ("", "signal 12", "{", "sms text='a"):
        with pytest.raises(UsageError):
            read_order(wrong)
