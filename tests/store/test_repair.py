"""A repair that is ended at any moment, by whatever: nothing is lost that it would have saved."""

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.errors import StoreFull
from bridge.store.database import PAGE
from bridge.store.files import note_failure, open_store
from bridge.store.repair import KEPT
from tests.harness.process import ROOT
from tests.harness.small_disk import small_disk
from tests.store.box import Box, message
from tests.store.test_files import damage, queue

STAMP = "20260102-030405"


def disturbed(folder: Path, times: int, *how: str) -> str:
    """Damage a store ``times`` times and disturb its repair; return what went wrong."""
    command = [sys.executable, "-m", "tests.store.damaging", str(folder), str(times), "0", *how]
    if how:
        command = [*small_disk(folder), *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_damages_whose_repair_is_killed(tmp_path: Path) -> None:
    """Of 30 random damages, repaired with kills and further damage, nothing more is lost than without."""
    assert disturbed(tmp_path, 30) == "done\n"


@pytest.mark.slow
def test_many_damages_whose_repair_is_killed(tmp_path: Path) -> None:
    """The same of 1,000."""
    assert disturbed(tmp_path, 1000) == "done\n"


def test_damages_whose_repair_finds_no_room(tmp_path: Path) -> None:
    """Nor where others fill the disk at a random moment of the repair."""
    assert disturbed(tmp_path, 15, "full") == "done\n"


@pytest.mark.slow
def test_many_damages_whose_repair_finds_no_room(tmp_path: Path) -> None:
    """The same of 300."""
    assert disturbed(tmp_path, 300, "full") == "done\n"


@pytest.mark.parametrize(
    "garbled",
    [
        "UPDATE report SET properties = 'no JSON'",
        "UPDATE report SET properties = CAST(x'5b6ec328' AS TEXT)",
        "UPDATE lane SET names = '{'",
        "UPDATE message SET id = CAST(x'ff41' AS TEXT) WHERE seq = 3",
        "INSERT OR REPLACE INTO meta VALUES ('command:x', '[1')",
    ],
)
def test_a_garbled_row_in_a_sound_page_is_mended(tmp_path: Path, garbled: str) -> None:
    """Whoever reads it fails; the next start finds it, and goes on with all that can be worked with."""
    path = tmp_path / "o.db"
    box = Box(path)
    for number in range(10):
        box.put(message(f"m{number}", topic="t"))
    with box:
        box.outbox.reports.add("r", b"1", '[null, [["a", "b"]]]')
    box.database.close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(garbled)
        other.commit()
    note_failure(path, ValueError("whatever the row made fail"))
    box.reopen()
    assert not list(tmp_path.glob("*.suspect"))
    assert list(tmp_path.glob("*.damaged-*")), "the garbled one is kept"
    assert [report.payload for report in box.outbox.reports.after(0, 9)] == [b"1"]
    assert len(box.all()) in (10, 0), "those of a lane whose topics are not known any more are gone"
    assert len(box.heads()) == min(len(box.all()), 1)
    box.database.close()


def test_what_is_sound_is_left_alone_after_a_failure(tmp_path: Path) -> None:
    """A failure that has another cause costs a look, and nothing else."""
    path = tmp_path / "o.db"
    queue(path, 20)
    before = path.read_bytes()
    note_failure(path, ValueError("a mistake elsewhere"))
    open_store(path).close()
    assert path.read_bytes()[PAGE:] == before[PAGE:]
    assert not list(tmp_path.glob("*.damaged-*"))


def half_moved(folder: Path, steps: int) -> Path:
    """Leave a finished repair that was killed when ``steps`` parts of the damaged file had been moved."""
    path = folder / "o.db"
    queue(folder / "whole.db", 50)
    shutil.copyfile(folder / "whole.db", folder / f"o.db.repaired-{STAMP}")
    path.write_bytes(b"damaged")
    (folder / "o.db-wal").write_bytes(b"the log of the damaged one")
    for suffix in ("-wal", "")[:steps]:
        (folder / f"o.db{suffix}").rename(folder / f"o.db.damaged-{STAMP}{suffix}")
    return path


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_finished_repair_is_put_in_place(
    tmp_path: Path, steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it was killed: the new file takes the place, the old one and its log are kept, it is said."""
    box = Box(half_moved(tmp_path, steps))
    assert len(box.ids()) == 50
    box.database.close()
    assert (tmp_path / f"o.db.damaged-{STAMP}").read_bytes() == b"damaged"
    assert (tmp_path / f"o.db.damaged-{STAMP}-wal").read_bytes() == b"the log of the damaged one"
    assert "THE OUTBOX WAS DAMAGED: 50 messages and 50 reports were recovered" in caplog.text
    assert f"o.db.damaged-{STAMP}" in caplog.text


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_finished_repair_that_is_damaged_is_begun_again(tmp_path: Path, steps: int) -> None:
    """From the original, wherever its parts are by then."""
    path = half_moved(tmp_path, steps)
    original = tmp_path / (f"o.db.damaged-{STAMP}" if steps == 2 else "o.db")
    (tmp_path / f"o.db.damaged-{STAMP}-wal").unlink(missing_ok=True)
    (tmp_path / "o.db-wal").unlink(missing_ok=True)
    queue(tmp_path / "other.db", 300)
    shutil.copyfile(tmp_path / "other.db", original)
    damage(original, range(30, 32))
    (tmp_path / f"o.db.repaired-{STAMP}").write_bytes(os.urandom(8 * PAGE))
    box = Box(path)
    assert len(box.ids()) > 200
    box.database.close()
    assert not list(tmp_path.glob("*.repair*"))


def test_what_is_only_in_the_log_is_saved(tmp_path: Path) -> None:
    """A file that is empty, or gone, beside its log: SQLite would throw that away."""
    path = tmp_path / "o.db"
    if (pid := os.fork()) == 0:
        box = Box(path)
        for number in range(20):
            box.put(message(f"m{number}"))
        os._exit(0)
    os.waitpid(pid, 0)
    path.unlink()
    box = Box(path)
    assert len(box.ids()) == 20
    box.database.close()


def test_lost_tables_are_named_anew(tmp_path: Path) -> None:
    """Without the list of tables, which is on the first page, all messages are found."""
    path = tmp_path / "o.db"
    queue(path, 500)
    damage(path, range(1))
    box = Box(path)
    assert len(box.ids()) == 500
    box.database.close()


def test_few_damaged_files_are_kept(tmp_path: Path) -> None:
    """A card that fails damages the outbox again and again: the newest damages are kept."""
    path = tmp_path / "o.db"
    for number in range(KEPT + 2):
        path.write_bytes(b"%d" % number * PAGE)
        open_store(path).close()
    kept = {each.read_bytes()[:1] for each in tmp_path.glob("o.db.damaged-*")}
    assert kept == {b"%d" % number for number in range(2, KEPT + 2)}


def test_it_says_how_much_room_it_needs(tmp_path: Path) -> None:
    """Where there is too little it ends with one line that names it, and the damaged file stays as it is."""
    script = (
        "import os, pathlib\n"
        "from tests.store.test_files import damage, queue\n"
        "from tests.store.damaging import in_process\n"
        "from bridge.store.files import note_failure, open_store\n"
        "path = pathlib.Path('o.db').absolute()\n"
        "queue(path, 2000); damage(path, range(40, 44)); before = path.read_bytes()\n"
        "with open('others', 'wb') as others: os.posix_fallocate(others.fileno(), 0, 13_000_000)\n"
        "print(in_process(lambda: open_store(path).close())[1])\n"
        "assert path.read_bytes()[4096:] == before[4096:] and len(os.listdir()) == 2, os.listdir()\n"
    )
    done = subprocess.run(
        [*small_disk(tmp_path), "sh", "-c", 'cd "$0" && exec "$@"', tmp_path, sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"StoreFull: the outbox \S+ is damaged, and its repair needs \d{7} bytes beside it, of which \d+ are"
        r" free on the disk none at \S+; until then the outbox stays as it is\n",
        done.stdout,
    ), done.stdout
    assert StoreFull.exit_code == 1
