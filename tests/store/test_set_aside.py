"""What could not be passed on: kept durably, within bounds."""

from pathlib import Path

import pytest

from bridge.flow.message import set_aside
from bridge.store.database import Database
from bridge.store.outbox import Limits
from bridge.store.salvage import salvage
from bridge.store.set_aside import KEPT, Kind
from tests.store.box import NOON, Box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "outbox.db", limits=Limits(max_bytes=100_000))


def put(box: Box, *payloads: bytes) -> list[tuple[int, int]]:
    """Have each payload reported, and set it aside."""
    found = []
    for payload in payloads:
        box.database.begin()
        box.outbox.reports.add("hologram/in", payload, '["properties"]', retain=True)
        (report,) = box.outbox.reports.after(0, 1)
        found.append(box.outbox.set_report_aside(report.seq, "too large"))
        box.outbox.flush()
        box.database.commit()
    return found


def test_a_report_moves(box: Box) -> None:
    """It is no report any more, keeps all that it was, and outlives the process."""
    ((number, gone),) = put(box, b"\x00payload")
    box.reopen()
    assert box.outbox.reports.after(0, 10) == []
    assert box.outbox.ledger.report_bytes == 0
    row = box.outbox.set_aside.get(number)
    assert row is not None
    assert (row.kind, row.topic, row.payload, row.properties, row.retain, row.reason, row.at, gone) == (
        Kind.REPORT, "hologram/in", b"\x00payload", '["properties"]', True, "too large", NOON, 0,
    )  # fmt: skip
    assert (box.outbox.set_aside.rows, box.outbox.set_aside.bytes) == (1, row.size)


def test_one_transaction(box: Box) -> None:
    """Where it fails the report is still there, and the figures are as before."""
    box.database.begin()
    box.outbox.reports.add("hologram/in", b"x")
    box.outbox.flush()
    box.database.commit()
    (report,) = box.outbox.reports.after(0, 1)
    box.database.begin()
    box.outbox.set_report_aside(report.seq, "why")
    box.database.rollback()
    box.outbox.reset()
    assert box.outbox.reports.after(0, 10) == [report]
    assert box.outbox.set_aside.rows == 0
    assert box.outbox.set_report_aside(report.seq + 1, "it is gone") == (0, 0)


def test_it_goes_back(box: Box) -> None:
    """As it was, as a report; what was delivered cannot be tried again."""
    ((number, _),) = put(box, b"x")
    delivery, _ = box.outbox.set_delivery_aside("a\ud800", b"y", "unreadable \udcff", "sensor")
    assert not box.outbox.try_again(delivery)
    assert box.outbox.try_again(number)
    (report,) = box.outbox.reports.after(0, 10)
    assert report[1:] == ("hologram/in", b"x", '["properties"]', True)
    (entry,) = box.outbox.set_aside.entries(10)
    assert (entry.id, entry.kind, entry.topic, entry.bytes) == (delivery, Kind.DELIVERY, "a\\ud800", 1)
    assert delivery not in (number, 0)
    assert set_aside.shown(box.outbox, delivery)["reason"] == "unreadable \\udcff"


def test_numbers_are_not_given_twice(box: Box) -> None:
    """Not even that of the newest, once it was dropped."""
    ((first, _),) = put(box, b"x")
    assert box.outbox.set_aside.drop(first)
    assert not box.outbox.set_aside.drop(first)
    box.reopen()
    ((second, _),) = put(box, b"x")
    assert second > first


def test_the_oldest_go(box: Box) -> None:
    """A tenth of the outbox's bytes, and so many rows; the newest stays whatever its size."""
    put(box, b"a" * 5000, b"b" * 4000)
    ((_, gone),) = put(box, b"c" * 4000)
    assert gone == 1
    assert [entry.bytes for entry in box.outbox.set_aside.entries(10)] == [4000, 4000]
    ((_, gone),) = put(box, b"d" * 50_000)
    assert (gone, box.outbox.set_aside.rows) == (2, 1)
    put(box, b"e")
    for _ in range(KEPT + 10):
        box.outbox.set_delivery_aside("", b"", "")
    assert box.outbox.set_aside.rows == KEPT


def test_it_counts_for_what_may_wait(box: Box) -> None:
    """What is set aside takes from the room for what comes in."""
    put(box, b"d" * 100_000)
    assert box.outbox.reports_full
    box.outbox.set_aside.drop(box.outbox.set_aside.ids()[0])
    assert not box.outbox.reports_full


def test_a_repair_keeps_it(box: Box, tmp_path: Path) -> None:
    """The table is read from a damaged file like the others."""
    ((number, _),) = put(box, b"x")
    box.database.close()
    repaired = Database(tmp_path / "repaired.db")
    salvage(box.path, repaired)
    assert repaired.execute("aside_get", (number,)).fetchone()[2] == b"x"
