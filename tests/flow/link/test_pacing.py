"""When a link is tried again, and when one that reaches nothing is given up."""

import pytest

from bridge.flow.link.pacing import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_STALE,
    STALE,
    STEADY,
    Attempts,
    Staleness,
)
from tests.doubles.time import Clock


@pytest.mark.parametrize("kind", LONGEST_PAUSE)
def test_pauses_double_up_to_a_bound(kind: str) -> None:
    """A random part is taken off, so that the boxes of a fleet do not call together."""
    attempts = Attempts(kind, Clock())
    pauses = [attempts.failed(waited=False) for _ in range(20)]
    for number, pause in enumerate(pauses):
        longest = min(LONGEST_PAUSE[kind], FIRST_PAUSE * 2**number)
        assert 0.75 * longest <= pause <= longest


def test_a_pause_is_over_when_its_time_is() -> None:
    """A change ends it too."""
    clock = Clock()
    attempts = Attempts("cellular", clock)
    assert attempts.wait == 0.0
    pause = attempts.failed(waited=False)
    clock.pass_(pause - 1.0)
    assert attempts.wait == pytest.approx(1.0)
    clock.pass_(1.5)
    assert attempts.wait == 0.0
    attempts.failed(waited=False)
    attempts.at_once()
    assert (attempts.wait, attempts.failures) == (0.0, 2)


def test_an_attempt_that_only_waited_for_a_network_does_not_lengthen_the_pause() -> None:
    """It did not call, so no network minds it."""
    attempts = Attempts("cellular", Clock())
    assert max(attempts.failed(waited=True) for _ in range(10)) <= FIRST_PAUSE


def test_a_link_that_was_not_wanted_any_more_starts_again() -> None:
    """The next failure has the first pause again."""
    attempts = Attempts("cellular", Clock())
    for _ in range(5):
        attempts.failed(waited=False)
    attempts.forget()
    assert (attempts.wait, attempts.failures) == (0.0, 0)
    assert attempts.failed(waited=False) <= FIRST_PAUSE


def test_a_link_that_keeps_breaking_at_once_has_pauses() -> None:
    """The first break has no pause, and a link that lasted clears the count."""
    clock = Clock()
    attempts = Attempts("cellular", clock)
    waits = []
    for _ in range(8):
        attempts.came_up()
        clock.pass_(STEADY - 1.0)
        attempts.broke()
        waits.append(attempts.wait)
        clock.pass_(attempts.wait)
    assert waits[0] == 0.0
    assert all(0.0 < wait < STEADY + 0.001 for wait in waits[1:])
    attempts.came_up()
    clock.pass_(STEADY + 1.0)
    attempts.broke()
    assert attempts.wait == 0.0


def test_a_link_that_reaches_nothing_is_dialled_again() -> None:
    """The time counts from when the link came up, and doubles after each redial without effect."""
    clock, since = Clock(), 0.0
    stale = Staleness(clock, lambda: since)
    stale.came_up()
    patience = STALE
    for _ in range(8):
        clock.pass_(patience - 1.0)
        assert not stale.look()
        clock.pass_(1.0)
        assert stale.look()
        stale.came_up()
        patience = min(2 * patience, LONGEST_STALE)


def test_a_link_that_reaches_something_is_not_stale() -> None:
    """Its patience goes back to that of a new link."""
    clock = Clock()
    since: float | None = clock.mono
    stale = Staleness(clock, lambda: since)
    stale.came_up()
    clock.pass_(STALE)
    assert stale.look()
    since = None
    clock.pass_(LONGEST_STALE)
    assert not stale.look()
    since = clock.mono
    clock.pass_(STALE)
    assert stale.look()
