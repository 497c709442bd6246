"""A box on Ethernet with a modem, in network namespaces: which way messages and other programs take."""

import contextlib
import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Keeper
from tests.harness.two_ways import OURS, TwoWays, two_ways

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
def test_one_alarm_over_a_network_that_swallows_it_takes_the_modem(box: TwoWays) -> None:
    """It connects, so no handshake tells. What follows is lost: no other lane is needed to find that out."""
    box.start(scope="backup", backup_after="2s", backup_hold="4s")
    send(box, "a")
    assert ended(box, "a") == ["delivered"]
    box.swallow()
    box.client.publish("hologram/out/alarm", "x" * 400, user={"id": "alarm"})
    assert ended(box, "alarm") == ["delivered"]
    assert box.paths() == ["modem"]
    box.client.wait_for(lambda: box.paths() == ["modem", "own"], 30)
    box.client.publish("hologram/out/alarm", "y" * 400, user={"id": "second"})
    assert ended(box, "second") == ["delivered"]
    assert box.paths() == ["modem", "own", "modem"], "the first loss brings the messages back"
    box.pass_all()
    box.client.wait_for(lambda: box.paths()[3:] == ["own"], 30)
    send(box, "b")
    assert ended(box, "b") == ["delivered"]
    lan, mobile = box.arrived()
    assert (lan, mobile) == (["a", "b"], ["x" * 400, "y" * 400])


TUNNEL = "10.254.7.7"
"""An address from which SpaceBridge's tunnels come."""


def _echo(box: TwoWays) -> int:
    """Have another program of the box serve a TCP port, and return it."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as connection:
                    connection.sendall(connection.recv(100))

    listener: socket.socket = box.near.do(lambda: socket.create_server(("0.0.0.0", 0)))
    box.near.do(threading.Thread(target=serve, daemon=True).start)
    return int(listener.getsockname()[1])


def _ask(box: TwoWays, port: int, text: bytes) -> bytes:
    """Send ``text`` through the tunnel; return what comes back until the end."""

    def ask() -> bytes:
        address, source = (OURS, port), (TUNNEL, 0)
        with socket.create_connection(address, timeout=20, source_address=source) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(100), b""))

    return box.mobile.do(ask)


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["bridge", "backup"])
def test_tunnels_and_messages_come_in_over_the_link(box: TwoWays, scope: str) -> None:
    """Their answers go back over it, although the default route leads elsewhere, whatever rp_filter says."""
    box.mobile.ip(f"address add {TUNNEL}/32 dev lo")
    box.bridge.configure(inbound={"enabled": True})
    box.start(scope=scope, autoconnect=True)
    box.client.wait_for(lambda: box.client.state("hologram/network/status")["local_ip"] == OURS, 30)
    port = _echo(box)
    for rp_filter in ("0", "1", "2"):
        box.filter_sources(rp_filter, "all", "ppp0", "eth0")
        assert _ask(box, port, b"to another program") == b"to another program"
        _ask(box, 4010, f"in-{rp_filter}".encode())
        box.client.wait_for(lambda: len(box.client.messages("hologram/in")) == int(rp_filter) + 1, 20)  # noqa: B023
    came = box.client.messages("hologram/in")
    assert [each.payload for each in came] == [b"in-0", b"in-1", b"in-2"]
    assert {each.properties["user"]["peer"].rpartition(":")[0] for each in came} == {TUNNEL}
    if scope == "backup":
        assert box.client.health()["path"] == "own"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cut", "blackhole", "lose_names", "swallow"])
def test_the_time_to_the_first_message_over_the_modem(box: TwoWays, how: str) -> None:
    """It is `backup_after`, and that of the first failure, of the look, and of the call."""
    after = 10.0
    box.start(timeout=5, scope="backup", backup_after=after)
    if how != "lose_names":  # of which a message tells that has to look the name up
        send(box, "a")
        assert ended(box, "a") == ["delivered"]
    getattr(box, how)()
    began = time.monotonic()
    box.client.publish("hologram/out/alarm", "x" * 400, user={"id": "alarm"})
    assert ended(box, "alarm") == ["delivered"]
    print(f"{how}: backup_after and {time.monotonic() - began - after:.1f} s")
    assert box.paths() == ["modem"]


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
