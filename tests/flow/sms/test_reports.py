"""The JSON of a received SMS."""

import base64
import json

from bridge.flow.sms.reports import text_fields, to_json, unreadable_fields
from bridge.protocol.sms.received import Deliver
from bridge.protocol.sms.segments import Alphabet
from bridge.protocol.sms.text import GAP, UserData

NOW = 1_700_000_000.0
"""2023-11-14T22:13:20Z."""


def part(
    text: str, *, sender: str = "+15551234567", sent_at: float | None = NOW - 60.0, language: int = 0
) -> Deliver:
    """Return a part of an SMS with a text."""
    data = UserData(Alphabet.UCS2, text.encode("utf-16-be"), locking=language)
    return Deliver(sender, sent_at, data, None, flash=False)


def binary(*data: bytes) -> dict[int, Deliver]:
    """Return the parts of an SMS with data."""
    parts = (Deliver("", None, UserData(Alphabet.DATA, each), None, flash=False) for each in data)
    return dict(enumerate(parts, 1))


def test_an_sms_has_the_fields_of_the_contract() -> None:
    """Sender, text and both times."""
    assert text_fields("m1", {1: part("héllo")}, 1, NOW) == {
        "id": "m1",
        "from": "+15551234567",
        "body": "héllo",
        "received_at": "2023-11-14T22:13:20.000Z",
        "sent_at": "2023-11-14T22:12:20.000Z",
        "parts": 1,
    }


def test_what_is_unknown_is_null() -> None:
    """The sender may have no number, and the stamp may be no time."""
    fields = text_fields("m1", {1: part("x", sender="", sent_at=None)}, 1, NOW)
    assert (fields["from"], fields["sent_at"]) == (None, None)


def test_a_gap_is_marked() -> None:
    """The parts are in their places; sender and time are the first part's."""
    fields = text_fields("m1", {3: part("end"), 1: part("begin ", sent_at=NOW)}, 3, NOW)
    assert (fields["body"], fields["parts"]) == (f"begin {GAP}end", 3)
    assert fields["sent_at"] == "2023-11-14T22:13:20.000Z"


def test_data_is_base64() -> None:
    """The data of all parts is joined in order; the body is null."""
    fields = text_fields("m1", binary(b"\xff\x00", b"\x01"), 2, NOW)
    assert base64.b64decode(fields["data_base64"]) == b"\xff\x00\x01"
    assert (fields["body"], "3 bytes" in fields["error"]) == (None, True)


def test_an_unknown_language_is_said() -> None:
    """The text is published all the same."""
    fields = text_fields("m1", {1: part("x", language=99)}, 1, NOW)
    assert (fields["body"], "language" in fields["error"]) == ("x", True)


def test_an_unreadable_pdu_is_published_as_it_is() -> None:
    """A person may be able to read it."""
    fields = unreadable_fields("m1", "07FF", "it ends too soon", NOW)
    assert (fields["pdu"], fields["error"], fields["body"], fields["parts"]) == (
        "07FF",
        "it ends too soon",
        None,
        1,
    )


def test_a_lone_half_of_a_pair_does_not_stop_the_report() -> None:
    """JSON carries it as an escape."""
    assert json.loads(to_json({"body": "\ud83d"}))["body"] in ("\ud83d", "\\ud83d")
