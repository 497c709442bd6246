"""Bytes and SMS by day: on disk with the results, never too low, whatever the clock does."""

import contextlib
import json
import re
import sqlite3
from importlib import resources
from pathlib import Path

from bridge.core.budget import Reading, Use, Way
from bridge.core.messages import Traffic
from bridge.store.ledger import is_sums
from tests.store.box import DAY, NOON, Box, Clock

TODAY, TOMORROW = "2023-11-14", "2023-11-15"  # NOON is 22:13:20 of the first


class Meter:
    """What a test says is in flight."""

    def __init__(self, way: Way = Way.APART) -> None:
        self.way = way
        self.out = Traffic()

    def ahead(self, written: Traffic) -> Traffic:
        return self.out


def metered(box: Box, way: Way = Way.APART) -> Meter:
    box.outbox.meter = found = Meter(way)
    return found


def learn(box: Box) -> None:
    """Let the box learn the time."""
    with box:
        box.outbox.times.learn()


def spend(box: Box, up: int, down: int = 0, texts: int = 0) -> None:
    with box:
        box.outbox.ledger.spend(Traffic(up, down))
        box.outbox.ledger.usage.count_texts(texts)


def use(box: Box, day: str = TODAY) -> Use:
    return box.outbox.ledger.usage.of(day).use


def test_own_bytes_count_by_their_way(box: Box) -> None:
    """Those over an interface are not counted twice, those beside the SIM not at all."""
    meter = metered(box)
    for way in Way:
        meter.way = way
        spend(box, 100, 50, texts=2)
    assert use(box) == Use(own=300, apart=150, link=0, texts=6)
    box.reopen()
    assert use(box) == Use(own=300, apart=150, link=0, texts=6)
    assert box.outbox.ledger.spent(NOON)[0] == Traffic(300, 150), "the bridge's own bytes, by any way"


def test_what_an_interface_counts_rides_with_the_sums(box: Box) -> None:
    """It is counted once, over a restart in the same connection too."""
    usage = box.outbox.ledger.usage
    box.outbox.turn_day()
    usage.metered(Reading("boot-1 ppp0 7", 1000, 500))
    usage.metered(Reading("boot-1 ppp0 7", 1100, 500))
    assert use(box).link == 1600
    spend(box, 1)
    box.reopen()
    box.outbox.ledger.usage.metered(Reading("boot-1 ppp0 7", 1150, 500))
    assert use(box).link == 1650
    box.outbox.ledger.usage.metered(Reading("boot-1 ppp0 8", 10, 0))
    assert use(box).link == 1660


def test_a_rollback_takes_back_what_was_not_written_and_the_reading_with_it(box: Box) -> None:
    """So that the next reading counts it again."""
    spend(box, 1)
    box.outbox.ledger.usage.metered(Reading("a", 1000, 0))
    box.database.begin()
    box.database.rollback()
    box.outbox.reset()
    assert use(box).link == 0
    box.outbox.ledger.usage.metered(Reading("a", 1200, 0))
    assert use(box).link == 1200


def test_a_power_cut_counts_what_was_in_flight(box: Box) -> None:
    """Once, as the bridge's own."""
    meter = metered(box)
    meter.out = Traffic(400, 300)
    spend(box, 10, 5)
    box.reopen()
    assert use(box) == Use(own=715, apart=15)
    assert use(box).bytes == 715
    box.reopen()
    assert use(box).own == 715
    spend(box, 0, 1)
    box.reopen()
    assert use(box).own == 716


def test_a_power_cut_counts_nothing_against_the_budget_that_did_not_go_over_the_sim(box: Box) -> None:
    """The bridge's own bytes have it all the same."""
    meter = metered(box, Way.OFF)
    meter.out = Traffic(400, 300)
    spend(box, 10, 5)
    box.reopen()
    assert use(box).bytes == 0
    assert box.outbox.ledger.spent(NOON)[0] == Traffic(410, 305)


