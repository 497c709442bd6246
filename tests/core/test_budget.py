"""The budget: bounds, uses, and which messages may go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.budget import WRAP, Bounds, Prices, Reading, Spent, Use, held_by, percent
from bridge.core.messages import Priority

HIGH, NORMAL, LOW = Priority

DAY = Bounds(day=1000)


@pytest.mark.parametrize(
    ("used", "own", "priority", "held"),
    [
        (0, 0, LOW, None),
        (899, 899, NORMAL, None),
        (900, 900, NORMAL, "day"),
        (900, 900, LOW, "day"),
        (900, 900, HIGH, None),
        (1000, 1000, HIGH, "day"),
        (5000, 100, NORMAL, "day"),
        (5000, 100, HIGH, None),
        (5000, 1000, HIGH, "day"),
    ],
)
def test_high_priority_has_the_reserve_and_is_not_silenced_by_others(
    used: int, own: int, priority: Priority, held: str | None
) -> None:
    """`own` is what the bridge used of it."""
    assert held_by(DAY, Spent(day=used, own_day=own), priority) == held
    month = Spent(month=used, own_month=own)
    assert held_by(Bounds(month=1000), month, priority) == (held and "month")


def test_what_does_not_go_over_the_sim_is_not_held() -> None:
    """However much of the budget is used up."""
    assert held_by(DAY, Spent(day=9999, own_day=9999), LOW, metered=False) is None


def test_a_budget_smaller_than_one_message_lets_one_go_and_a_budget_of_nothing_none() -> None:
    """What is in flight may exceed it."""
    assert held_by(Bounds(day=1), Spent(), LOW) is None
    assert held_by(Bounds(day=1), Spent(day=410, own_day=410), HIGH) == "day"
    assert held_by(Bounds(day=0), Spent(), HIGH) == "day"


@pytest.mark.parametrize(
    ("limit", "sent", "parts", "priority", "held"),
    [
        (20, 17, 1, NORMAL, None),
        (20, 18, 1, NORMAL, "sms_day"),
        (20, 18, 2, HIGH, None),
        (20, 19, 2, HIGH, "sms_day"),
        (2, 1, 1, LOW, None),
        (0, 0, 1, HIGH, "sms_day"),
        (3, 0, 4, HIGH, "sms_day"),
    ],
)
def test_an_sms_counts_its_parts_and_never_exceeds_its_bound(
    limit: int, sent: int, parts: int, priority: Priority, held: str | None
) -> None:
    """Hologram pauses the SIM at its own limit. Of a few none are kept for high priority."""
    assert held_by(Bounds(sms_day=limit), Spent(sms_day=sent), priority, texts=parts) == held
    assert held_by(Bounds(sms_day=limit), Spent(sms_day=sent), priority) is None, "no SMS"


def test_an_interface_that_is_new_counts_from_zero() -> None:
    """One that went back began again, or wrapped where it was near the end of 32 bits."""
    assert Reading("a", 100, 50).since(None) == 150
    assert Reading("a", 150, 60).since(Reading("a", 100, 50)) == 60
    assert Reading("b", 10, 5).since(Reading("a", 100, 50)) == 15
    assert Reading("a", 10, 60).since(Reading("a", 100, 50)) == 20, "it went back"
    assert Reading("a", 10, 60).since(Reading("a", WRAP - 5, 50)) == 25, "it wrapped"
    assert Reading("a", 10, 60).since(Reading("a", 2 * WRAP, 50)) == 20, "64 bits do not wrap"


@given(st.lists(st.integers(0, 2 * WRAP), min_size=1))
def test_a_counter_never_counts_back(values: list[int]) -> None:
    """Whatever it does."""
    before = None
    for value in values:
        reading = Reading("ppp0", value, 0)
        assert reading.since(before) >= 0
        before = reading


def test_the_bridge_knows_its_own_bytes_where_an_interface_lost_them() -> None:
    """All bytes are at least the bridge's own."""
    assert Use(own=500, apart=0, link=300).bytes == 500
    assert Use(own=500, apart=200, link=400).bytes == 600


def test_percents_and_prices() -> None:
    """A bound of nothing is used up; without a price there is no cost."""
    assert (percent(699, 1000), percent(700, 1000), percent(0, 0)) == (69, 70, 100)
    assert Prices(0.4, 0.19).of(2_500_000, 3) == 1.57
    assert Prices(None, 0.19).of(2_500_000, 3) == 0.57
    assert Prices().of(1, 1) is None
