"""Opening a store: versions, locks, and what is left of a damaged file."""

import contextlib
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bridge.core.messages import CLOUD, CLOUD_SMS, Lane, Priority
from bridge.errors import StoreDamaged, StoreError, StoreInUse
from bridge.store.database import MIGRATIONS, PAGE, Database, Lock, load_queries
from bridge.store.disk import write_error
from bridge.store.files import CHECKED_SIZE, mark_suspect, open_store
from bridge.store.reserve import Reserve
from tests.store.box import DAY, NOON, Box, Clock, message


def queue(path: Path, number: int = 2000) -> None:
    """Leave a store with ``number`` messages in seven lanes."""
    box = Box(path)
    with box:
        for count in range(number):
            box.outbox.accept(message(f"m{count}", topic=f"t{count % 7}", payload=b"x" * 200))
            box.outbox.reports.add("hologram/result", b"r%d" % count)
    box.database.close()


def damage(path: Path, pages: range) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(os.urandom(PAGE))


def consistent(box: Box) -> None:
    """Check that lanes and sums agree with the messages, and that every message can be sent."""
    everything = box.all()
    assert box.outbox.ledger.messages == len(everything)
    assert box.outbox.ledger.bytes == sum(len(queued.payload) for queued in everything)
    sent = []
    for _ in range(len(everything)):
        heads = box.outbox.heads(CLOUD, 1000, ())
        if not heads:
            break
        with box:
            for queued in heads:
                box.outbox.remove(queued)
        sent += [queued.id for queued in heads]
    assert sorted(sent) == sorted(queued.id for queued in everything)
    assert box.lanes() == 0


