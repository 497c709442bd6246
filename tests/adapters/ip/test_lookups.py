"""What a look-up costs: what an exchange says, beside what a name server has seen."""

import os
from pathlib import Path

import pytest

from bridge.protocol.tcpinfo import lookup_cost
from tests.doubles.looking_up import DEAF, SERVER, Cost, looked_up

HOST = "cloudsocket.hologram.io"
QUERY = lookup_cost(HOST, 0).up
QUICK = "options timeout:1\n"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a name server of one's own needs root"),
]


def is_covered(cost: Cost) -> bool:
    """Whether no less is told than was seen, in either direction."""
    return cost.told[0] >= cost.seen[0] and cost.told[1] >= cost.seen[1]


@pytest.mark.parametrize("mode", ["one", "two"])
def test_an_answer_costs_its_two_packets(tmp_path: Path, mode: str) -> None:
    """To the byte."""
    cost = looked_up(tmp_path, HOST, mode)
    assert cost.told == cost.seen
    assert cost.told[0] == QUERY


@pytest.mark.parametrize("mode", ["none", "fail", "ipv6"])
@pytest.mark.parametrize("config", ["", "search lan example.com\n", "options edns0 attempts:3\n"])
@pytest.mark.parametrize("udp", [False, True])
def test_what_has_no_address_costs_each_question(tmp_path: Path, mode: str, config: str, udp: bool) -> None:
    """An unknown name, a server that fails, and a name of IPv6 alone, which is asked for twice."""
    cost = looked_up(tmp_path, HOST, mode, config=config, udp=udp)
    assert cost.seen[0] >= QUERY
    assert is_covered(cost), cost


def test_a_short_name_costs_the_domains_that_are_tried(tmp_path: Path) -> None:
    """The domains of ``search`` come before the name itself."""
    cost = looked_up(tmp_path, "broker", "search", config="search lan box\n")
    assert cost.seen[0] > lookup_cost("broker.lan", 0).up, "two are asked for"
    assert is_covered(cost), cost


@pytest.mark.parametrize("patience", [0.3, 20])
@pytest.mark.parametrize("udp", [False, True])
def test_silence_costs_each_try(tmp_path: Path, patience: float, udp: bool) -> None:
    """Whether the exchange waits for the resolver's end, or ends before it."""
    cost = looked_up(tmp_path, HOST, "silent", config=QUICK, patience=patience, udp=udp)
    assert cost.seen == (2 * QUERY, 0)
    assert cost.told[0] == 2 * QUERY
    assert "resolve" in cost.errors[0] or "no answer" in cost.errors[0]


def test_several_servers_that_are_silent_cost_each_try(tmp_path: Path) -> None:
    """Each name server is asked as often as `attempts` says."""
    config = f"nameserver {DEAF}\nnameserver {SERVER}\noptions timeout:1 attempts:3\n"
    cost = looked_up(tmp_path, HOST, "silent", config=config, patience=0.3)
    assert cost.seen == (3 * QUERY, 0)
    assert cost.told[0] == 2 * 3 * QUERY


def test_a_silent_server_costs_before_the_one_that_answers(tmp_path: Path) -> None:
    """The time that a look-up took tells of the tries before."""
    cost = looked_up(tmp_path, HOST, "one", config=f"nameserver {DEAF}\nnameserver {SERVER}\n{QUICK}")
    assert cost.told[0] >= QUERY + cost.seen[0]
    assert is_covered(cost), cost


def test_a_look_up_is_paid_once(tmp_path: Path) -> None:
    """By one of the exchanges that wait for it, whether they see its end or not."""
    cost = looked_up(tmp_path, HOST, "silent", config=QUICK, patience=0.3, callers=4)
    assert (len(cost.errors), cost.told[0]) == (4, 2 * QUERY)


def test_what_left_before_the_link_was_lost_is_paid(tmp_path: Path) -> None:
    """Afterwards there is no way to the server any more."""
    cost = looked_up(tmp_path, HOST, "down", config=QUICK)
    assert cost.seen == (QUERY, 0)
    assert is_covered(cost), cost


def test_without_a_way_to_a_server_nothing_is_spent(tmp_path: Path) -> None:
    """What is not sent costs nothing."""
    cost = looked_up(tmp_path, HOST, "one", config="nameserver 10.98.0.1\n")
    assert (cost.told, cost.seen) == ((0, 0), (0, 0))
