"""The bytes of the reports that wait for the broker, kept beside them."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.store.salvage import salvage
from tests.store.box import Box


def kept(box: Box) -> int:
    """Return the sum as it was added up, and hold it against the rows."""
    counted: int = box.database.execute("report_bytes").fetchone()[0]
    assert box.outbox.ledger.report_bytes == counted
    return counted


def report(box: Box, payload: bytes, topic: str = "t", properties: str | None = None) -> None:
    with box:
        box.outbox.reports.add(topic, payload, properties)


def test_reports_count_until_the_broker_has_them(box: Box) -> None:
    """Payload, topic and properties count; what the broker has does not, however often it says so."""
    assert kept(box) == 0
    report(box, b"12345", "hologram/in", '{"user": []}')
    report(box, b"", "é")
    assert kept(box) == 5 + 11 + 12 + 1
    with box:
        box.outbox.reports.sent([1, 1, 99])
    assert kept(box) == 1
    box.reopen()
    assert kept(box) == 1


def test_a_transaction_that_failed_counts_nothing(box: Box) -> None:
    """What is rolled back leaves the sum as it was."""
    report(box, b"1234")
    box.database.begin()
    box.outbox.reports.add("t", b"x" * 100)
    box.outbox.reports.sent([1])
    box.outbox.flush()
    box.database.rollback()
    box.outbox.reset()
    assert kept(box) == 5


def test_a_store_that_knows_no_sum_yet_is_added_up_once(box: Box) -> None:
    """A store that an earlier version wrote: the sum is right from the first opening on."""
    report(box, b"1234")
    box.database.close()
    with sqlite3.connect(box.path) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'report_bytes'")
    connection.close()
    box.open()
    assert kept(box) == 5
    report(box, b"1234")
    box.reopen()
    assert kept(box) == 10


def test_a_recovered_store_is_added_up_anew(box: Box, tmp_path: Path) -> None:
    """The sum that was in the damaged file may be wrong: the rows that were saved count."""
    report(box, b"1234")
    box.database.close()
    with sqlite3.connect(box.path) as connection:
        connection.execute("UPDATE meta SET value = 12345 WHERE key = 'report_bytes'")
    connection.close()
    recovered = Box(tmp_path / "recovered.db")
    assert salvage(box.path, recovered.database)["report"] == 1
    recovered.reopen()
    assert kept(recovered) == 5
    recovered.database.close()
    box.open()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=40), st.text(max_size=8), st.booleans()), max_size=12))
def test_the_sum_is_that_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, given_: list[tuple[bytes, str, bool]]
) -> None:
    """Whatever comes and goes, the sum says what an adding up would."""
    box = Box(tmp_path_factory.mktemp("sum") / "o.db")
    for number, (payload, words, sent) in enumerate(given_, 1):
        report(box, payload, "hologram/in", words.replace("\0", "") or None)
        if sent:
            with box:
                box.outbox.reports.sent([number])
        kept(box)
    box.database.close()