def test_a_new_store_has_the_newest_version(tmp_path: Path) -> None:
    """The schema is made by its migrations, and opening again changes nothing."""
    for _ in range(2):
        database = open_store(tmp_path / "o.db")
        assert database._run("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
        database.close()


def test_it_is_as_durable_as_sqlite_gets(tmp_path: Path) -> None:
    """WAL and `synchronous=FULL`: what was committed survives a power cut."""
    database = open_store(tmp_path / "o.db")
    assert database._run("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert database._run("PRAGMA synchronous").fetchone()[0] == 2
    assert (tmp_path / "o.db").stat().st_mode & 0o777 == 0o640
    database.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A store of a later version is left alone, in words that say what to do."""
    path = tmp_path / "o.db"
    queue(path, 3)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(StoreError, match="newer version") as caught:
        open_store(path)
    assert not isinstance(caught.value, StoreDamaged)
    assert "install" in str(caught.value)
    assert caught.value.exit_code == 78, "systemd need not try again and again"
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM message").fetchone()[0] == 3
    connection.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second daemon on the same store is refused until the first has let go."""
    first = Lock(tmp_path / "o.db")
    with pytest.raises(StoreInUse, match="another hologram-bridge"):
        Lock(tmp_path / "o.db")
    first.release()
    Lock(tmp_path / "o.db").release()


def test_a_place_that_does_not_serve_is_said_plainly(tmp_path: Path) -> None:
    """A file where the folder should be, and a folder where the file should be, end in one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"store\.path"):
        Lock(tmp_path / "file" / "o.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError):
        open_store(tmp_path / "folder")


def test_statements_are_found_by_name() -> None:
    """A file of queries is split at its headings; comments between statements belong to none."""
    text = "-- about\n-- name: one\nSELECT 1;\n\n-- a remark\n-- name: two\nSELECT\n2;\n"
    assert load_queries(text) == {"one": "SELECT 1", "two": "SELECT\n2"}


def test_damage_inside_the_file_costs_what_was_damaged_and_no_more(tmp_path: Path) -> None:
    """Of a file with broken pages all that is readable comes back, and the rest of the bridge works on."""
    path = tmp_path / "o.db"
    queue(path)
    damage(path, range(40, 44))
    box = Box(path)
    kept = len(box.ids())
    assert kept >= 1800, f"4 pages of some 20 messages each were broken, {2000 - kept} messages are gone"
    assert len(box.outbox.reports.after(0, 10_000)) >= 1700
    consistent(box)
    box.database.close()


def test_messages_keep_their_time_where_the_boots_are_lost(tmp_path: Path) -> None:
    """Each row tells by how much its boot's clock led, so that nothing is taken for older than it is."""
    path = tmp_path / "o.db"
    box = Box(path)
    box.put(message("1", lifetime=DAY))
    box.reopen(boot="boot-2", clock=Clock(NOON + 7200, 5.0))
    box.put(message("2", idempotent=True, lifetime=60.0))
    box.database.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM boot")
    with path.open("r+b") as file:
        file.write(b"\0" * 16)
    box = Box(path, boot="boot-3", clock=Clock(NOON + 7230, 5.0))
    assert [queued.queued_at - NOON for queued in box.all()] == [pytest.approx(0.0), pytest.approx(7200.0)]
    assert box.due() == []
    box.clock.pass_(31.0)
    assert box.due() == ["2"]
    box.database.close()


def test_a_broken_header_does_not_take_the_messages_with_it(tmp_path: Path) -> None:
    """Where only the first page's header is lost, the messages behind it are still found."""
    path = tmp_path / "o.db"
    queue(path)
    with path.open("r+b") as file:
        file.write(b"\0" * 16)
    box = Box(path)
    assert len(box.ids()) >= 1900
    box.database.close()


def test_half_a_file_gives_half_the_messages(tmp_path: Path) -> None:
    """A file that was cut off gives what lies before the cut."""
    path = tmp_path / "o.db"
    queue(path)
    size = path.stat().st_size
    os.truncate(path, size // 2 // PAGE * PAGE)
    box = Box(path)
    assert len(box.ids()) >= 500
    consistent(box)
    box.database.close()


@pytest.mark.parametrize("content", [b"this is no database" * 300, os.urandom(20_000), b"\0" * 8192])
def test_a_file_that_is_no_database_is_kept_and_replaced(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The bridge starts with an empty outbox, keeps the file beside it, and says so loudly."""
    path = tmp_path / "o.db"
    path.write_bytes(content)
    box = Box(path)
    assert box.put(message("1")).dropped == ()
    (kept,) = [item for item in tmp_path.glob("o.db.damaged-*") if item.suffix not in {"-wal", "-shm"}]
    assert kept.read_bytes() == content
    assert "THE OUTBOX WAS DAMAGED" in caplog.text
    assert str(kept) in caplog.text
    box.reopen()
    assert box.ids() == ["1"]
    assert not list(tmp_path.glob("*.recovered*"))
    box.database.close()


def test_nothing_holds_a_damaged_file_open(tmp_path: Path) -> None:
    """When opening fails the file is let go, so that the sqlite3 tool may read it."""
    path = tmp_path / "o.db"
    queue(path)
    damage(path, range(40, 44))
    with pytest.raises(StoreDamaged) as caught:
        Database(path, check=True)
    held = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert path not in held
    assert caught.value


def test_messages_whose_lane_is_lost_get_one(tmp_path: Path) -> None:
    """After a recovery lanes, heads and sums are made to agree with the messages that are there."""
    box = Box(tmp_path / "o.db")
    for number in range(10):
        box.put(message(f"m{number}", topic=f"t{number % 2}"))
    box.put(message("sms", topic="+15551234567", endpoint=CLOUD_SMS, payload=b"hi"))
    run = box.database._run
    run("DELETE FROM lane WHERE names = '[\"t0\"]'")
    run("UPDATE lane SET head = 999, not_before = 1e12 WHERE names = '[\"t1\"]'")
    run("INSERT INTO lane (endpoint, names, priority, head) VALUES ('cloud', '[\"empty\"]', 1, 5)")
    run("UPDATE sums SET value = json_set(value, '$.depth[0][2]', 77)")
    with box:
        box.database.rebuild()
    box.reopen()
    assert (box.outbox.ledger.messages, box.lanes()) == (11, 3)
    (sms,) = box.outbox.heads(CLOUD_SMS, 10, ())
    assert sms.lane == Lane(CLOUD_SMS, ("+15551234567",), Priority.NORMAL)
    with box:
        box.outbox.remove(sms)
    consistent(box)
    box.database.close()


def test_a_suspect_file_is_read_through_at_the_next_start(tmp_path: Path) -> None:
    """A file too large to be checked each time is checked once after it gave cause."""
    path = tmp_path / "o.db"
    box = Box(path)
    with box:
        for _ in range(CHECKED_SIZE // 1_000_000 + 2):
            box.outbox.accept(message(payload=b"x" * 1_000_000))
    last = box.database._run("SELECT rootpage FROM sqlite_schema WHERE name = 'message_lane'").fetchone()[0]
    box.database.close()
    assert path.stat().st_size > CHECKED_SIZE
    damage(path, range(last - 1, last))
    open_store(path).close()
    assert not list(tmp_path.glob("*.damaged-*"))
    mark_suspect(path)
    open_store(path).close()
    assert list(tmp_path.glob("*.damaged-*"))
    assert not list(tmp_path.glob("*.suspect"))


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "link to a pipe", "link to itself"])
def test_what_is_no_file_is_named(tmp_path: Path, kind: str) -> None:
    """Opening a pipe would wait for ever: whatever stands in the outbox's place ends in one line."""
    path = tmp_path / "o.db"
    with contextlib.ExitStack() as stack:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
        elif kind == "folder":
            path.mkdir()
        elif kind == "link to a pipe":
            os.mkfifo(tmp_path / "pipe")
            path.symlink_to(tmp_path / "pipe")
        else:
            path.symlink_to(path)
        with pytest.raises(StoreError, match=r"store\.path: \S+ (is|cannot)"):
            open_store(path)


def test_a_link_to_the_outbox_leads_to_it(tmp_path: Path) -> None:
    """A repair, too, acts where the file is: SQLite keeps its log there."""
    (tmp_path / "disk").mkdir()
    path = tmp_path / "o.db"
    path.symlink_to(tmp_path / "disk" / "real.db")
    queue(path, 300)
    damage(path, range(30, 32))
    box = Box(path)
    assert len(box.ids()) > 200
    box.database.close()
    assert path.is_symlink()
    assert list((tmp_path / "disk").glob("real.db.damaged-*"))


@pytest.mark.parametrize("suffix", ["reserve", "suspect", "lock", "repairing", "repairing.copy", "probe"])
@pytest.mark.parametrize("kind", ["file", "nothing", "pipe"])
def test_no_link_beside_it_is_followed(tmp_path: Path, suffix: str, kind: str) -> None:
    """Whoever may write in the folder cannot have another file overwritten by us."""
    path, other = tmp_path / "o.db", tmp_path / "other"
    queue(path, 300)
    damage(path, range(30, 32))
    if kind == "file":
        other.write_text("not ours")
    elif kind == "pipe":
        os.mkfifo(other)
    path.with_name(f"o.db.{suffix}").symlink_to(other)
    with contextlib.suppress(StoreError):  # the lock cannot be another's
        lock = Lock(path)
        mark_suspect(path)
        assert write_error(path) is None
        Box(path).database.close()
        assert Reserve(path, PAGE).hold()
        lock.release()
    assert other.read_text() == "not ours" if kind == "file" else other.exists() == (kind == "pipe")
