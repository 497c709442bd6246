"""Messages of which only the latest is kept: its place, its times, and what it costs."""

from pathlib import Path

import pytest

from bridge.core.messages import Message, Priority, Reply, Traffic
from bridge.store.outbox import SUPERSEDED, Limits, Verdict
from tests.store.box import DAY, NOON, Box, Clock, message


def latest(name: str, **more: object) -> Message:
    return message(name, **more)._replace(latest=True)  # type: ignore[arg-type]  # by name


def put(box: Box, *messages: Message) -> list[str]:
    """Put messages in; return what the last of them superseded."""
    accepted = [box.put(each) for each in messages]
    assert {each.verdict for each in accepted} == {Verdict.STORED}
    return [queued.id for queued in accepted[-1].superseded]


def test_a_newer_message_takes_the_place_of_the_one_that_waits(box: Box) -> None:
    """Other topics and priorities have places of their own, and nobody's place changes."""
    put(box, latest("a1", topic="a"), latest("b1", topic="b"))
    put(box, latest("a high", topic="a", priority=Priority.HIGH))
    assert put(box, latest("a2", topic="a", payload=b"longer")) == ["a1"]
    assert put(box, latest("a3", topic="a")) == ["a2"]
    assert box.ids() == ["a3", "b1", "a high"]
    assert box.heads() == ["a high", "a3", "b1"]
    assert (box.outbox.ledger.messages, box.outbox.ledger.bytes) == (3, 3)
    box.reopen()
    assert (box.ids(), box.outbox.ledger.bytes) == (["a3", "b1", "a high"], 3)


def test_what_is_in_flight_is_not_replaced(box: Box) -> None:
    """The newer one waits behind it; the next takes the place of that one, and later of both."""
    put(box, latest("1"))
    (first,) = box.all()
    box.outbox.in_flight.add(first.seq)
    assert put(box, latest("2")) == []
    assert put(box, latest("3")) == ["2"]
    box.outbox.in_flight.clear()
    with box:
        box.outbox.defer(first, 1, Traffic(5, 5), 0.0)
    assert put(box, latest("4")) == ["3", "1"]
    assert [(queued.id, queued.seq, queued.attempts, queued.traffic) for queued in box.all()] == [
        ("4", first.seq, 0, Traffic())
    ]


def test_a_lane_keeps_its_delay(box: Box) -> None:
    """A newer message has no better prospects than the one that got no answer."""
    put(box, latest("1"))
    box.defer("1", 100.0)
    assert put(box, latest("2")) == ["1"]
    assert box.heads() == []
    box.clock.pass_(101.0)
    with box:
        box.outbox.wake_due()
    assert box.heads() == ["2"]


def test_everything_else_is_the_newer_ones_own(box: Box) -> None:
    """Its id, deadline, attempts, reply topic and time; the older one keeps its own."""
    older = latest("1", lifetime=5.0, max_attempts=3, idempotent=True)._replace(
        reply=Reply("old", b"1"), at=7
    )
    box.put(older)
    box.clock.pass_(3.0)
    newer = latest("2", lifetime=60.0, max_attempts=9)._replace(reply=Reply("new", None))
    (gone,) = box.put(newer).superseded
    assert (gone.id, gone.deadline, gone.reply, gone.idempotent, gone.at) == (
        "1", NOON + 5.0, Reply("old", b"1"), True, 7,
    )  # fmt: skip
    (queued,) = box.all()
    assert (queued.id, queued.queued_at, queued.deadline) == ("2", NOON + 3.0, NOON + 63.0)
    assert (queued.max_attempts, queued.reply, queued.idempotent, queued.at) == (
        9,
        Reply("new", None),
        False,
        None,
    )
    listed = box.outbox.listing(0, 10)[0]
    assert (listed["id"], listed["queued_at"], listed["deadline"]) == ("2", NOON + 3.0, NOON + 63.0)
    box.clock.pass_(59.0)
    assert box.due() == []
    box.clock.pass_(1.0)
    assert box.due() == ["2"]
    put(box, latest("3"))
    assert box.due() == [], "it has no deadline"


def test_the_age_is_that_of_the_message_and_not_of_its_place(tmp_path: Path) -> None:
    """A place that is taken again and again keeps no older message from expiring, nor expires itself."""
    box = Box(tmp_path / "o.db", limits=Limits(max_age=100.0))
    put(box, latest("1", topic="a"), message("old", topic="b"), latest("2", topic="c"))
    box.clock.pass_(90.0)
    put(box, latest("new", topic="a"))
    box.clock.pass_(10.0)
    assert sorted(box.due()) == ["2", "old"]
    box.clock.pass_(90.0)
    assert sorted(box.due()) == ["2", "new", "old"]


@pytest.mark.parametrize("wall", [NOON + DAY, 0.0], ids=["time known", "time unknown"])
def test_a_place_of_an_earlier_boot_is_kept(tmp_path: Path, wall: float) -> None:
    """Its clock is another one, so the newer message follows that of its own boot, also over the next."""
    box = Box(tmp_path / "o.db")
    put(box, latest("1", topic="a"), latest("2", topic="b"), message("plain", topic="c"))
    box.clock.pass_(10.0)
    put(box, latest("3", topic="b"))
    box.reopen(boot="boot-2", clock=Clock(wall, 5.0))
    assert put(box, latest("4", topic="a", lifetime=60.0)) == ["1"]
    assert put(box, latest("5", topic="b")) == ["3"]
    assert box.ids() == ["4", "5", "plain"]
    box.clock.step(NOON + DAY - wall)
    box.sweep()
    first, second, plain = box.all()
    assert (first.queued_at, first.deadline) == (NOON + DAY, NOON + DAY + 60.0)
    assert (second.queued_at, plain.queued_at) == (NOON + DAY, NOON)
    assert box.outbox.oldest_age() == DAY
    box.clock.pass_(59.0)
    assert box.due() == []
    box.clock.pass_(1.0)
    assert box.due() == ["4"]
    box.reopen(boot="boot-3", clock=Clock(NOON + 2 * DAY, 5.0))
    assert [(queued.id, queued.queued_at) for queued in box.all()] == [
        ("4", NOON + DAY), ("5", NOON + DAY), ("plain", NOON),
    ]  # fmt: skip


