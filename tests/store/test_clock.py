"""Deadlines and ages on a box whose clock jumps, or is not there at boot."""

import sqlite3
from pathlib import Path

import pytest

from bridge.core.messages import CLOUD, Priority
from bridge.store.clock import STEP
from bridge.store.keys import KEPT_FOR
from bridge.store.outbox import Limits, Verdict
from tests.store.box import DAY, NOON, Box, Clock, message

YEARS = 20 * 365 * DAY


def new_box(tmp_path: Path, wall: float = NOON, **limits: float) -> Box:
    return Box(tmp_path / "o.db", clock=Clock(wall), limits=Limits(**limits))  # type: ignore[arg-type]  # by name


def test_a_deadline_passes_when_its_time_is_over(box: Box) -> None:
    """A message is due from its deadline on, not before, and the earliest comes first."""
    box.put(message("later", lifetime=60.0))
    box.put(message("soon", topic="u", lifetime=30.0))
    box.put(message("never", topic="v"))
    box.clock.pass_(29.9)
    assert box.due() == []
    box.clock.pass_(0.1)
    assert box.due() == ["soon"]
    box.clock.pass_(30.0)
    assert box.due() == ["soon", "later"]


def test_a_deadline_counts_from_the_receipt(box: Box) -> None:
    """A message that waited for a full disk is as old as it is."""
    came = box.clock.mono
    box.clock.pass_(50.0)
    box.put(message("1", lifetime=60.0)._replace(received=came))
    assert box.all()[0].queued_at == NOON
    box.clock.pass_(9.0)
    assert box.due() == []
    box.clock.pass_(2.0)
    assert box.due() == ["1"]


def test_what_is_under_way_does_not_expire(box: Box) -> None:
    """A message whose exchange runs is left to end by its answer."""
    box.put(message("1", lifetime=1.0))
    box.outbox.in_flight.add(box.all()[0].seq)
    box.clock.pass_(10.0)
    assert box.due() == []


@pytest.mark.parametrize("step", [YEARS, -YEARS, 3600.0, -3600.0, STEP + 0.1])
def test_a_step_of_the_clock_changes_no_lifetime(box: Box, step: float) -> None:
    """Years forward or back: what was queued in this boot keeps exactly the seconds it had left."""
    box.put(message("1", lifetime=60.0))
    box.clock.pass_(10.0)
    box.clock.step(step)
    assert box.due() == []
    assert box.sweep() == pytest.approx(step)
    box.clock.pass_(49.0)
    assert box.due() == []
    assert box.outbox.oldest_age() == pytest.approx(59.0)
    box.clock.pass_(1.5)
    assert box.due() == ["1"]


def test_drift_is_no_step(box: Box) -> None:
    """A slewing clock is followed in silence."""
    box.put(message("1", lifetime=60.0))
    box.clock.step(1.5)
    assert box.sweep() == 0.0


def test_jumping_forth_and_back_ends_where_it_began(box: Box) -> None:
    """Times are moved along each time, so that they are right again in the end."""
    box.put(message("1", lifetime=60.0))
    for step in (YEARS, -YEARS, -3600.0, 3600.0):
        box.clock.step(step)
        box.sweep()
    assert box.all()[0].queued_at == pytest.approx(NOON)
    box.clock.pass_(61.0)
    assert box.due() == ["1"]


@pytest.mark.parametrize("step", [YEARS, -YEARS])
def test_a_message_taken_between_a_step_and_its_notice_is_not_moved_twice(box: Box, step: float) -> None:
    """What comes in after the step already has the new time: the next sweep leaves it as it is."""
    box.clock.step(step)
    box.put(message("1", lifetime=60.0))
    box.sweep()
    assert box.all()[0].queued_at == pytest.approx(NOON + step)
    box.clock.pass_(59.0)
    assert box.due() == []
    box.clock.pass_(2.0)
    assert box.due() == ["1"]


