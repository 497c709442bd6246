"""Stores that earlier versions have left: ``version_n.sql`` is what version n itself wrote."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from bridge.core.messages import Traffic
from bridge.store.database import PAGE
from bridge.store.outbox import Verdict
from tests.store.box import NOON, Box, message


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_a_store_of_an_earlier_version_sends_what_it_held(tmp_path: Path, version: int) -> None:
    """Messages in their order and priority, a report with its properties, and the ids that were taken."""
    path = tmp_path / "outbox.db"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(Path(__file__).with_name(f"version_{version}.sql").read_text())
    box = Box(path)
    assert box.ids() == ["m1", "m2", "m3", "m4", "m5"]
    assert box.heads() == ["m5", "m1", "m2"], "the oldest of each lane, the best priority first"
    (report,) = box.outbox.reports.after(0, 10)
    assert (report.topic, report.properties) == ("hologram/result", '[null, [["a", "b"]]]')
    assert box.put(message("m4", idempotent=True)).verdict is Verdict.KNOWN
    if version >= 3:
        assert box.outbox.ledger.counts["delivered"] == 1
        assert box.outbox.ledger.spent(NOON)[0] == Traffic(300, 80)
    assert {(queued.at, queued.stamp) for queued in box.all()} == {(None, None)}
    for name in box.ids():
        box.finish(name)
    assert (box.ids(), box.lanes(), box.outbox.ledger.messages) == ([], 0, 0)
    assert box.outbox.set_aside.rows == 0
    (page_size,) = box.database._run("PRAGMA page_size").fetchone()
    assert page_size == PAGE, "and has the small pages"
    box.database.close()
