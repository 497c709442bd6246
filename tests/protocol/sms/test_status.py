"""What status reports and error lines of the modem mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.sms.errors import Blame, judge
from bridge.protocol.sms.status import Fate, describe


@pytest.mark.parametrize(
    ("status", "fate", "text"),
    [
        (0x00, Fate.DELIVERED, "delivered"),
        (0x01, Fate.UNCONFIRMED, "handed on; whether it was delivered cannot be known"),
        (0x1F, Fate.UNCONFIRMED, "status 31"),
        (0x20, Fate.PENDING, "still trying: congestion"),
        (0x3F, Fate.PENDING, "still trying: status 63"),
        (0x43, Fate.FAILED, "failed for good: not obtainable"),
        (0x46, Fate.FAILED, "failed for good: its validity period expired"),
        (0x61, Fate.FAILED, "failed, and not tried again: the recipient is busy"),
        (0x65, Fate.FAILED, "failed, and not tried again: error in the recipient's device"),
        (0xFF, Fate.FAILED, "failed, and not tried again: status 255"),
    ],
)
def test_a_status_is_a_fate_and_its_reason(status: int, fate: Fate, text: str) -> None:
    """Every octet means delivered, unknown, pending or failed, with the reason that the standard names."""
    assert describe(status) == (fate, text)


@given(st.integers(0, 255))
def test_only_a_pending_status_has_others_after_it(status: int) -> None:
    """A report is awaited further exactly while the service centre still tries."""
    assert describe(status).final is not (0x20 <= status < 0x40)


@pytest.mark.parametrize(
    ("line", "blame", "code"),
    [
        ("+CMS ERROR: 1", Blame.MESSAGE, 1),
        ("+CMS ERROR: 21", Blame.MESSAGE, 21),
        ("+CMS ERROR: 28", Blame.MESSAGE, 28),
        ("+CMS ERROR: 38", Blame.MODEM, 38),
        ("+CMS ERROR: 42", Blame.MOMENT, 42),
        ("+CMS ERROR: 195", Blame.MESSAGE, 195),
        ("+CMS ERROR: 197", Blame.NOBODY_KNOWS, 197),
        ("+CMS ERROR: 200", Blame.MOMENT, 200),
        ("+CMS ERROR: 304", Blame.MESSAGE, 304),
        ("+CMS ERROR: 310", Blame.MODEM, 310),
        ("+CMS ERROR: 331", Blame.MODEM, 331),
        ("+CMS ERROR: 332", Blame.NOBODY_KNOWS, 332),
        ("+CMS ERROR: 500", Blame.NOBODY_KNOWS, 500),
        ("+CMS ERROR: 513", Blame.NOBODY_KNOWS, 513),
        ("+CMS ERROR: No network service", Blame.MODEM, 331),
        ("+CMS ERROR: SIM not inserted", Blame.MODEM, 310),
        ("+CMS ERROR: gibberish", Blame.NOBODY_KNOWS, None),
        (f"+CMS ERROR: {'9' * 5000}", Blame.NOBODY_KNOWS, None),
        ("+CMS ERROR : 28", Blame.MESSAGE, 28),
        ("+cms error: 331", Blame.MODEM, 331),
        ("+CME ERROR: 9", Blame.NOBODY_KNOWS, None),
        *((f"+CME ERROR: {code}", Blame.MODEM, None) for code in range(10, 19)),
        ("+CME ERROR: 19", Blame.NOBODY_KNOWS, None),
        ("+CME ERROR: 30", Blame.NOBODY_KNOWS, None),
        ("+CME ERROR: 258", Blame.NOBODY_KNOWS, None),
        ("+CME ERROR: no network service", Blame.NOBODY_KNOWS, None),
        ("+CME ERROR: SIM not inserted", Blame.MODEM, None),
        ("+CME ERROR:  sim busy", Blame.MODEM, None),
        ("ERROR", Blame.NOBODY_KNOWS, None),
        ("", Blame.NOBODY_KNOWS, None),
    ],
)
def test_an_error_line_says_what_may_be_tried(line: str, blame: Blame, code: int | None) -> None:
    """Numbers and words are sorted by whose fault it was; what leaves open whether it went out is a doubt."""
    judgement = judge(line)
    assert (judgement.blame, judgement.code) == (blame, code)


def test_an_error_is_told_with_its_number_and_its_words() -> None:
    """A person reads what the number means; a number that nobody named stays alone."""
    assert judge("+CMS ERROR: 42").text == "+CMS ERROR: 42 (congestion)"
    assert judge("+CMS ERROR: congestion").text == "+CMS ERROR: 42 (congestion)"
    assert judge("+CMS ERROR: 201").text == "+CMS ERROR: 201"


@given(st.text(max_size=60))
def test_any_line_is_judged(line: str) -> None:
    """No answer of a modem makes the judge fail."""
    judge(line)
    judge(f"+CMS ERROR: {line}")
