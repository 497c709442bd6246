"""A box on Ethernet with a modem, in network namespaces: which way messages and other programs take."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Keeper
from tests.harness.two_ways import TwoWays, two_ways

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root"),
]


@pytest.fixture
def box(keeper: Keeper, tmp_path: Path) -> Iterator[TwoWays]:
    with two_ways(keeper, tmp_path) as made:
        yield made


def send(box: TwoWays, *names: str) -> None:
    """Publish messages, the name being id and payload; their priorities take turns."""
    for number, name in enumerate(names):
        priority = ("high", "normal", "low")[number % 3]
        box.client.publish(f"hologram/out/{name}", name, user={"id": name, "priority": priority})


def ended(box: TwoWays, *names: str) -> list[str]:
    """Wait for their results; return the states."""
    return [box.client.wait_result(name, 40)["state"] for name in names]


def test_messages_take_the_modem_and_nothing_else_does(box: TwoWays) -> None:
    """Scope bridge, under rp_filter 1: with the Ethernet, and without any route of the box's own."""
    box.talk()
    box.start(scope="bridge")
    send(box, "a", "b")
    assert ended(box, "a", "b") == ["delivered"] * 2
    status = box.client.state("hologram/network/status")
    assert (status["path"], status["local_ip"]) == ("modem", "10.176.5.6")
    box.cut()
    send(box, "c")
    assert ended(box, "c") == ["delivered"]
    lan, mobile = box.arrived()
    assert (lan, sorted(mobile)) == ([], ["a", "b", "c"])
    assert box.names[box.lan].asked == [], "no name was asked for over the Ethernet"
    assert box.heard(box.lan) > 0
    assert box.heard(box.mobile) == 0
    box.client.publish("hologram/network/set", "disconnect")
    box.client.wait_for(lambda: box.client.state("hologram/network/status")["state"] == "disconnected", 20)
    assert "10176" not in box.rules()


def test_the_modem_is_the_backup_of_the_ethernet(box: TwoWays) -> None:
    """It carries once the Ethernet has failed for long enough, and is hung up once that works again."""
    box.talk()
    box.start(scope="backup", backup_after="1s", backup_hold="2s")
    send(box, "a")
    assert ended(box, "a") == ["delivered"]
    assert box.client.health()["path"] == "own"
    box.blackhole()
    send(box, "b", "c")
    assert ended(box, "b", "c") == ["delivered"] * 2
    assert {each["attempts"] for each in box.client.results()} == {1}
    assert box.paths() == ["modem"]
    box.clear()
    box.client.wait_for(lambda: box.paths() == ["modem", "own"], 30)
    send(box, "d")
    assert ended(box, "d") == ["delivered"]
    box.client.wait_for(lambda: box.client.events("network.disconnected"), 60)
    lan, mobile = box.arrived()
    assert (lan, sorted(mobile)) == (["a", "d"], ["b", "c"])
    assert box.heard(box.mobile) == 0
    by_path = box.client.health()["bytes_by_path"]["today"]
    assert by_path["own"] > 0
    assert by_path["modem"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_ten_changes_under_load_lose_nothing(box: TwoWays, seed: int) -> None:
    """Cable, blackhole and name server, and the bridge killed in between: one result each, nobody else paid.

    The Ethernet is bad for a while, and then good for a while.
    """
    draw = random.Random(seed)
    box.talk()
    box.start(scope="backup", backup_after="1s", backup_hold="2s")
    names: list[str] = []
    for change in range(10):
        worse, better = draw.choice(
            [(box.cut, box.connect), (box.blackhole, box.clear), (box.lose_names, box.find_names)]
        )
        worse()
        for part in range(2):
            batch = [f"m{change}-{part}-{number}" for number in range(6)]
            names += batch
            send(box, *batch)
            if draw.random() < 0.3:
                box.bridge.kill()
                box.restart()
        if draw.random() < 0.6:
            assert set(ended(box, *names)) == {"delivered"}
        better()
    assert set(ended(box, *names)) == {"delivered"}
    # A report that a kill interrupts is published again as it was.
    results = {json.dumps(each) for each in box.client.results()}
    assert sorted(json.loads(each)["id"] for each in results) == sorted(names), "one result each"
    lan, mobile = box.arrived()
    assert {*lan, *mobile} == set(names)
    assert box.heard(box.mobile) == 0
    box.client.wait_for(lambda: box.client.state("hologram/network/status")["state"] == "disconnected", 90)
