"""A store that the version before has left: ``version_2.sql`` is what that version itself wrote."""

import contextlib
import sqlite3
from pathlib import Path

from bridge.store.outbox import Verdict
from tests.store.box import Box, message


def test_a_store_of_the_version_before_sends_what_it_held(tmp_path: Path) -> None:
    """Messages in their order and priority, a report with its properties, and the ids that were taken."""
    path = tmp_path / "outbox.db"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(Path(__file__).with_name("version_2.sql").read_text())
    box = Box(path)
    assert box.ids() == ["m1", "m2", "m3", "m4", "m5"]
    assert box.heads() == ["m5", "m1", "m2"], "the oldest of each lane, the best priority first"
    (report,) = box.outbox.reports_after(0, 10)
    assert (report.topic, report.properties) == ("hologram/result", '[null, [["a", "b"]]]')
    assert box.put(message("m4", idempotent=True)).verdict is Verdict.KNOWN
    for name in box.ids():
        box.finish(name)
    assert (box.ids(), box.lanes(), box.outbox.ledger.messages) == ([], 0, 0)
    assert box.database.columns("set_aside"), "it is of the new version now"
    box.database.close()