def test_what_waits_behind_a_place_of_an_earlier_boot_grows_old(tmp_path: Path) -> None:
    """Nobody knew how old the place was when it was taken; what is behind it expires all the same."""
    box = Box(tmp_path / "o.db", limits=Limits(max_age=2 * DAY))
    put(box, latest("1", topic="a"), message("plain", topic="b"))
    box.reopen(boot="boot-2", clock=Clock(0.0, 5.0))
    put(box, latest("2", topic="a"))
    box.reopen()
    box.clock.step(NOON + DAY)
    box.sweep()
    assert box.outbox.oldest_age() == 5.0
    box.clock.pass_(DAY - 1.0)
    assert box.due() == []
    box.clock.pass_(2.0)
    assert box.due() == ["plain"]
    box.clock.pass_(DAY)
    assert sorted(box.due()) == ["2", "plain"]


def test_a_boot_without_the_time_is_dated_by_its_newest_message(tmp_path: Path) -> None:
    """Which may have taken over a place, so that what came long before it is as much older."""
    box = Box(tmp_path / "o.db", clock=Clock(0.0, 100.0))
    put(box, latest("1", topic="a"), message("plain", topic="b"))
    box.reopen(boot="boot-2", clock=Clock(0.0, 50.0))
    put(box, message("other", topic="c"))
    box.clock.pass_(1000.0)
    put(box, latest("2", topic="a"))
    box.reopen(boot="boot-3", clock=Clock(NOON, 5.0))
    box.sweep()
    assert [(queued.id, queued.queued_at) for queued in box.all()] == [
        ("2", NOON), ("plain", NOON), ("other", NOON - 1000.0),
    ]  # fmt: skip


def test_a_lane_that_was_filled_before_is_emptied_in_portions(box: Box) -> None:
    """A route that keeps only the latest from now on has a backlog; the order in the lane stays."""
    put(box, *(message(f"{number}") for number in range(SUPERSEDED + 5)))
    gone = put(box, latest("new"))
    assert gone == [f"{number}" for number in range(SUPERSEDED + 4, 4, -1)]
    assert box.ids() == ["0", "1", "2", "3", "4", "new"]
    assert put(box, message("plain")) == []
    assert put(box, latest("newest")) == ["plain", "new", "4", "3", "2", "1", "0"]
    assert box.ids() == ["newest"]


def test_a_full_outbox_takes_a_newer_message_in_place(tmp_path: Path) -> None:
    """It makes its own room; one that is too large for it is refused, and the older one stays."""
    box = Box(tmp_path / "o.db", limits=Limits(max_messages=2, max_bytes=10))
    put(box, latest("1", topic="a", payload=b"x" * 4), latest("2", topic="b", payload=b"x" * 4))
    assert put(box, latest("3", topic="a", payload=b"x" * 6)) == ["1"]
    assert box.put(latest("4", topic="a", payload=b"x" * 7)).verdict is Verdict.REFUSED
    assert box.ids() == ["3", "2"]


def test_a_known_id_replaces_nothing(box: Box) -> None:
    """A repetition is not newer."""
    put(box, latest("1", idempotent=True), latest("2"))
    assert box.put(latest("1", idempotent=True)).verdict is Verdict.KNOWN
    assert box.ids() == ["2"]


def test_a_rollback_undoes_a_replacement(box: Box) -> None:
    """The older message has its place and its size again."""
    put(box, latest("1", payload=b"12345"))
    box.database.begin()
    box.outbox.accept(latest("2"))
    box.database.rollback()
    box.outbox.reset()
    assert (box.ids(), box.outbox.ledger.bytes) == (["1"], 5)


@pytest.mark.parametrize("backlog", [0, 20_000])
def test_many_replacements_neither_grow_the_file_nor_become_slow(tmp_path: Path, backlog: int) -> None:
    """The number of statements' steps is the same with a long queue before and behind the place."""
    box = Box(tmp_path / "o.db")
    with box:
        for number in range(backlog):
            box.outbox.accept(message(f"p{number}", topic=f"p{number % 10}"))
        box.outbox.accept(latest("l", topic="l", payload=b"x" * 50))
        for number in range(backlog):
            box.outbox.accept(message(f"q{number}", topic=f"q{number % 10}"))
    steps = [0]
    box.database._connection.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 10)
    before = box.database._run("PRAGMA page_count").fetchone()[0]
    for _ in range(4):
        with box:
            for _ in range(5000):
                box.outbox.accept(latest("l", topic="l", payload=b"x" * 50))
    assert box.database._run("PRAGMA page_count").fetchone()[0] - before <= 2
    assert steps[0] / 20_000 < 40, "of ten operations of SQLite's virtual machine each"
    assert box.outbox.ledger.messages == 2 * backlog + 1
    box.database.close()
