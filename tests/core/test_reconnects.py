"""When the broker is tried again."""

from collections.abc import Callable

import pytest

from bridge.core.reconnects import ALONE, CRASHES, DELAY, LASTED, RIVAL_DELAY, Reconnects


def longest() -> Reconnects:
    return Reconnects(lambda _low, high: high)


def shortest() -> Reconnects:
    return Reconnects(lambda low, _high: low)


def test_a_broker_that_is_away_is_tried_more_and_more_seldom() -> None:
    """The delay doubles up to its bound; a connection that lasts begins from the start."""
    found = longest()
    delays = []
    for _ in range(9):
        found.ended(None)
        delays.append(found.delay())
    assert delays == [0.5, 1, 2, 4, 8, DELAY, DELAY, DELAY, DELAY]
    found.ended(LASTED)
    assert found.delay() < 1


def test_a_connection_that_is_cut_at_once_is_a_failure() -> None:
    """Ten come within fifteen seconds together; then they become seldom, though each is accepted."""
    found = longest()
    delays = []
    for _ in range(20):
        found.ended(0.1)
        delays.append(found.delay())
    assert sum(delays[:10]) < 15
    assert delays == sorted(delays)
    assert delays[-1] == DELAY
    found.ended(LASTED)
    assert found.delay() < 1


def test_a_broker_that_loses_each_session_is_tried_more_seldom_in_the_end() -> None:
    """A few crashes are forgiven, as messages are lost until we are back; one that keeps nothing is not."""
    found = longest()
    delays = []
    for _ in range(CRASHES + 20):
        found.ended(0.1)
        delays.append(found.delay())
        found.crashed()
    assert max(delays[:CRASHES]) < 1
    assert delays[-1] == DELAY
    found.ended(LASTED)
    found.crashed()
    found.ended(0.1)
    assert found.delay() < 1


def test_hours_without_a_broker_do_not_slow_what_it_cuts_when_it_is_back() -> None:
    """Who looks for the publication that it cuts the connection for gets quick tries."""
    found = longest()
    for _ in range(1000):
        found.ended(None)
    found.ended(0.1)
    assert found.delay() < 1


@pytest.mark.parametrize("make", [longest, shortest])
def test_two_boxes_do_not_take_over_each_other_for_ever(make: Callable[[], Reconnects]) -> None:
    """They come back seldom even where each connection lasted a minute, and never both at once."""
    found = make()
    delays = []
    for _ in range(10):
        found.ended(90.0, taken_over=True)
        delays.append(found.delay())
    assert delays[0] >= 1
    assert delays[-1] >= RIVAL_DELAY / 2
    assert shortest().delay() == 0


def test_the_other_client_that_is_gone_is_forgotten() -> None:
    """After a connection that lasted several times its longest delay."""
    found = longest()
    for _ in range(10):
        found.ended(1.0, taken_over=True)
    found.lasts(ALONE)
    found.ended(ALONE, taken_over=True)
    assert found.rivals == 1
    assert found.delay() == 2


def test_a_broker_that_restarts_after_a_take_over_is_tried_as_always() -> None:
    """Only a take-over waits for long."""
    found = longest()
    for _ in range(10):
        found.ended(1.0, taken_over=True)
    found.ended(None)
    assert found.delay() <= DELAY