def test_a_stop_in_which_nothing_is_in_flight_counts_nothing(box: Box) -> None:
    """The note is taken back in a transaction that changes nothing else."""
    meter = metered(box)
    meter.out = Traffic(400, 300)
    spend(box, 10, 5)
    meter.out = Traffic()
    with box:
        pass
    box.reopen()
    assert use(box).own == 15


def test_a_clock_that_jumps_over_midnight_and_back_loses_nothing(box: Box) -> None:
    """Each byte is of one day."""
    learn(box)
    spend(box, 100)
    box.clock.step(DAY)
    spend(box, 10)
    assert (use(box).own, use(box, TOMORROW).own) == (100, 10)
    box.clock.step(-DAY)
    spend(box, 1)
    assert (use(box).own, use(box, TOMORROW).own) == (101, 10)
    box.clock.step(DAY)
    spend(box, 1)
    box.reopen()
    assert (use(box).own, use(box, TOMORROW).own) == (101, 11)
    assert [day for day, _ in box.outbox.ledger.usage.since("2023-11-01")] == [TODAY, TOMORROW]


def test_a_box_that_does_not_know_the_time_goes_on_with_its_day(box: Box) -> None:
    """After a boot with an unset clock, and until it has run for 24 hours."""
    spend(box, 100)
    clock = Clock(wall=10.0, mono=10.0)
    box.reopen(boot="boot-2", clock=clock)
    spend(box, 10)
    assert use(box).own == 110
    clock.pass_(DAY / 2)
    spend(box, 1)
    box.reopen(boot="boot-3", clock=Clock(wall=5.0, mono=5.0))
    spend(box, 1)
    assert use(box).own == 112
    box.clock.pass_(DAY / 2 + 1)
    spend(box, 1)
    assert (use(box).own, use(box, TOMORROW).own) == (112, 1)


def test_what_a_new_box_spends_before_it_has_the_time_is_of_its_first_day(tmp_path: Path) -> None:
    """And not of 1970."""
    box = Box(tmp_path / "outbox.db", clock=Clock(wall=30.0, mono=30.0))
    spend(box, 100)
    box.clock.step(NOON)
    learn(box)
    spend(box, 10)
    assert use(box).own == 110
    box.database.close()


def test_a_store_of_version_4_keeps_its_bytes(box: Box) -> None:
    """They count as the bridge's own."""
    learn(box)
    spend(box, 100, 50)
    box.clock.step(DAY)
    spend(box, 7, 3)
    box.database.close()
    with contextlib.closing(sqlite3.connect(box.path)) as old, old:
        folder = resources.files("bridge.store")
        step = "".join(folder.joinpath(f"schema_{number}.sql").read_text() for number in (6, 5))
        for kind, name in re.findall(r"^CREATE (?:UNIQUE )?(INDEX|TABLE) (\w+)", step, re.MULTILINE):
            old.execute(f"DROP {kind} IF EXISTS {name}")
        for table, name in re.findall(r"^ALTER TABLE (\w+) ADD COLUMN (\w+)", step, re.MULTILINE):
            old.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
        old.execute("UPDATE sums SET value = json_remove(value, '$.use', '$.ahead')")
        old.execute("PRAGMA user_version = 4")
    box.open()
    assert (use(box), use(box, TOMORROW)) == (Use(150, 150), Use(10, 10))


def test_damaged_sums_are_known() -> None:
    """A number that is none, a list that is too long, a day that is no date."""
    good: dict[str, object] = {"counts": {}, "day": TODAY, "spent": [1, 2], "use": [1, 2, 3, 4]}
    good |= {"ahead": [1, 2], "meter": ["boot ppp0 7", 1, 2], "ran": 5}
    assert is_sums(json.dumps(good))
    bad: dict[str, object] = {"use": [1, 2, 3], "ahead": [1, "2"], "meter": ["a", 1], "ran": "x", "spent": 5}
    bad["day"] = "yesterday"
    for key, value in bad.items():
        assert not is_sums(json.dumps(good | {key: value})), key
