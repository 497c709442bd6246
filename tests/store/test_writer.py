"""Group commit, and a disk that is full."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.core.time import Time
from bridge.errors import StoreFull
from bridge.store.database import Lock
from bridge.store.journal import Journal
from bridge.store.outbox import Verdict
from bridge.store.reserve import SIZE, Reserve
from bridge.store.space import Space
from bridge.store.writer import CHECK_EVERY, CommitWorker, Writer
from tests.doubles.time import Call
from tests.harness.small_disk import small_disk
from tests.store.box import Box, Clock, message


class Turns:
    """An event loop's turns, taken by hand, and its timers, which fire when told."""

    def __init__(self, clock: Clock) -> None:
        self.now = clock
        self.soon: list[Call] = []
        self.later: list[Call] = []

    def knows(self) -> bool:
        raise AssertionError("nobody asks for the time here")

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.soon.append(Call(callback, args))

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Call:
        """A pause between transactions is over at once; a look for room waits for `tick`."""
        call = Call(callback, args)
        (self.soon if delay < CHECK_EVERY else self.later).append(call)
        return call

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody pauses here, and not for {seconds} s")

    def turn(self) -> None:
        """Run what was asked for until nothing is left for now."""
        while self.soon:
            soon, self.soon = self.soon, []
            for call in soon:
                call.run()

    def tick(self) -> None:
        later, self.later = self.later, []
        for call in later:
            call.run()
        self.turn()


class Rig:
    """A box with a writer on it."""

    def __init__(
        self,
        path: Path,
        *,
        reserve: int = 4096,
        clock: Clock | None = None,
        worker: CommitWorker | None = None,
    ) -> None:
        self.box = Box(path, clock=clock)
        self.turns = Turns(self.box.clock)
        self.told: list[bool] = []
        self.lock = Lock(path)
        self.reserve = Reserve(path, reserve)
        self.writer = Writer(
            self.box.database,
            self.box.outbox,
            self.reserve,
            self.turns,
            worker=worker,
        )
        self.writer.on_full = self.told.append
        self.journal = self.with_time(self.turns)

    def with_time(self, time: Time) -> Journal:
        """Return the store as the parts around the writer see it, which go by ``time``."""
        return Journal(self.lock, self.reserve, self.box.database, self.box.outbox, self.writer, time)

    def put(self, name: str, done: list[str], payload: bytes = b"x") -> None:
        item = message(name, payload=payload)
        size = len(payload)
        self.writer.append(lambda: self.box.outbox.accept(item), lambda _: done.append(name), size=size)

    def seen_from_outside(self) -> list[str]:
        """Return the ids that another reader of the files would find: what is committed, nothing else."""
        copies = self.box.path.with_name("copy.db")
        for suffix in ("", "-wal"):
            source = Path(f"{self.box.path}{suffix}")
            if source.exists():
                Path(f"{copies}{suffix}").write_bytes(source.read_bytes())
        connection = sqlite3.connect(copies)
        found = [row[0] for row in connection.execute("SELECT id FROM message ORDER BY seq")]
        connection.close()
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    found = Rig(tmp_path / "outbox.db")
    yield found
    found.box.database.close()


def test_one_turn_is_one_transaction(rig: Rig) -> None:
    """Whatever comes within a turn is committed together, and nothing of it before."""
    done: list[str] = []
    for name in ("1", "2", "3"):
        rig.put(name, done)
    assert (len(rig.turns.soon), rig.writer.waiting) == (1, 3)
    assert done == []
    rig.turns.turn()
    assert (done, rig.writer.waiting) == (["1", "2", "3"], 0)


def test_what_may_linger_rides_on_the_next_write(rig: Rig) -> None:
    """It has no transaction of its own while another may come, and none of messages alone.

    It goes by itself after a while, or before an end.
    """
    done: list[str] = []

    def linger(name: str) -> None:
        rig.writer.write(lambda: None, lambda _: done.append(name), linger=True)
        rig.turns.turn()

    linger("lingers")
    rig.put("1", done)
    rig.turns.turn()
    assert (done, rig.writer.idle) == (["1"], False)
    rig.writer.write(lambda: None, lambda _: done.append("result"))
    rig.turns.turn()
    assert (done[1:], rig.writer.idle) == (["result", "lingers"], True)
    (timer,) = rig.turns.later
    linger("alone")
    timer.run()
    rig.turns.turn()
    assert done[3:] == []  # the time of what lingered before is not its own
    rig.turns.tick()
    assert done[3:] == ["alone"]
    linger("last")
    rig.writer.hasten()
    linger("after")
    assert (done[4:], rig.writer.idle) == (["last", "after"], True)


