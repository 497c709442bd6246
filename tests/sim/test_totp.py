"""One-time codes, against the vectors of RFC 4226 appendix D."""

import pytest

from bridge.sim.totp import SKEW, code_is_right, hotp

SECRET = b"12345678901234567890"  # RFC 4226 appendix D
CODES = [755224, 287082, 359152, 969429, 338314, 254676, 287922, 162583, 399871, 520489]


@pytest.mark.parametrize(("counter", "code"), list(enumerate(CODES)))
def test_rfc_4226_vectors(counter: int, code: int) -> None:
    """The codes of counters 0 to 9 are those that RFC 4226 appendix D lists."""
    assert hotp(SECRET, counter) == code


def test_rfc_6238_vector_gives_the_time_step() -> None:
    """RFC 6238 appendix B: at 1111111109 s the 8-digit code is 07081804, with steps of 30 s."""
    assert hotp(SECRET, 1111111109 // 30, digits=8) == 7081804


@pytest.mark.parametrize("off", [0, SKEW, -SKEW])
def test_a_clock_that_is_a_little_off_is_forgiven(off: int) -> None:
    """A timestamp up to the skew away from now counts; its own code is asked, not that of now."""
    assert code_is_right(SECRET.decode(), 59, "287082", 59 + off)


@pytest.mark.parametrize("off", [SKEW + 1, -SKEW - 1])
def test_a_clock_that_is_far_off_is_refused(off: int) -> None:
    """Beyond the skew even the right code is refused."""
    assert not code_is_right(SECRET.decode(), 59, "287082", 59 + off)


@pytest.mark.parametrize("code", ["287083", "0287082", "", "755224"])
def test_a_wrong_code_is_refused(code: str) -> None:
    """Another number, a leading zero, nothing, or the code of the step before is refused."""
    assert not code_is_right(SECRET.decode(), 59, code, 59)
