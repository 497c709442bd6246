"""Timers of escalations: over restarts, boots without the time, steps of the clock, rollbacks and damage."""

from pathlib import Path

import pytest

from bridge.core.escalation import Alarm, Window
from bridge.core.messages import Message, Priority
from bridge.store.running_time import NOTED
from tests.store.box import Box, Clock, message

AFTER = 120.0


def alarm(message_id: str = "m", *, latest: bool = False) -> Message:
    """Return a message that is escalated after two minutes."""
    return message(message_id)._replace(escalate_after=AFTER, latest=latest)


def due(box: Box) -> bool:
    """Whether its timer has ended, as the escalator's look finds it."""
    with box:  # the escalator has the running time written when it is stale
        return bool(box.outbox.escalations.due(10))


def later(box: Box, seconds: float) -> bool:
    """Let time go by as a running bridge does; return whether the timer ends in it."""
    for _ in range(int(seconds)):
        box.clock.pass_(1.0)
        if due(box):
            return True
    return False


def test_a_timer_ends_after_its_time_whatever_the_wall_clock_does(box: Box) -> None:
    """Steps of years forth and back neither end nor stop it."""
    box.put(alarm())
    for step in (4e8, -5e8, 1e8):
        box.clock.step(step)
        box.sweep()
        assert not later(box, 30)
    assert later(box, 40)


def test_it_goes_on_over_a_restart_of_the_bridge(box: Box) -> None:
    """The time between counts: the box ran."""
    box.put(alarm())
    assert not later(box, 50)
    box.clock.pass_(40.0)
    box.reopen()
    assert not due(box)
    assert later(box, 35)


def test_the_time_that_the_box_was_off_counts_once_it_is_known(box: Box) -> None:
    """As soon as the wall clock is later than anything in the store."""
    box.put(alarm())
    assert not later(box, 70)
    off = Clock(wall=box.clock.wall + 3600.0, mono=5.0)
    box.reopen(boot="boot-2", clock=off)
    assert due(box)


def test_a_box_that_never_learns_the_time_counts_what_it_ran(tmp_path: Path) -> None:
    """Over any number of boots, at a cost of some seconds for each."""
    box = Box(tmp_path / "outbox.db", clock=Clock(wall=0.0, mono=30.0))
    box.put(alarm())
    ran = 0
    for boot in range(2, 20):
        assert not due(box)
        ran += 30
        if later(box, 30):
            break
        box.reopen(boot=f"boot-{boot}", clock=Clock(wall=0.0, mono=5.0))
    assert AFTER <= ran <= AFTER * 2
    assert NOTED < 30, "each boot has been noted"


def test_the_time_learned_later_in_a_boot_counts_too(tmp_path: Path) -> None:
    """A box without a hardware clock starts in 1970, and hears the time from the network later."""
    box = Box(tmp_path / "outbox.db")
    box.put(alarm())
    wall = box.clock.wall + 3600.0
    box.reopen(boot="boot-2", clock=Clock(wall=0.0, mono=5.0))
    assert not later(box, 10)
    box.clock.step(wall)
    box.sweep()
    assert due(box)


def test_a_rollback_takes_a_timer_back(box: Box) -> None:
    """What a transaction that failed has started does not count."""
    box.database.begin()
    box.outbox.accept(alarm())
    box.database.rollback()
    box.outbox.reset()
    assert box.outbox.escalations.timers == 0
    assert not later(box, 130)


def test_the_latest_of_an_earlier_boot_hands_its_time_on(box: Box) -> None:
    """Its place is lost, its time is not."""
    box.put(alarm("one", latest=True))
    assert not later(box, 70)
    box.reopen(boot="boot-2", clock=Clock(wall=0.0, mono=5.0))
    box.put(alarm("two", latest=True))
    assert box.ids() == ["two"]
    assert later(box, 80)


def test_what_a_route_has_sent_is_kept(box: Box) -> None:
    """Over a restart, with the message that was left out."""
    left = Alarm(7, "m", "cloud", ("a", "b"), "a: x", Priority.HIGH)
    window = Window((1.0, 2.5), 3, left, (8, 9), "a: w", 1, (("m", 2.5),))
    with box:
        box.outbox.escalations.set_window("a/#", window)
    box.reopen()
    assert box.outbox.escalations.window("a/#") == window
    with box:
        box.outbox.escalations.set_window("a/#", None)
    box.reopen()
    assert box.outbox.escalations.windows() == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sent": 1}', "[1, 2]", "[1, 2, 3, [4]]", "null"])
@pytest.mark.parametrize("key", ["escalated:a/#", "running_time"])
def test_a_value_that_damage_has_left_unreadable_counts_as_none(box: Box, key: str, text: str) -> None:
    """The bridge starts all the same."""
    with box:
        box.outbox.set_meta(key, text)
    box.reopen()
    assert box.outbox.escalations.window("a/#") == Window()
    box.put(alarm())
    assert later(box, 125)
