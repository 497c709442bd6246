"""The price list beside captures."""

import os
from collections.abc import Mapping

import pytest

from bridge.batch import encode as encode_batch
from bridge.core.retry import MAX_DELAY
from bridge.flow.health.summary import Summary
from bridge.protocol.cloud import DeviceKey, encode
from bridge.protocol.tcpinfo import Counts, cost, lookup_cost
from tests.bench.metered import NAME
from tests.bench.price_list import BATCHES, LISTED, MONTH, Price, agrees
from tests.bench.prices import READING, TOPIC, measure, readings
from tests.docs.pages import page

NEWER = "dead, linear"
"""What only a kernel of 6.5 or later can show."""


def _request(topic: str, payload: bytes) -> int:
    return len(encode(DeviceKey("abcd1234"), (topic,), payload, 0.0))


@pytest.mark.parametrize("key", BATCHES)
def test_a_batch_costs_more_than_a_reading_by_its_request(key: str) -> None:
    """Each is one exchange."""
    batch = encode_batch("q5xk2v7hmd3zj4tw", readings(BATCHES[key]))
    alone = _request(TOPIC, READING.encode())
    computed = LISTED["single"].each + _request("batch", batch) - alone
    assert agrees(computed, LISTED[key].each), computed


def test_a_heartbeat_costs_more_than_a_reading_by_its_request() -> None:
    """It is one message, of a box whose link is up."""
    beat = Summary("ok", "connected", -79, 0, None, 48213, "0.1.0").payload()
    computed = LISTED["single"].each + _request("heartbeat", beat) - _request(TOPIC, READING.encode())
    assert agrees(computed, LISTED["heartbeat"].each), computed


def test_a_look_up_costs_its_two_packets() -> None:
    """A query and an answer with one address."""
    assert LISTED["lookup"].each == sum(lookup_cost(NAME, 1))
    assert LISTED["nameless"].each == 2 * lookup_cost(NAME, 0).up


@pytest.mark.parametrize(("key", "out", "back"), [("refused", 1, 1), ("dead", 3, 0), (NEWER, 5, 0)])
def test_what_is_not_connected_costs_its_packets(key: str, out: int, back: int) -> None:
    """The look-up, each SYN, and the reset that refuses it."""
    counts = Counts(out, back, 0, 0, timestamps=False, peer_closed=False, over=False, since_ack=0.0)
    spent = cost(counts, ipv6=False, connected=False, fin=False, offered=False)
    assert LISTED[key].each == LISTED["lookup"].each + sum(spent)


def test_what_the_pages_say_of_the_list_follows_from_it() -> None:
    """The first line, the delays, and the figures that stand on other pages."""
    text, cost = (" ".join(page(name).text.split()) for name in ("price-list", "cost"))
    alone, batched = LISTED["single"].month, LISTED["batch of 60"].month
    refused = LISTED["refused"].each - LISTED["lookup"].each
    assert f"is {alone:.2g} MB a month alone, and {batched:.2g} MB in batches of an hour" in text
    assert f"from 0 to {MAX_DELAY / 60:.0f} minutes after many failures" in text
    assert f"one each {LISTED['refused'].seconds:.0f} s." in text
    assert f"a minute, {200 * MONTH / 60 / 1e6:.2g} MB a month" in text
    assert f"| a message of 20 bytes with one topic | {LISTED['single'].each} |" in cost
    assert f"| an attempt that is refused | {refused} |" in cost


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, int]:
    """The bytes of each function, from a capture of all that leaves and reaches a box."""
    return measure(tmp_path_factory.mktemp("box"))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="a capture needs root")
@pytest.mark.parametrize("price", LISTED.values(), ids=lambda price: price.key)
def test_the_list_is_what_was_carried(measured: Mapping[str, int], price: Price) -> None:
    """Header by header, to 3 %."""
    if price.key == NEWER and NEWER not in measured:
        pytest.skip("needs Linux 6.5 or later")
    assert agrees(measured[price.key], price.each), measured
