"""Whether the box knows the time, and how long messages wait for it."""

import pytest

from bridge.core.known_time import LONGEST_WAIT, PLAUSIBLE, ClockFacts, TimeWait, knows_time
from bridge.core.messages import CLOUD, CLOUD_SMS

NOTHING = ClockFacts(synchronised=False, hardware=False, service=False)
SERVICE = NOTHING._replace(service=True)


@pytest.mark.parametrize(
    ("facts", "known"),
    [
        (SERVICE, False),
        (NOTHING, True),  # nobody could set it any more
        (SERVICE._replace(synchronised=True), True),
        (SERVICE._replace(hardware=True), True),
    ],
)
def test_the_facts_decide_about_a_plausible_clock(facts: ClockFacts, known: bool) -> None:
    """A clock that shows an impossible time is never right, whatever is said of it."""
    assert knows_time(PLAUSIBLE, facts) is known
    assert not knows_time(PLAUSIBLE - 1, facts)
    assert not knows_time(0.0, facts)


def test_the_wait_begins_when_the_way_is_first_open() -> None:
    """Each destination has its own; a way that closes and opens again does not begin anew."""
    wait = TimeWait()
    assert not wait.over(CLOUD, 1e9), "it never was open"
    wait.opened(CLOUD, 100.0)
    wait.opened(CLOUD, 500.0)
    assert not wait.over(CLOUD, 100.0 + LONGEST_WAIT - 1)
    assert wait.over(CLOUD, 100.0 + LONGEST_WAIT)
    assert not wait.over(CLOUD_SMS, 1e9)