def test_an_id_chosen_between_a_step_and_its_notice_is_kept_its_day(box: Box) -> None:
    """The 24 hours of an idempotency key count from its receipt, whatever the clock does then."""
    box.clock.step(-YEARS)
    box.put(message("7", idempotent=True))
    with box:
        box.outbox.finish_key("7", b"{}")
    box.sweep()
    box.clock.pass_(KEPT_FOR - 60)
    box.sweep()
    assert box.put(message("7", idempotent=True)).verdict is Verdict.KNOWN
    box.clock.pass_(120)
    box.sweep()
    assert box.put(message("7", idempotent=True)).verdict is Verdict.STORED


def test_a_box_without_a_clock_learns_the_time(tmp_path: Path) -> None:
    """From 1970 to now: messages queued before the time was known keep their lifetimes and get their date."""
    box = new_box(tmp_path, wall=30.0)
    box.put(message("1", lifetime=60.0))
    box.clock.pass_(10.0)
    box.clock.step(NOON)
    box.sweep()
    assert box.due() == []
    assert box.all()[0].queued_at == pytest.approx(NOON + 30.0)
    box.clock.pass_(51.0)
    assert box.due() == ["1"]


def test_earlier_messages_do_not_age_until_the_time_is_known(tmp_path: Path) -> None:
    """After a reboot into 1970 nothing expires; once the time is there what is over is over."""
    box = new_box(tmp_path)
    box.put(message("short", lifetime=60.0))
    box.put(message("long", topic="u", lifetime=DAY))
    box.sweep()
    box.reopen(boot="boot-2", clock=Clock(30.0, 5.0))
    box.clock.pass_(3600.0)
    box.sweep()
    assert box.due() == []
    assert box.outbox.oldest_age() is None
    box.clock.step(NOON + 7200.0 - box.clock.wall)
    box.sweep()
    assert box.due() == ["short"]
    assert box.outbox.oldest_age() == pytest.approx(7200.0)


def test_a_wrong_clock_after_the_right_one_does_not_expire_earlier_messages(tmp_path: Path) -> None:
    """Earlier boots' messages are judged by the first time that was plausible, not by later jumps."""
    box = new_box(tmp_path)
    box.put(message("1", lifetime=DAY))
    box.sweep()
    box.reopen(boot="boot-2", clock=Clock(NOON + 60, 5.0))
    box.sweep()
    box.clock.step(YEARS)
    box.sweep()
    assert box.due() == []
    box.clock.pass_(DAY)
    assert box.due() == ["1"]


def test_messages_of_two_boots_each_keep_their_own_time(tmp_path: Path) -> None:
    """In one outbox rows of this boot follow the monotonic clock, earlier ones their wall times."""
    box = new_box(tmp_path)
    box.put(message("before", lifetime=600.0))
    box.sweep()
    box.reopen(boot="boot-2", clock=Clock(NOON + 300, 5.0))
    box.put(message("after", topic="u", lifetime=600.0))
    box.clock.pass_(301.0)
    assert box.due() == ["before"]
    box.clock.pass_(300.0)
    assert box.due() == ["before", "after"]


def test_a_message_queued_without_a_clock_outlives_the_next_boot(tmp_path: Path) -> None:
    """A box that lost its power before it learnt the time does not take its messages for decades old."""
    box = new_box(tmp_path, wall=30.0, max_age=7 * DAY)
    box.put(message("1", lifetime=DAY))
    box.clock.pass_(60.0)
    box.sweep()
    box.reopen(boot="boot-2", clock=Clock(NOON, 5.0))
    box.sweep()
    assert box.due() == []


def test_too_old_is_due_without_a_deadline(tmp_path: Path) -> None:
    """`max_age` ends what has no deadline of its own, across boots."""
    box = new_box(tmp_path, max_age=7 * DAY)
    box.put(message("1"))
    box.clock.pass_(6 * DAY)
    box.put(message("2"))
    box.sweep()
    box.reopen(boot="boot-2", clock=Clock(box.clock.wall + 2 * DAY, 5.0))
    box.sweep()
    assert box.due() == ["1"]


def test_a_clock_that_was_years_ahead_does_not_stop_ageing_for_years(tmp_path: Path) -> None:
    """One boot with a wrong year must not make the next, right one seem to be without a clock for ever."""
    box = new_box(tmp_path)
    box.put(message("1", lifetime=DAY))
    box.clock.step(YEARS)
    box.clock.pass_(100.0)
    box.sweep()
    box.clock.step(-YEARS)
    box.clock.pass_(100.0)
    box.sweep()
    box.reopen(boot="boot-2", clock=Clock(NOON + 2 * DAY, 5.0))
    box.sweep()
    assert box.due() == ["1"]