def test_who_waits_for_a_commit_cuts_the_pause_short(tmp_path: Path) -> None:
    """The pause between transactions is for a stream; when every slot waits there is nothing to gain."""
    rig = Rig(tmp_path / "outbox.db")
    rig.box.clock.pass_(1.0)
    done: list[str] = []
    rig.put("1", done)
    rig.turns.turn()
    rig.put("2", done)
    (paused,) = rig.turns.soon
    rig.writer.hurry()
    (still, now) = rig.turns.soon
    assert still is paused
    rig.turns.soon = [now]
    rig.turns.turn()
    assert done == ["1", "2"]
    paused.run()  # in vain: nothing waits any more
    assert rig.writer.idle
    rig.box.database.close()


def test_it_is_told_only_when_it_is_durable(rig: Rig) -> None:
    """When the callback runs, a reader of the files already finds the message."""
    found: list[list[str]] = []
    rig.writer.append(
        lambda: rig.box.outbox.accept(message("1")), lambda _: found.append(rig.seen_from_outside())
    )
    rig.turns.turn()
    assert found == [["1"]]


def test_the_value_of_an_operation_reaches_its_callback(rig: Rig) -> None:
    """What an operation returns is given back, settling operations first."""
    values: list[object] = []
    rig.writer.append(lambda: "grown", values.append)
    rig.writer.write(lambda: "settled", values.append)
    rig.turns.turn()
    assert values == ["settled", "grown"]


def test_an_operation_that_raises_takes_its_transaction_with_it(rig: Rig) -> None:
    """A failure undoes the whole transaction, on disk and in memory, tells nobody, and is not hidden."""
    done: list[str] = []
    rig.put("1", done)
    rig.turns.turn()
    rig.put("2", done)
    rig.writer.write(lambda: 1 / 0, lambda _: done.append("never"))
    with pytest.raises(ZeroDivisionError):
        rig.turns.turn()
    assert (done, rig.box.ids(), rig.seen_from_outside()) == (["1"], ["1"], ["1"])
    assert rig.box.outbox.ledger.messages == 1


def test_operations_added_by_a_callback_run_in_the_next_turn(rig: Rig) -> None:
    """A callback may ask for more."""
    done: list[str] = []
    rig.writer.write(lambda: None, lambda _: rig.put("1", done))
    rig.turns.turn()
    assert done == ["1"]


def limit_pages(rig: Rig, more: int) -> None:
    """Let the file grow by ``more`` pages and then say SQLITE_FULL, as a full disk does."""
    run = rig.box.database._run
    pages = run("PRAGMA page_count").fetchone()[0]
    run(f"PRAGMA max_page_count = {pages + more}").fetchone()


def fill(rig: Rig, done: list[str]) -> None:
    """Put messages until there is no room."""
    for number in range(1000):
        rig.put(f"fill-{number}", done, b"x" * 3000)
        rig.turns.turn()
        if rig.writer.full:
            return
    raise AssertionError("it never was full")


def test_a_full_disk_stops_intake_and_loses_nothing(rig: Rig) -> None:
    """Messages wait in memory unacknowledged, settling goes on, and it is said once."""
    done: list[str] = []
    limit_pages(rig, 40)
    fill(rig, done)
    assert rig.told == [True]
    assert (rig.seen_from_outside(), rig.writer.waiting) == (done, 1)
    assert not rig.reserve.held
    victim = rig.box.all()[0]
    rig.writer.write(lambda: rig.box.outbox.remove(victim), lambda _: done.append("settled"))
    rig.put("late", done)
    rig.turns.turn()
    assert done[-1] == "settled"
    assert victim.id not in rig.box.ids()
    assert "late" not in done


def test_intake_goes_on_when_there_is_room(rig: Rig) -> None:
    """Once there is room again what waited is stored in its order, and that is said."""
    done: list[str] = []
    limit_pages(rig, 40)
    fill(rig, done)
    rig.put("late", done)
    waiting = f"fill-{len(done)}"
    limit_pages(rig, 10_000)
    rig.turns.tick()
    assert rig.told == [True, False]
    assert done[-2:] == [waiting, "late"]
    assert rig.reserve.held
    assert (rig.box.ids(), rig.writer.space) == (done, Space.OK)


def test_settling_that_finds_no_room_waits_and_starves(rig: Rig) -> None:
    """Where even results have no room nothing more may be sent, until there is room again."""
    done: list[str] = []
    limit_pages(rig, 40)
    fill(rig, done)
    rig.writer.write(lambda: rig.box.outbox.reports.add("r", b"x" * 100_000), lambda _: done.append("report"))
    rig.turns.turn()
    assert rig.writer.space is Space.EXHAUSTED
    assert "report" not in done
    limit_pages(rig, 10_000)
    rig.turns.tick()
    rig.turns.turn()
    assert rig.writer.space is not Space.EXHAUSTED
    assert "report" in done
    assert rig.box.outbox.reports.after(0, 9)[0].payload == b"x" * 100_000


