"""Days and months in UTC, with the time and without it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.days import DAY, DayClock, begin_of, month_after, month_of, utc_day
from bridge.core.messages import Now

NOON = 1_700_049_600.0  # 2023-11-15 12:00 UTC


@pytest.mark.parametrize(
    ("day", "starts", "first"),
    [
        ("2023-11-15", 1, "2023-11-01"),
        ("2023-11-15", 15, "2023-11-15"),
        ("2023-11-15", 16, "2023-10-16"),
        ("2024-01-05", 28, "2023-12-28"),
        ("2024-02-29", 28, "2024-02-28"),
        ("2024-03-01", 28, "2024-02-28"),
    ],
)
def test_a_month_begins_on_its_day(day: str, starts: int, first: str) -> None:
    """Up to the 28th, which every month has."""
    assert month_of(day, starts) == first


@given(st.integers(0, 40_000), st.integers(1, 28))
def test_months_follow_each_other_without_a_gap(number: int, starts: int) -> None:
    """The day before the next month is still of this one."""
    first = month_of(utc_day(number * DAY), starts)
    after = month_after(first)
    assert first <= utc_day(number * DAY) < after
    assert month_of(utc_day(begin_of(after) - 1), starts) == first


def test_with_the_time_the_day_is_that_of_the_clock() -> None:
    """Forward and back over midnight, whatever ran meanwhile."""
    clock = DayClock().at(Now(NOON, 5), known=True)
    assert clock.day == "2023-11-15"
    clock = clock.at(Now(NOON + DAY, 6), known=True)
    assert clock.day == "2023-11-16"
    assert clock.at(Now(NOON, 7), known=True).day == "2023-11-15"


def test_without_the_time_it_goes_on_with_the_day_it_was_in() -> None:
    """Another begins after each 24 hours of running, over restarts too."""
    clock = DayClock("2023-11-30").at(Now(3.0, 3.0), known=False)
    assert clock.day == "2023-11-30"
    clock = clock.at(Now(4.0, 3.0 + DAY - 1), known=False)
    assert clock.day == "2023-11-30"
    again = DayClock(clock.day, clock.ran).at(Now(0.0, 0.0), known=False)
    assert again.at(Now(0.0, 2.0), known=False).day == "2023-12-01"
    assert again.at(Now(0.0, 3 * DAY), known=False).day == "2023-12-03"


def test_a_box_that_never_had_the_time_has_a_day_without_a_date() -> None:
    """That of its clock, which is before the first release."""
    clock = DayClock().at(Now(100.0, 100.0), known=False)
    assert not clock.dated
    assert clock.at(Now(NOON, 200.0), known=True).dated