def test_a_step_of_the_clock_writes_next_to_nothing(box: Box) -> None:
    """With 20 MB queued before the time is known, learning it rewrites none of them."""
    for number in range(20):
        box.put(message(str(number), payload=bytes(1_000_000), lifetime=DAY))
    box.database._run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    box.clock.step(YEARS)
    assert box.sweep() == pytest.approx(YEARS)
    log = box.path.with_name(box.path.name + "-wal")
    assert log.stat().st_size < 100_000
    assert [queued.queued_at for queued in box.all()] == [pytest.approx(NOON + YEARS)] * 20


def test_boots_that_left_nothing_are_forgotten(tmp_path: Path) -> None:
    """A machine that boots every day does not collect boots for ever; one whose messages wait is kept."""
    box = new_box(tmp_path)
    for number in range(2, 5):
        box.reopen(boot=f"boot-{number}")
    box.put(message("1", lifetime=DAY))
    for number in range(5, 9):
        box.reopen(boot=f"boot-{number}", clock=Clock(NOON + 60 * number, 5.0))
    boots = [row[0] for row in box.database._run("SELECT boot_id FROM boot ORDER BY id")]
    assert boots == ["boot-4", "boot-5", "boot-6", "boot-7", "boot-8"]
    assert box.all()[0].queued_at == pytest.approx(NOON)
    box.database.close()


def test_several_boots_without_a_clock_end_when_it_comes(tmp_path: Path) -> None:
    """Each boot's newest message is as if it had come when the time did, and older ones before it."""
    box = new_box(tmp_path, wall=30.0)
    for number in range(1, 4):
        box.reopen(boot=f"boot-{number}", clock=Clock(30.0, 5.0))
        for each in range(3):
            box.put(message(f"{number}{each}", lifetime=60.0))
            box.clock.pass_(20.0)
    box.reopen(boot="boot-9", clock=Clock(NOON, 5.0))
    found = {queued.id: queued.queued_at - NOON for queued in box.all()}
    ages = {
        f"{number}{each}": pytest.approx(20.0 * each - 40.0) for number in range(1, 4) for each in range(3)
    }
    assert found == ages
    box.clock.pass_(21.0)
    assert sorted(box.due()) == ["10", "20", "30"]
    box.database.close()


def test_a_store_of_version_1_keeps_its_times(tmp_path: Path) -> None:
    """Boots with and without a clock, an hour's step between: every message has the time it had before."""
    connection = sqlite3.connect(tmp_path / "o.db")
    connection.executescript(Path(__file__).with_name("version_1.sql").read_text())
    connection.close()
    box = Box(tmp_path / "o.db", clock=Clock(NOON + 4060.0, 65.0), boot="boot-2")
    found: dict[str, object] = {queued.id: (queued.queued_at - NOON, queued.deadline) for queued in box.all()}
    assert found == {
        "timeless": (pytest.approx(0.0), pytest.approx(NOON + DAY)),
        "timeless-id": (pytest.approx(0.0), pytest.approx(NOON + DAY)),
        "hour": (pytest.approx(3600.0), pytest.approx(NOON + 7200.0)),
        "ever": (pytest.approx(3600.0), None),
        "7": (pytest.approx(3600.0), None),
        "late": (pytest.approx(3700.0), pytest.approx(NOON + 4700.0)),
        "now": (pytest.approx(4000.0), pytest.approx(NOON + 4600.0)),
    }
    assert box.put(message("8", idempotent=True)).verdict is Verdict.KNOWN
    box.clock.step(YEARS)
    box.sweep()
    assert box.due() == []
    for seconds, due in (
        (539.0, []),
        (1.5, ["now"]),
        (100.0, ["late", "now"]),
        (2500.0, ["hour", "late", "now"]),
    ):
        box.clock.pass_(seconds)
        assert sorted(box.due()) == due
    box.database.close()


# -- the time of a message -------------------------------------------------------------------------------


