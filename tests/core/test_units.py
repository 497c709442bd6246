"""Durations and sizes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.units import MAX_DURATION, parse_duration, parse_percent, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600),
        ("90s", 90),
        ("1h", 3600),
        ("7d", 604800),
        ("500ms", 0.5),
        ("30", 30),
        (30, 30),
        (0.25, 0.25),
        ("1.5h", 5400),
        (" 2 m ", 120),
        ("3650d", MAX_DURATION),
    ],
)
def test_durations_are_read_as_seconds(text: object, seconds: float) -> None:
    """A number counts in its unit, in seconds without one."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "m",
        "0",
        "0s",
        "-1s",
        "10y",
        "3651d",
        "1e3",
        "nan",
        "inf",
        "٣s",
        "1 0s",
        None,
        True,
        [],
        -1,
        0,
        math.nan,
        math.inf,
        10**400,
        "9" * 5000,
    ],
)
def test_other_durations_are_refused_with_what_is_allowed(value: object) -> None:
    """Anything not above 0 and at most ten years is refused, in one line."""
    with pytest.raises(
        ValueError, match=r"^not a duration; allowed is a number with ms, s, m, h or d.*3650d$"
    ):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MB", 512000000),
        ("64KB", 64000),
        ("1GB", 10**9),
        ("64KiB", 65536),
        ("1MiB", 2**20),
        (65536, 65536),
        ("100", 100),
        ("7B", 7),
        ("1.5MB", 1500000),
        ("2 tb", 2 * 10**12),
    ],
)
def test_sizes_are_read_as_bytes(text: object, size: int) -> None:
    """Decimal prefixes count by 1000, binary ones by 1024."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "value", ["", "MB", "0", "-5", "1.5", 1.5, True, None, "5XB", "0.1", "9999999999999TB", 0, -1]
)
def test_other_sizes_are_refused_with_what_is_allowed(value: object) -> None:
    """Anything not a whole number of bytes above 0 is refused, in one line."""
    with pytest.raises(ValueError, match=r"^not a size; allowed is a whole number of bytes"):
        parse_size(value)


@given(st.text())
def test_any_text_gives_a_bounded_value_or_a_value_error(text: str) -> None:
    """No text leads to another error or to a value out of bounds."""
    for parse, most in ((parse_duration, MAX_DURATION), (parse_size, 2**63 - 1)):
        try:
            value: float = parse(text)
        except ValueError:
            continue
        assert 0 < value <= most


@pytest.mark.parametrize(
    ("given", "percent"), [("10%", 10), (" 2.5 % ", 2.5), ("0%", 0), ("100", 100), (10.0, 10), (0, 0)]
)
def test_percentages_are_read_with_and_without_the_sign(given: object, percent: float) -> None:
    """What `check-config` prints is read again."""
    assert parse_percent(given) == percent


@pytest.mark.parametrize(
    "value", ["", "%", "101%", "-1%", "1e2%", 101, -1, True, None, math.nan, math.inf, [10]]
)
def test_no_percentage(value: object) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="allowed is a percentage"):
        parse_percent(value)
