"""The limits of one exchange."""

import pytest

from bridge.core.exchange import Job, whole_limit


def make(size: int, silence: float = 5) -> Job:
    return Job("host", 1, bytes(size), lambda _: False, silence, whole_limit(silence, size))


@pytest.mark.parametrize(
    ("size", "limit"), [(0, 30), (80, 30), (30_000, 30), (30_001, 30.001), (2_000_000, 2000)]
)
def test_the_whole_is_bounded_by_silences_or_size(size: int, limit: float) -> None:
    """Six silences, or where that is longer what its size needs at 1 kB a second."""
    assert make(size).limit == pytest.approx(limit)
    assert make(size).large is (limit > 30)


@pytest.mark.parametrize(
    ("passed", "elapsed", "cut"),
    [
        (0, 29.9, False),
        (0, 30, True),
        (29_999, 30, True),
        (30_000, 30, False),
        (30, 31, True),
        (1_999_999, 1999.9, False),
        (2_000_000, 5000, False),
    ],
)
def test_a_large_request_is_judged_by_its_pace(passed: int, elapsed: float, cut: bool) -> None:
    """Once six silences are over; never when all of it has passed and only the answer is waited for."""
    assert bool(make(2_000_000).too_slow(passed, elapsed)) is cut


def test_a_small_one_has_its_time() -> None:
    """Below what six silences allow no pace is asked for."""
    assert make(100).too_slow(0, 29.9) is None
