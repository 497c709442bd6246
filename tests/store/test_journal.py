"""Opening and closing a store as a whole."""

from pathlib import Path

import pytest

from bridge.errors import StoreError, StoreInUse
from bridge.store.journal import Journal
from bridge.store.outbox import Limits
from tests.doubles.time import MovableTime
from tests.store.box import message


def open_journal(path: Path) -> Journal:
    return Journal.open(path, Limits(), MovableTime())


def test_a_store_is_one_process_at_a_time(tmp_path: Path) -> None:
    """While it is open nobody else opens it; what was written is there for the next, and so is the room."""
    path = tmp_path / "o.db"
    time = MovableTime()
    with Journal.open(path, Limits(), time) as journal:
        with pytest.raises(StoreInUse):
            open_journal(path)
        journal.writer.append(lambda: journal.outbox.accept(message("1")))
        time.pass_()
    assert path.with_name("o.db.reserve").exists()
    with open_journal(path) as journal:
        assert journal.outbox.ledger.messages == 1


def test_one_that_cannot_be_opened_is_left_to_others(tmp_path: Path) -> None:
    """The lock goes with the failure: the next try has the same reason, not that somebody uses it."""
    (tmp_path / "o.db").mkdir()
    for _ in range(2):
        with pytest.raises(StoreError, match="folder") as error:
            open_journal(tmp_path / "o.db")
        assert not isinstance(error.value, StoreInUse)


def test_one_whose_disk_failed_holds_no_room(tmp_path: Path) -> None:
    """It is touched no more than closing needs."""
    journal = open_journal(tmp_path / "o.db")
    (tmp_path / "o.db.reserve").unlink(missing_ok=True)
    journal.close(reserve=False)
    assert not (tmp_path / "o.db.reserve").exists()
    open_journal(tmp_path / "o.db").close()
