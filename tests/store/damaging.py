"""Damages a store and ends its repair: ``python -m tests.store.damaging FOLDER TIMES [FIRST SEED] [full]``.

All at random. What is saved after kills, and after further damage to what an unfinished repair leaves, is
what a repair that nothing disturbs saves; with ``full`` others fill the disk instead. Prints a line for each
time that it is not, or that opening does not end, or that what was saved cannot be worked with.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from bridge.core.messages import Channel
from bridge.errors import StoreError
from bridge.store.accepted import AcceptedCommand
from bridge.store.database import PAGE, translate
from bridge.store.files import note_failure
from bridge.store.receipts import Receipt
from tests.harness.small_disk import free
from tests.store.box import Box, message

LONGEST = 60.0
"""Seconds that an opening may take."""


def make(folder: Path) -> None:
    """Leave stores to damage in ``folder``: one that was closed, and one that was killed with a full log."""
    for name in ("closed", "killed"):
        place = folder / name
        place.mkdir(parents=True)
        if (pid := os.fork()) == 0:
            box = Box(place / "outbox.db")
            for part in range(8):
                with box:
                    _fill(box, part)
                if part == 5:
                    box.database.copy_log()
            if name == "closed":
                box.database.close()
            os._exit(0)
        os.waitpid(pid, 0)


def _fill(box: Box, part: int) -> None:
    for count in range(60):
        number = 60 * part + count
        payload = b"x" * (9000 if number % 50 == 0 else 150)
        box.outbox.accept(
            message(f"m{number}", topic=f"t{number % 7}", payload=payload, idempotent=number % 3 == 0),
            Receipt(1, number, dup=False, digest=b"d%d" % number),
        )
        box.outbox.reports.add("hologram/result", b"r%d" % number, '[null, [["a", "b"]]]')
        if number % 12 == 0:
            box.outbox.remove(box.outbox.page(0, 1 << 60, 1)[0])
            box.outbox.keys.add(f"c{number}")
            box.outbox.finish_key(f"c{number}", b"result")
    box.outbox.accepted.add(AcceptedCommand(f"accepted{part}", False, Channel.QUEUE, 1.0))


# -- damages ---------------------------------------------------------------------------------------------


def _pages(chance: random.Random, file: Path, content: Callable[[], bytes]) -> None:
    size = file.stat().st_size
    with file.open("r+b") as opened:
        for _ in range(chance.choice([1, 1, 2, 5])):
            opened.seek(chance.randrange(max(size // PAGE, 1)) * PAGE)
            opened.write(content())


def _bits(chance: random.Random, file: Path, number: int, within: int | None = None) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(number if data else 0):
        place = chance.randrange(min(len(data), within or len(data)))
        data[place] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def _swap(chance: random.Random, file: Path) -> None:
    data = file.read_bytes()
    pages = [data[place : place + PAGE] for place in range(0, len(data), PAGE)]
    one, other = chance.randrange(len(pages)), chance.randrange(len(pages))
    pages[one], pages[other] = pages[other], pages[one]
    file.write_bytes(b"".join(pages))


def _loop(chance: random.Random, file: Path) -> None:
    """Have the pages of a tree lead to each other: what points to one page points to another."""
    data = bytearray(file.read_bytes())
    inner = [place for place in range(PAGE, len(data), PAGE) if data[place] in (2, 5)]
    for place in inner:
        cells = int.from_bytes(data[place + 3 : place + 5])
        for cell in range(cells):
            at = place + int.from_bytes(data[place + 12 + 2 * cell : place + 14 + 2 * cell])
            if chance.random() < 0.3:
                data[at : at + 4] = (chance.choice(inner) // PAGE + 1).to_bytes(4)
    file.write_bytes(data)


def _schema(chance: random.Random, file: Path) -> None:
    """Have the list of tables say what an enemy would."""
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("PRAGMA writable_schema = ON")
        endless = (
            "CREATE VIEW message AS WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n) "
            "SELECT * FROM n"
        )
        update, where = "UPDATE sqlite_schema SET", "WHERE name = 'message'"
        opened.execute(
            chance.choice(
                [
                    f"{update} type = 'view', rootpage = 0, sql = '{endless}' {where}",
                    f"{update} sql = 'CREATE TABLE message (seq INTEGER PRIMARY KEY)' {where}",
                    "DELETE FROM sqlite_schema WHERE name IN ('message', 'lane', 'boot')",
                    f"{update} sql = 'nonsense'",
                ]
            )
        )
        opened.commit()


def damage(chance: random.Random, file: Path) -> str:
    """Damage the store at ``file``; return how."""
    log, size = Path(f"{file}-wal"), file.stat().st_size
    kinds: dict[str, Callable[[], object]] = {
        "noise": lambda: _pages(chance, file, lambda: chance.randbytes(PAGE)),
        "zeros": lambda: _pages(chance, file, lambda: bytes(PAGE)),
        "bits": lambda: _bits(chance, file, chance.choice([1, 10, 200])),
        "header": lambda: _bits(chance, file, chance.choice([1, 5, 40]), within=100),
        "first page": lambda: _bits(chance, file, 100, within=PAGE),
        "page size": lambda: _write(file, 16, chance.randbytes(2)),
        "page count": lambda: _write(file, 28, b"\x7f\xff\xff\xff"),
        "free list": lambda: _write(file, 32, chance.randrange(1, size // PAGE).to_bytes(4) + b"\0\0\1\0"),
        "cut": lambda: os.truncate(file, chance.randrange(size)),
        "cut in a page": lambda: os.truncate(file, chance.randrange(size // PAGE) * PAGE + 60),
        "cut in the header": lambda: os.truncate(file, chance.randrange(100)),
        "empty": lambda: os.truncate(file, 0),
        "gone": file.unlink,
        "swapped pages": lambda: _swap(chance, file),
        "loops": lambda: _loop(chance, file),
        "schema": lambda: _schema(chance, file),
        "log bits": lambda: _bits(chance, log if log.exists() else file, 5),
        "log gone": lambda: log.unlink(missing_ok=True),
        "log cut": lambda: _cut(chance, log),
        "log is the file": lambda: shutil.copyfile(file, log),
        "file is the log": lambda: log.exists() and log.rename(file),
    }
    kind = chance.choice(list(kinds))
    kinds[kind]()
    return kind


def _cut(chance: random.Random, file: Path) -> None:
    if file.exists():
        os.truncate(file, chance.randrange(file.stat().st_size))


def _write(file: Path, place: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write(data)


# -- openings --------------------------------------------------------------------------------------------


def open_and_use(file: Path) -> dict[str, Any]:
    """Open the store at ``file``; return what is in it, after everything was worked with.

    What fails is noted and tried once more, as the bridge does, which systemd starts again.
    """
    try:
        return use(file)
    except (sqlite3.Error, ValueError, TypeError) as exc:
        # Not the error itself, whose frames hold what reads the file, and so its lock.
        failed = translate(exc, file) if isinstance(exc, sqlite3.Error) else ValueError(str(exc))
    note_failure(file, failed)
    return use(file)


def use(file: Path) -> dict[str, Any]:
    box = Box(file)
    with closing(box.database):
        return everything(box)


def everything(box: Box) -> dict[str, Any]:
    found = {
        "messages": sorted(f"{queued.id} {len(queued.payload)}" for queued in box.all()),
        "reports": sorted(str(report.payload) for report in box.outbox.reports.after(0, 1 << 40)),
        "ids": sorted(
            str(row[0]) for row in box.database._run("SELECT id FROM chosen UNION SELECT id FROM ended")
        ),
    }
    assert box.outbox.ledger.messages == len(found["messages"])
    box.outbox.accepted.left()
    box.outbox.listing(0, 1 << 40)
    box.sweep()
    number = 0
    for endpoint in box.outbox.endpoints():
        while heads := box.outbox.heads(endpoint, 1000, ()):
            number += len(heads)
            with box:
                for queued in heads:
                    time.gmtime(queued.queued_at)
                    box.outbox.remove(queued)
    assert number == len(found["messages"]), f"of {len(found['messages'])} {number} can be sent"
    return found


def in_process(work: Callable[[], Any], within: float = LONGEST) -> tuple[Any, str, float]:
    """Do ``work`` in a process, killed ``within`` seconds: its value, what went wrong, how long it took."""
    reader, writer = os.pipe()
    began = time.monotonic()
    if (pid := os.fork()) == 0:
        signal.setitimer(signal.ITIMER_REAL, within)  # SIGALRM ends it as SIGKILL would: nobody handles it
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        try:
            told = json.dumps([work(), ""])
        except StoreError as exc:
            told = json.dumps([None, f"{type(exc).__name__}: {exc}"])
        except BaseException as exc:  # noqa: BLE001  # it is told
            told = json.dumps([None, repr(exc)])
        with os.fdopen(writer, "w") as out:
            out.write(told)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as read:
        told = read.read()
    os.waitpid(pid, 0)
    value, wrong = json.loads(told) if told else (None, "killed")
    return value, wrong, time.monotonic() - began


def kill(chance: random.Random, file: Path, took: float) -> None:
    """Have the opening of ``file``, which ``took`` so long undisturbed, killed at a random moment."""
    in_process(lambda: Box(file), within=max(chance.random() * 1.2 * took, 0.001))
    for left in file.parent.glob("*.repair*"):
        if chance.random() < 0.3 and left.stat().st_size and not left.name.endswith("-shm"):
            _pages(chance, left, lambda: chance.randbytes(PAGE))


def fill(chance: random.Random, file: Path, took: float) -> None:
    """Have others take the disk at a random moment of the opening of ``file``."""
    others, moment = file.parents[1] / "others", chance.random() * took
    leave = chance.choice([0, 9, 20, 50, 200])

    def take() -> None:
        with others.open("wb") as opened:
            os.posix_fallocate(opened.fileno(), 0, max(free(others) - leave * PAGE, 1))

    def work() -> None:
        taking = threading.Timer(moment, take)
        taking.start()
        Box(file).database.close()

    try:
        in_process(work)
    finally:
        others.unlink(missing_ok=True)


def once(stores: Path, place: Path, seed: int, disturb: Callable[[random.Random, Path, float], None]) -> str:
    """Damage a store and have its repair disturbed; return what went wrong."""
    chance = random.Random(seed)
    origin = stores / chance.choice(["closed", "killed"])
    for name in ("calm", "disturbed"):
        shutil.rmtree(place / name, ignore_errors=True)
    calm, disturbed = place / "calm" / "outbox.db", place / "disturbed" / "outbox.db"
    shutil.copytree(origin, calm.parent)
    kind = damage(chance, calm)
    if chance.random() < 0.2 and calm.exists() and calm.stat().st_size > PAGE:
        kind += f" and {damage(chance, calm)}"
    shutil.copytree(calm.parent, disturbed.parent)
    wanted, wrong, took = in_process(lambda: open_and_use(calm))
    if wrong:
        return f"{kind}: {wrong} after {took:.1f} s"
    shutil.rmtree(calm.parent)
    for _ in range(chance.choice([1, 1, 2, 4])):
        disturb(chance, disturbed, took)
    found, wrong, _ = in_process(lambda: open_and_use(disturbed))
    if wrong:
        return f"{kind}, disturbed: {wrong}"
    lost = {each: len(set(wanted[each]) - set(found[each])) for each in wanted}
    if any(lost.values()):
        return f"{kind}, disturbed: lost {lost}"
    if left := [each.name for each in disturbed.parent.glob("*.repair*")]:
        return f"{kind}, disturbed: left {left}"
    return ""


def main(folder: str, times: str, first: str = "0", how: str = "") -> None:
    """Do it so many times."""
    place = Path(folder)
    make(place / "stores")
    for seed in range(int(first), int(first) + int(times)):
        if wrong := once(place / "stores", place, seed, fill if how else kill):
            print(f"seed {seed}: {wrong}", flush=True)
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
