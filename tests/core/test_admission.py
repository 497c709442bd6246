"""Who may come in."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.admission import AdmissionControl, TokenBucket, neighbourhood

ALLOWED = AdmissionControl([ip_network("10.176.0.0/16"), ip_network("::1/128"), ip_network("fe80::/10")])


@pytest.mark.parametrize(
    ("host", "admitted"),
    [
        ("10.176.0.1", True),
        ("10.176.255.255", True),
        ("10.177.0.0", False),
        ("::ffff:10.176.3.4", True),
        ("::ffff:10.1.3.4", False),
        ("::1", True),
        ("::2", False),
        ("fe80::1%lo", True),
    ],
)
def test_allowed_networks(host: str, admitted: bool) -> None:
    """A peer comes in if an allowed network holds it, IPv4 on an IPv6 socket too."""
    assert ALLOWED.admits(host) is admitted
    assert ALLOWED.admits(host) is admitted, "and again, when its verdict is remembered"


@given(st.ip_addresses())
def test_every_address_has_a_verdict(address: object) -> None:
    """No address raises anything."""
    assert AdmissionControl([]).admits(str(address)) is False
    assert neighbourhood(str(address))


def test_many_peers_take_bounded_memory() -> None:
    """Verdicts of a hundred thousand addresses stay right."""
    admission = AdmissionControl([ip_network("10.0.0.0/16")])
    for number in range(100_000):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        assert admission.admits(host) is (number < 65536)


def test_neighbourhood() -> None:
    """IPv4 counts by /16, IPv6 by /64."""
    assert neighbourhood("192.0.2.77") == "192.0.0.0/16"
    assert neighbourhood("::ffff:192.0.2.77") == "192.0.0.0/16"
    assert neighbourhood("fe80::1%eth0") == "fe80::/64"


def test_pace_lets_a_burst_through_and_then_its_rate() -> None:
    """A burst goes at once, then one for each period; idle time saves up no more than a burst."""
    pace = TokenBucket(10, 3)
    assert [pace.take(100) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]
    assert pace.take(100.05) == pytest.approx(0.05)
    assert pace.take(100.11) == 0
    assert pace.take(100.11) > 0
    assert [pace.take(200) == 0 for _ in range(4)] == [True, True, True, False]
