"""The state machine of a destination: every row of its table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.destination import HOLD, SUSPECTS, Condition, Destination
from bridge.core.retry import MAX_DELAY, Kind

ANSWERS = (Kind.ACCEPTED, Kind.REFUSED)


def up(slots: int = 4) -> Destination:
    return Destination(slots)


def down(slots: int = 4) -> Destination:
    destination = Destination(slots)
    destination.learn(Kind.UNREACHED, 1, 100.0, "refused")
    return destination


def held(slots: int = 4) -> Destination:
    destination = Destination(slots)
    destination.learn(Kind.HELD, 1, 100.0, "code 3")
    return destination


def probe_time(destination: Destination) -> float:
    """Return a time at which the wait is over."""
    due = destination.wakes_at()
    assert due is not None
    return due


def test_up_lets_every_slot_start() -> None:
    """While it is up as many start as there are slots free, and never a negative number."""
    assert [up(4).may_start(0.0, in_flight) for in_flight in (0, 1, 4, 9)] == [4, 3, 0, 0]
    assert up().wakes_at() is None


@pytest.mark.parametrize("kind", ANSWERS)
def test_up_stays_up_on_an_answer(kind: Kind) -> None:
    """An answer, good or bad, changes nothing."""
    destination = up()
    assert not destination.learn(kind, 1, 0.0, "")
    assert destination.condition is Condition.UP


def test_up_goes_down_without_a_connection() -> None:
    """One failed connection is evidence enough."""
    destination = up()
    assert destination.learn(Kind.UNREACHED, 1, 50.0, "refused")
    assert (destination.condition, destination.reason) == (Condition.DOWN, "refused")
    assert 50.0 <= probe_time(destination) <= 52.0


def test_up_is_held_by_code_3() -> None:
    """Refused credentials hold the whole destination for five minutes."""
    destination = up()
    assert destination.learn(Kind.HELD, 1, 50.0, "code 3")
    assert destination.condition is Condition.HELD
    assert destination.wakes_at() == 50.0 + HOLD


def test_silence_in_enough_lanes_takes_it_down() -> None:
    """So many different lanes without an answer in a row mean that the peer is down."""
    destination = up()
    for lane in range(SUSPECTS - 1):
        assert not destination.learn(Kind.UNANSWERED, lane, 0.0, "silence")
    assert destination.learn(Kind.UNANSWERED, SUSPECTS, 0.0, "silence")
    assert destination.condition is Condition.DOWN


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_one_lane_alone_never_takes_it_down(times: list[float]) -> None:
    """A message that the peer never answers, however often it is tried, does not stop the others."""
    destination = up()
    for mono in sorted(times):
        assert not destination.learn(Kind.UNANSWERED, 7, mono, "silence")
    assert destination.may_start(times[-1], 0) == 4


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_in_between_clears_the_suspicion(answer: Kind) -> None:
    """Only silence in a row counts."""
    destination = up()
    for lane in range(10 * SUSPECTS):
        destination.learn(Kind.UNANSWERED, lane, 0.0, "silence")
        destination.learn(answer, 999, 0.0, "")
    assert destination.condition is Condition.UP


def test_down_lets_one_probe_start_when_the_wait_is_over() -> None:
    """While it is down nothing starts before its time, and then one message alone."""
    destination = down()
    due = probe_time(destination)
    assert destination.may_start(due - 0.001, 0) == 0
    assert destination.may_start(due, 0) == 1
    assert destination.may_start(due, 1) == 0


@pytest.mark.parametrize("answer", ANSWERS)
def test_down_comes_up_on_any_answer(answer: Kind) -> None:
    """Any answer brings it up with all its slots, and the next failure starts small again."""
    destination = down()
    assert destination.learn(answer, 1, 200.0, "")
    assert destination.may_start(200.0, 0) == 4
    assert (destination.reason, destination.failures) == ("", 0)


def test_down_is_held_by_code_3() -> None:
    """A probe that learns of refused credentials holds it."""
    destination = down()
    assert destination.learn(Kind.HELD, 1, 200.0, "code 3")
    assert destination.wakes_at() == 200.0 + HOLD


@pytest.mark.parametrize("kind", [Kind.UNREACHED, Kind.UNANSWERED])
def test_a_failed_probe_waits_longer(kind: Kind) -> None:
    """Each failed probe doubles the range of the wait, up to five minutes."""
    destination = down()
    for failures in range(2, 15):
        now = probe_time(destination)
        assert not destination.learn(kind, 1, now, "still")
        assert destination.failures == failures
        assert now <= probe_time(destination) <= now + min(MAX_DELAY, 2.0**failures)


def test_what_was_under_way_together_fails_as_one() -> None:
    """Exchanges that fail before the wait is over are the same failure, not more of them."""
    destination = Destination(16)
    destination.learn(Kind.UNREACHED, 1, 100.0, "refused")
    due = probe_time(destination)
    for lane in range(2, 17):
        destination.learn(Kind.UNREACHED, lane, min(100.0, due - 1e-6), "refused")
    assert (destination.failures, destination.wakes_at()) == (1, due)


def test_held_lets_one_probe_start_after_the_hold() -> None:
    """While it is held one message tries every five minutes."""
    destination = held()
    assert destination.may_start(100.0 + HOLD - 1, 0) == 0
    assert destination.may_start(100.0 + HOLD, 0) == 1
    assert destination.may_start(100.0 + HOLD, 1) == 0
    assert not destination.learn(Kind.HELD, 1, 100.0 + HOLD, "code 3")
    assert destination.wakes_at() == 100.0 + 2 * HOLD


@pytest.mark.parametrize("answer", ANSWERS)
def test_held_comes_up_on_another_answer(answer: Kind) -> None:
    """An answer without code 3 ends the hold."""
    destination = held()
    assert destination.learn(answer, 1, 500.0, "")
    assert destination.condition is Condition.UP


def test_held_goes_down_without_a_connection() -> None:
    """A probe that finds nobody makes it down, to be probed sooner."""
    destination = held()
    due = probe_time(destination)
    assert destination.learn(Kind.UNREACHED, 1, due, "refused")
    assert destination.condition is Condition.DOWN
    assert probe_time(destination) <= due + 2


def test_release_tries_at_once() -> None:
    """New credentials lift a hold; a flush lets what is down probe at once, but still with one message."""
    destination = held()
    destination.release()
    assert destination.may_start(100.0, 0) == 4
    destination = down()
    destination.release()
    assert (destination.may_start(0.0, 0), destination.condition) == (1, Condition.DOWN)


def test_over_another_network_it_is_not_known_to_be_down() -> None:
    """All slots are open, and the next failure is the first; refused credentials are refused there too."""
    destination = down()
    destination.renew()
    assert (destination.may_start(0.0, 0), destination.failures, destination.down_since) == (4, 0, None)
    destination = held()
    destination.renew()
    assert destination.condition is Condition.HELD


@given(
    st.lists(st.tuples(st.sampled_from(list(Kind)), st.integers(1, 5), st.floats(0, 1000)), max_size=60),
    st.integers(1, 16),
)
def test_it_can_always_be_tried_again(events: list[tuple[Kind, int, float]], slots: int) -> None:
    """Whatever happens in whatever order, there is a time not far off at which a message may start."""
    destination, mono = Destination(slots), 0.0
    for kind, lane, passed in events:
        mono += passed
        before = destination.condition
        changed = destination.learn(kind, lane, mono, kind.name)
        assert changed == (destination.condition is not before)
        due = destination.wakes_at()
        assert (due is None) == (destination.condition is Condition.UP)
        soonest = mono if due is None else max(mono, due)
        assert soonest <= mono + HOLD
        assert destination.may_start(soonest, 0) == (slots if due is None else 1)
