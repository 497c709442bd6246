"""What is said of connections that end."""

import pytest

from bridge.flow.health.connections import Connections
from tests.doubles.time import MovableTime


def test_a_broker_that_is_away_is_said_once() -> None:
    """However often it is tried; another reason is another line."""
    found = Connections(MovableTime())
    assert [found.ended("away") for _ in range(5)] == ["away", None, None, None, None]
    assert found.ended("refused") == "refused"


def test_what_repeats_is_said_seldom_and_counted() -> None:
    """At 1, 2, 4, 8 … times; so is the line that it is connected."""
    found = Connections(MovableTime())
    said, came = [], 0
    for _ in range(100):
        came += found.began()
        said.append(found.ended("cut"))
    lines = [path for path in said if path]
    assert lines == ["cut", *(f"cut ({2**n} times)" for n in range(1, 7))]
    assert came == 8
    assert found.figures() == {"connected": False, "ended": 100, "reason": "cut"}


@pytest.mark.parametrize(("lasted", "times"), [(30.0, 3), (601.0, 0)])
def test_a_connection_that_lasts_begins_the_count_again(lasted: float, times: int) -> None:
    """Ten minutes show that the cause is gone."""
    watch = MovableTime()
    found = Connections(watch)
    for _ in range(3):
        found.began()
        found.ended("cut")
    found.began()
    watch.pass_(lasted)
    assert found.figures() == {"connected": True, "ended": times, "reason": "cut" if times else None}


def test_reasons_without_number_take_no_memory() -> None:
    """The broker words them."""
    found = Connections(MovableTime())
    for number in range(10_000):
        found.began()
        found.ended(f"reason {number}")
    assert len(found._ends) <= 16
