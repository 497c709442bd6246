"""Setting aside: entries are kept, listed, and dropped or tried again."""

import base64

import pytest

from bridge.errors import OperationError
from bridge.flow.message.set_aside import Asides, change, changed, listing, shown
from tests.doubles.heart import Heart


@pytest.fixture
def asides(heart: Heart) -> Asides:
    """A report is set aside, and a delivery, as earlier versions did."""
    found = Asides(heart.outbox, heart.writer)
    said: list[str] = []
    found.on_problem = said.append
    heart.write(lambda: heart.outbox.reports.add("hologram/in", b"\xff", None))
    found.report(heart.reports()[0], "the broker refuses it")
    heart.turn()
    heart.write(
        lambda: heart.outbox.set_delivery_aside("hologram/out/a", b"xy", "too many properties", "user")
    )
    assert [line.split(":")[0] for line in said] == ["the report on hologram/in (1 bytes) is set aside"]
    assert "--show 1" in said[0]
    return found


def test_what_is_set_aside_is_listed(heart: Heart, asides: Asides) -> None:
    """The oldest entry comes first, and a report does not wait for the broker any more."""
    entries = listing(heart.outbox, 10)["set_aside"]
    assert [(each["id"], each["kind"], each["bytes"]) for each in entries] == [
        (1, "report", 1),
        (2, "delivery", 2),
    ]
    assert entries[0]["at"].startswith("2023-11-14T22:13:20.")
    assert heart.reports() == []


def test_one_entry_is_shown_whole(heart: Heart, asides: Asides) -> None:
    """The payload is in base64, and the reason is there."""
    entry = shown(heart.outbox, 2)
    assert base64.b64decode(entry["payload_base64"]) == b"xy"
    assert (entry["reason"], entry["properties"]) == ("too many properties", "user")
    with pytest.raises(OperationError, match="queue set-aside"):
        shown(heart.outbox, 3)


def test_a_report_may_be_tried_again_and_a_delivery_may_not(heart: Heart, asides: Asides) -> None:
    """A retry of all entries leaves the deliveries; a retry of one delivery fails."""
    heart.write(change(heart.outbox, "retry", None))
    assert [(report.topic, report.payload) for report in heart.reports()] == [("hologram/in", b"\xff")]
    assert [each["id"] for each in listing(heart.outbox, 10)["set_aside"]] == [2]
    with pytest.raises(OperationError, match="a delivery cannot be tried again"):
        changed("retry", 2, change(heart.outbox, "retry", 2)())
    assert changed("retry", 1, 1) == {"tried_again": 1}


def test_an_entry_is_dropped_once(heart: Heart, asides: Asides) -> None:
    """Its number has no entry afterwards."""
    heart.write(change(heart.outbox, "drop", 1))
    assert [each["id"] for each in listing(heart.outbox, 10)["set_aside"]] == [2]
    with pytest.raises(OperationError):
        changed("drop", 1, change(heart.outbox, "drop", 1)())
    assert changed("drop", None, 0) == {"dropped": 0}


def test_a_report_that_is_gone_is_not_set_aside(heart: Heart) -> None:
    """The broker has taken it, so nothing is reported."""
    heart.write(lambda: heart.outbox.reports.add("hologram/in", b"x", None))
    (report,) = heart.reports()
    heart.write(lambda: heart.outbox.reports.sent([report.seq]))
    found = Asides(heart.outbox, heart.writer)
    said: list[str] = []
    found.on_problem = said.append
    found.report(report, "why")
    heart.turn()
    assert (said, listing(heart.outbox, 10)["set_aside"]) == ([], [])
