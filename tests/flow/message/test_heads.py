"""Heads that are read before their turn."""

import tracemalloc

from bridge.core.messages import CLOUD, Queued
from bridge.flow.message.heads import AHEAD, Heads
from tests.doubles.heart import Heart


def filled(heart: Heart, number: int, size: int) -> Heads:
    """Return the heads of so many lanes, in each of which a message of ``size`` bytes waits."""
    heart.uplink.paused = True
    for place in range(number):
        heart.publish(f"out/{place}", f"{place}".encode().ljust(size))
    return Heads(heart.journal, CLOUD)


def names(found: list[Queued]) -> list[str]:
    return [queued.payload.split()[0].decode() for queued in found]


def test_each_is_given_once_until_a_commit(heart: Heart) -> None:
    """However many are asked for at a time; after the commit all that is not busy is there again."""
    heads = filled(heart, 8, 1)
    assert names(heads.take(3, 6, (), (), timed=False)) == ["0", "1", "2"]
    assert names(heads.take(1, 3, (), (), timed=False)) == ["3"]
    assert names(heads.take(9, 2, (), (), timed=False)) == ["4", "5"]
    heart.write(lambda: None)
    assert names(heads.take(2, 6, (), (), timed=False)) == ["0", "1"]
    heads.read_again()
    assert names(heads.take(2, 6, (), (), timed=False)) == ["0", "1"]


def test_beyond_what_was_read_the_outbox_is_asked_again(heart: Heart) -> None:
    """The busy ones are left out then; where it had no more to give it is not asked."""
    heads = filled(heart, 4, 1)
    found = heads.take(2, 2, (), (), timed=False)
    busy = [queued.lane_id for queued in found]
    assert names(heads.take(2, 3, busy, (), timed=False)) == ["2", "3"]
    assert heads.take(2, 3, busy, (), timed=False) == []


def test_lanes_that_are_passed_over_are_left_out_at_once(heart: Heart) -> None:
    """Which they are may change without a commit."""
    heads = filled(heart, 3, 1)
    first = heads.take(1, 3, (), (), timed=False)[0]
    assert names(heads.take(2, 3, (), (first.lane_id,), timed=False)) == ["1", "2"]
    assert names(heads.take(2, 3, (), (), timed=False)) == ["0", "1"]


def test_large_ones_are_not_kept_before_their_turn(heart: Heart) -> None:
    """Each is given in its turn all the same, and beside the first only as many are read as go."""
    heads = filled(heart, 6, 4 * AHEAD)
    tracemalloc.start()
    try:
        assert names(heads.take(1, 6, (), (), timed=False)) == ["0"]
        kept, _ = tracemalloc.get_traced_memory()
        assert kept < AHEAD
        tracemalloc.reset_peak()
        busy = [queued.lane_id for queued in heads.take(2, 6, (), (), timed=False)]
        _, most = tracemalloc.get_traced_memory()
        assert most < 4 * 4 * AHEAD
    finally:
        tracemalloc.stop()
    assert names(heads.take(2, 4, busy, (), timed=False)) == ["2", "3"]