def test_a_refused_message_is_not_stored_twice_after_room_is_back(rig: Rig) -> None:
    """An operation that runs again after a rollback leaves one message and one lane."""
    done: list[str] = []
    limit_pages(rig, 40)
    fill(rig, done)
    limit_pages(rig, 10_000)
    rig.turns.tick()
    assert len(rig.box.ids()) == len(set(rig.box.ids())) == len(done)
    assert rig.box.put(message("7", idempotent=True)).verdict is Verdict.STORED


@contextlib.contextmanager
def mounted(place: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system of its own needs root")
def test_a_really_full_disk(tmp_path: Path) -> None:
    """On a file system without room the outbox stops, drains with the help of its reserve, and goes on."""
    with mounted(tmp_path / "small") as place:
        rig = Rig(place / "outbox.db", reserve=4 * 1024 * 1024)
        assert rig.reserve.held
        done: list[str] = []
        for number in range(2000):
            rig.put(str(number), done, b"x" * 20_000)
            rig.turns.turn()
            if rig.writer.full:
                break
        assert rig.told == [True]
        stored = rig.box.all()
        assert [queued.id for queued in stored] == done
        for queued in stored:  # sending goes on, one transaction each
            rig.writer.write(lambda victim=queued: rig.box.outbox.remove(victim))  # type: ignore[misc]  # default
            rig.turns.turn()
            assert rig.writer.space is not Space.EXHAUSTED
        assert rig.box.ids() == []
        for _ in range(10):  # what was deleted is given back some megabytes at a time
            rig.turns.tick()
        assert rig.told == [True, False]
        assert rig.box.ids() == [str(len(stored))]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system of its own needs root")
def test_a_message_that_does_not_fit_is_said_once(tmp_path: Path) -> None:
    """Room is back when the message that waits fits in, not when a smaller one would."""
    with mounted(tmp_path / "small") as place:
        rig = Rig(place / "outbox.db", reserve=SIZE)
        done: list[str] = []
        rig.put("large", done, bytes(8_000_000))
        rig.turns.turn()
        for _ in range(5):
            rig.turns.tick()
        assert (rig.told, done) == ([True], [])
        subprocess.run(["mount", "-o", "remount,size=32m", place], check=True)
        rig.turns.tick()
        assert (rig.told, done) == ([True, False], ["large"])


def test_what_makes_room_goes_first_on_a_full_disk(rig: Rig) -> None:
    """It has a transaction without the others, which may find no room before it is done."""
    done: list[str] = []
    limit_pages(rig, 40)
    fill(rig, done)
    rig.writer.write(
        lambda: rig.box.outbox.reports.add("r", b"x" * 2_000_000), lambda _: done.append("large")
    )
    rig.turns.turn()
    assert rig.writer.space is Space.EXHAUSTED
    rig.writer.write(lambda: rig.box.outbox.reports.sent([1]), lambda _: done.append("frees"), frees=True)
    rig.turns.turn()
    assert (done[-1], rig.writer.space) == ("frees", Space.EXHAUSTED)


def test_what_comes_again_takes_the_place_of_what_waits(rig: Rig) -> None:
    """It is stored once, and only who brought it last is told; what merely looks alike is stored as well."""
    done: list[str] = []
    limit_pages(rig, 40)
    fill(rig, done)

    def bring(told: str, *, again: bool) -> None:
        rig.writer.append(
            lambda: rig.box.outbox.accept(message("same")),
            lambda _: done.append(told),
            key="key",
            again=again,
            replaced=lambda: done.append(f"not {told}"),
        )

    waiting = rig.writer.waiting
    bring("first", again=False)
    bring("second", again=True)
    bring("third", again=True)
    assert (done[-2:], rig.writer.waiting) == (["not first", "not second"], waiting + 1)
    bring("alike", again=False)
    limit_pages(rig, 10_000)
    rig.turns.tick()
    assert done[-2:] == ["third", "alike"]
    assert rig.box.ids().count("same") == 2


def test_no_room_has_a_name_of_ours(box: Box) -> None:
    """Outside the writer, too, a full disk is `StoreFull`."""
    from bridge.store.database import translate

    run = box.database._run
    run(f"PRAGMA max_page_count = {run('PRAGMA page_count').fetchone()[0]}").fetchone()
    with pytest.raises(sqlite3.OperationalError) as caught:
        box.put(message(payload=b"x" * 100_000))
    assert isinstance(translate(caught.value, box.path), StoreFull)


def test_a_full_disk_never_keeps_results_from_being_recorded(tmp_path: Path) -> None:
    """Whatever the sizes, and whoever takes the last room: what is sent is struck off, and makes room."""
    command = [*small_disk(tmp_path), sys.executable, "-m", "tests.store.filling", str(tmp_path), "12"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    assert ran.stdout == "done\n"
