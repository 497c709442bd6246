"""Which publication the broker cuts the connection for: the decision."""

import random

import pytest

from bridge.core.suspects import GIVE_UP, LONGEST_PAUSE, OPEN, PAUSE, PROVEN, Suspects, Suspicion, Verdict


def cuts(
    suspects: Suspects, key: int, *witnessed: bool, size: int = 100, takes: bool = True
) -> list[Verdict]:
    """Cut with ``key`` alone under way, each time after something else was taken if it ``takes`` any."""
    found = []
    for each in witnessed:
        if takes:
            suspects.acknowledged("something else")
        suspects.suspect([key])
        found.append(suspects.cut(key, witnessed=each, size=size))
    return found


def test_what_alone_explains_the_cuts_is_set_aside() -> None:
    """While another connection stands, a few cuts are enough, and not one less."""
    suspects = Suspects()
    assert cuts(suspects, 7, *[True] * PROVEN) == [Verdict.TRY_AGAIN] * (PROVEN - 1) + [Verdict.SET_ASIDE]
    assert not suspects


def test_a_broker_that_goes_down_sets_nothing_aside() -> None:
    """Cuts without a witness only have the others go first."""
    suspects = Suspects()
    found = cuts(suspects, 7, *[False] * (GIVE_UP - 1))
    assert found == [Verdict.TRY_AGAIN] * (OPEN - 1) + [Verdict.WAIT] * (GIVE_UP - OPEN)
    assert not suspects


def test_a_broker_that_takes_nothing() -> None:
    """One that falls with whatever is published first proves nothing, however often."""
    suspects = Suspects()
    assert set(cuts(suspects, 7, *[False] * 1000, takes=False)) == {Verdict.TRY_AGAIN}
    assert suspects.first == 7


def test_what_takes_the_broker_down_each_time_ends_too() -> None:
    """After hours, not for ever."""
    record, waited = Suspicion(), 0.0
    while record.verdict() is not Verdict.SET_ASIDE:
        record = record.after_cut(witnessed=False)
        waited += record.pause if record.verdict() is Verdict.WAIT else 0.0
    assert 2 * 3600 < waited < 6 * 3600


def test_pauses_double_up_to_a_bound() -> None:
    """From the first to the longest."""
    pauses = [Suspicion(open=number).pause for number in range(OPEN, OPEN + 12)]
    assert pauses[:3] == [PAUSE, 2 * PAUSE, 4 * PAUSE]
    assert pauses[-1] == LONGEST_PAUSE


def test_what_is_acknowledged_begins_anew() -> None:
    """What was held against it is forgotten."""
    suspects = Suspects()
    cuts(suspects, 7, *[True] * (PROVEN - 1))
    suspects.clear(7)
    assert cuts(suspects, 7, True) == [Verdict.TRY_AGAIN]


def test_they_are_tried_in_order() -> None:
    """In that in which they were published; one that comes again keeps its place."""
    suspects = Suspects()
    suspects.suspect([3, "state", 5])
    suspects.suspect([5, 3])
    tried = []
    while (key := suspects.first) is not None:
        tried.append(key)
        suspects.clear(key)
    assert tried == [3, "state", 5]


def test_as_large_as_one_that_was_set_aside() -> None:
    """One cut is enough for it; for a smaller one it is not."""
    suspects = Suspects()
    cuts(suspects, 1, *[True] * PROVEN, size=40_000)
    assert suspects.sizes.doubtful(40_000)
    assert cuts(suspects, 2, True, size=50_000) == [Verdict.SET_ASIDE]
    assert cuts(suspects, 3, True, size=39_999) == [Verdict.TRY_AGAIN]
    assert cuts(suspects, 4, False, size=50_000) == [Verdict.TRY_AGAIN], "a broker that goes down"


@pytest.mark.parametrize("before", [True, False])
def test_the_size_was_not_the_reason(before: bool) -> None:
    """Where the broker takes something larger, before or after, nothing is learned of sizes."""
    suspects = Suspects()
    if before:
        suspects.sizes.taken(50_000)
    cuts(suspects, 1, *[True] * PROVEN, size=40_000)
    suspects.sizes.taken(50_000)
    assert not suspects.sizes.doubtful(10**9)


def test_any_course_ends() -> None:
    """Nothing is tried more often than `GIVE_UP` times, nor set aside by fewer cuts than it takes."""
    for seed in range(500):
        chance = random.Random(seed)
        record, number = Suspicion(), 0
        while record.verdict() is not Verdict.SET_ASIDE:
            record = record.after_cut(witnessed=chance.random() < chance.random())
            number += 1
        assert number <= GIVE_UP
        assert record.proven == PROVEN or number == GIVE_UP
