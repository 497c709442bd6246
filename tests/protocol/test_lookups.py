"""What a look-up costs at most."""

import pytest

from bridge.core.messages import Traffic
from bridge.protocol.lookups import ResolverConfig, answered, read_config, unanswered
from bridge.protocol.tcpinfo import lookup_cost

HOST = "cloudsocket.hologram.io"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ResolverConfig(search=("box.lan",))),
        ("search .\nnameserver", ResolverConfig()),
        ("# nameserver 1.1.1.1\nsearch\n", ResolverConfig()),
        ("domain a\nsearch b c\n", ResolverConfig(search=("b", "c"))),
        ("options timeout:0 attempts:9 ndots:2 edns0 x:y rotate\nsearch\n",
         ResolverConfig(timeout=1, attempts=5, ndots=2, edns=True)),
        ("options attempts:-1 timeout:x ndots: attempts:٣ timeout:99999\nsearch\n", ResolverConfig()),
        ("search\n" + "".join(f"nameserver 10.0.0.{n}\n" for n in range(9)),
         ResolverConfig(servers=("10.0.0.0", "10.0.0.1", "10.0.0.2"))),
    ],
)  # fmt: skip
def test_what_resolv_conf_says(text: str, expected: ResolverConfig) -> None:
    """Servers, domains and options within their limits; what makes no sense is as if it were not there."""
    assert read_config(text, "box.lan") == expected


def test_an_answer_in_time_costs_one_query() -> None:
    """With a trailing dot, and with a search list, too."""
    for config in (ResolverConfig(), ResolverConfig(search=("lan",), servers=("10.0.0.1", "10.0.0.2"))):
        assert answered(config, HOST, 0.9, addresses=1) == lookup_cost(HOST, 1)
    assert answered(ResolverConfig(search=("lan",)), "box.", 0.1, addresses=1) == lookup_cost("box.", 1)


def test_a_longer_time_costs_the_tries_in_it() -> None:
    """Up to all but the last, each with an answer that came too late."""
    config = ResolverConfig(servers=("10.0.0.1", "10.0.0.2"))
    query = lookup_cost(HOST, 0).up
    spent = [answered(config, HOST, took, addresses=1).up // query for took in (4, 6, 11, 16, 100)]
    assert spent == [1, 2, 3, 4, 4]


def test_a_domain_that_is_none_is_not_tried() -> None:
    """The others are."""
    config = ResolverConfig(search=("a..b", "lan"))
    assert unanswered(config, "box").up == 4 * lookup_cost("box.lan", 0).up


def test_no_name_costs_nothing() -> None:
    """What cannot be written as a question is not asked."""
    for host in ("a..b", "x" * 64, "é" * 100):
        assert answered(ResolverConfig(), host, 1, addresses=0) == Traffic()
        assert unanswered(ResolverConfig(), host) == Traffic()