def times(box: Box) -> list[int | None]:
    """Return the time of each message."""
    return [queued.at for queued in box.all()]


def learn(box: Box) -> None:
    with box:
        box.outbox.times.learn()


def test_a_message_has_the_time_of_its_receipt(box: Box) -> None:
    """In whole seconds, rounded down, once the box knows the time."""
    learn(box)
    box.clock.pass_(1.9)
    box.put(message())
    box.put(message()._replace(at=5))
    assert times(box) == [NOON + 1, 5]


def test_what_came_before_the_time_was_known_is_dated_by_the_monotonic_clock(tmp_path: Path) -> None:
    """Nothing is dated before; afterwards each is right to the second, also where the step is small."""
    box = new_box(tmp_path, NOON - 1.5)
    box.put(message())
    box.clock.pass_(100.0)
    box.put(message()._replace(at=7))
    box.put(message())
    assert times(box) == [None, 7, None]
    box.clock.step(1.5)
    assert times(box) == [None, 7, None]
    learn(box)
    assert times(box) == [NOON, 7, NOON + 100]


@pytest.mark.parametrize("year", [0.0, NOON - 300 * DAY])
def test_a_boot_remembers_that_the_time_was_known(tmp_path: Path, year: float) -> None:
    """Over a restart, and in a later boot; what a boot never dated has no time for ever."""
    box = new_box(tmp_path, year)
    box.put(message("never"))
    box.reopen(boot="boot-2", clock=Clock(year, 50.0))
    box.put(message("reckoned back"))
    box.clock.pass_(10.0)
    box.clock.step(NOON - year)
    learn(box)
    assert times(box) == [None, NOON]
    box.reopen()
    assert (box.outbox.times.known, times(box)) == (True, [None, NOON])
    box.reopen(boot="boot-3", clock=Clock(NOON + DAY, 5.0))
    assert (box.outbox.times.known, times(box)) == (False, [None, NOON])
    learn(box)
    assert times(box) == [None, NOON]
    assert [queued.settled for queued in box.all()] == [True, True], "no clock changes them any more"


def test_a_rollback_forgets_that_the_time_is_known(box: Box) -> None:
    """What is not on disk is learned again."""
    box.database.begin()
    box.outbox.times.learn()
    box.database.rollback()
    box.outbox.reset()
    assert not box.outbox.times.known
    learn(box)
    assert box.outbox.times.known


def test_the_time_that_goes_with_a_message_does_not_change(box: Box) -> None:
    """A repeat is the same message, whatever the clock does in between."""
    learn(box)
    box.put(message()._replace(stamp="at"))
    assert times(box) == [NOON]
    box.clock.step(3600.0)
    box.sweep()
    assert times(box) == [NOON]


def test_a_message_that_went_without_a_time_stays_without(box: Box) -> None:
    """The box learns the time between two attempts."""
    box.put(message()._replace(stamp="at"))
    (queued,) = box.all()
    assert (queued.at, queued.settled) == (None, False)
    with box:
        box.outbox.settle_time(queued)
    learn(box)
    assert [(each.at, each.settled) for each in box.all()] == [(None, True)]


def test_what_needs_the_time_waits_for_it(tmp_path: Path) -> None:
    """Other lanes are not held up, whatever their number."""
    box = new_box(tmp_path, 0.0)
    for number in range(5):
        box.put(message(f"stamped {number}", topic=f"s{number}")._replace(stamp="at"))
    box.put(message("dated", topic="d")._replace(stamp="at", at=5))
    box.put(message("plain", topic="p"))

    def heads() -> list[str]:
        return [queued.id for queued in box.outbox.heads(CLOUD, 3, (), timed=True)]

    assert heads() == ["dated", "plain"]
    assert box.heads(limit=3) == ["stamped 0", "stamped 1", "stamped 2"], "nobody waits any more"
    box.reopen(boot="boot-2", clock=Clock(0.0, 10.0))
    assert heads() == ["stamped 0", "stamped 1", "stamped 2"], "these never get one"
    box.put(message("new", topic="a", priority=Priority.HIGH)._replace(stamp="at"))
    assert "new" not in heads()
    box.clock.step(NOON)
    learn(box)
    assert heads()[0] == "new"
