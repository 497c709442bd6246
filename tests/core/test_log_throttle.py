"""How often a frequent occurrence is worth a log line."""

from bridge.core.log_throttle import LogInterval, LogThrottle


def test_a_log_throttle_tells_of_powers_of_two() -> None:
    """The 1st, 2nd, 4th, 8th … are worth a line, whatever the time between them."""
    throttle = LogThrottle()
    assert [number for number in range(1, 101) if throttle.due()] == [1, 2, 4, 8, 16, 32, 64]
    assert throttle.count == 100


def test_a_log_interval_allows_a_line_once_in_a_period() -> None:
    """A key is due at first, then not until the period is over."""
    log_interval = LogInterval(60)
    assert [log_interval.due("a", at) for at in (0, 1, 59.9, 60, 61, 120)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    assert log_interval.due("b", 61)


def test_a_log_interval_falls_silent_with_too_many_keys() -> None:
    """Beyond its keys nothing is due until old ones are over."""
    log_interval = LogInterval(60, keys=2)
    assert [log_interval.due(key, 0) for key in "abc"] == [True, True, False]
    assert log_interval.due("c", 60)
