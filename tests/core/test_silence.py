"""Silence as a value: which lanes without an answer show that a network swallows what is sent."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.silence import TOGETHER, VAIN, Silence


def test_three_lanes_show_it_at_once() -> None:
    """One answer to any of them, and it takes three again."""
    two = Silence().unanswered(1, 0.0).unanswered(2, 1.0)
    assert two.since(2, 1.0) is None
    assert two.unanswered(3, 2.0).since(3, 2.0) == 2.0
    assert two.answered(1).unanswered(3, 2.0).since(3, 2.0) is None
    assert two.network_changed().unanswered(3, 2.0).since(3, 2.0) is None


def test_one_lane_shows_it_by_three_attempts() -> None:
    """From the first of them on."""
    tried = Silence().unanswered(1, 10.0).unanswered(1, 20.0)
    assert tried.since(1, 20.0) is None
    assert tried.unanswered(1, 40.0).since(1, 40.0) == 10.0
    assert Silence().unanswered(1, 10.0).since(1, 10.0, 1) == 10.0


def test_attempts_far_apart_are_no_series() -> None:
    """The message of the first may have expired long ago, and the network may have worked meanwhile."""
    later = 10.0 + TOGETHER
    two = Silence().unanswered(1, 5.0).unanswered(1, 10.0)
    assert two.unanswered(1, later).since(1, later) is None
    lanes = Silence().unanswered(1, 0.0).unanswered(2, 0.0).unanswered(3, later)
    assert lanes.since(3, later) is None


def test_what_no_network_helps_says_nothing_for_an_hour() -> None:
    """Unless it is answered after all."""
    vain = Silence().in_vain(1, 0.0)
    assert [vain.is_vain(lane, VAIN - 1) for lane in (1, 2)] == [True, False]
    assert not vain.is_vain(1, VAIN)
    assert not vain.answered(1).is_vain(1, 1.0)
    assert vain.answered(2).is_vain(1, 1.0)
    assert [*vain.in_vain(2, VAIN).vain] == [2], "it does not grow for ever"


@given(st.lists(st.tuples(st.floats(0.1, 400), st.integers(1, 4), st.booleans()), max_size=40))
def test_a_network_that_answers_is_never_silent(steps: list[tuple[float, int, bool]]) -> None:
    """Whatever the order: what counts are attempts since the last answer, of one lane or of three."""
    value = Silence()
    since_answer: list[tuple[float, int]] = []
    for now, (_, lane, answers) in zip(accumulate(pause for pause, *_ in steps), steps, strict=True):
        value = value.answered(lane) if answers else value.unanswered(lane, now)
        since_answer = [] if answers else [*since_answer, (now, lane)]
        if answers:
            assert value == Silence()
            continue
        own = [at for at, each in since_answer if each == lane]
        since = value.since(lane, now)
        if since is not None and len({each for _, each in since_answer}) < 3:
            assert since in own
            assert len(own) >= 3
