"""The budget, quotes and what is counted, with real processes and beside a capture."""

import json
import os
import socket
from typing import Any

import pytest

from tests.doubles.capture import capturing
from tests.e2e.test_direct_ip import Peer, close, route, say
from tests.harness import BridgeProcess, Client, Cloud, Keeper, eventually, free_port

root = pytest.mark.skipif(os.geteuid() != 0, reason="a capture needs root")


def quote(client: Client, name: str, **message: Any) -> dict[str, Any]:
    client.publish("hologram/quote", json.dumps(message | {"id": name}).encode())
    return client.wait_result(name)


@root
@pytest.mark.root
@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("send", {"data": "21.5", "topics": ["kitchen"]}),
        ("send", {"data": "x" * 1000, "topics": ["a", "b/c"]}),
        ("send", {"data_base64": "AAEC/w=="}),
        ("send", {"data": "x" * 200_000}),
        ("sms", {"to": "+15551234567", "body": "Cellar: water at 12 cm"}),
    ],
)
def test_a_quote_agrees_with_what_is_billed(
    bridge: BridgeProcess, cloud: Cloud, client: Client, topic: str, message: dict[str, Any]
) -> None:
    """To 2 percent of what the IP layer then carries. Nothing is sent for the quote."""
    cloud.start()
    bridge.configure(prices={"mb": 0.4, "sms": 0.19})
    bridge.start()
    with capturing(cloud.port) as capture:
        quoted = quote(client, "quote", **message)
    assert capture.packets == []
    assert (quoted["channel"], quoted["state"]) == ("quote", "done")
    with capturing(cloud.port) as capture:
        client.publish(f"hologram/{topic}", json.dumps(message | {"id": "quote"}).encode())
        eventually(
            lambda: any(each["state"] == "delivered" for each in client.results()), 30, what="it is sent"
        )
    billed, told = sum(capture.traffic), quoted["bytes_up"] + quoted["bytes_down"]
    assert abs(told - billed) <= 0.02 * billed, (quoted, capture.traffic)
    assert quoted["segments"] == (topic == "sms")
    assert quoted["cost"] == round(told / 1e6 * 0.4 + 0.19 * (topic == "sms"), 6)


@root
@pytest.mark.root
@pytest.mark.parametrize("payload", ['{"temperature":21.5}', "21.5"])
def test_a_quote_has_the_time_that_goes_with_the_message(
    bridge: BridgeProcess, cloud: Cloud, client: Client, payload: str
) -> None:
    """Where its route stamps it; to 2 percent."""
    cloud.start()
    bridge.configure(routes=[{"match": "sensors/#", "stamp": "at"}])
    bridge.start()
    message = {"data": payload, "topics": ["sensors/kitchen"]}
    quoted = quote(client, "quote", **message)
    with capturing(cloud.port) as capture:
        client.publish("hologram/send", json.dumps(message | {"id": "sent"}).encode())
        assert client.wait_result("sent")["state"] == "delivered"
    assert b'"at":' in cloud.accepted[-1].payload
    billed, told = sum(capture.traffic), quoted["bytes_up"] + quoted["bytes_down"]
    assert abs(told - billed) <= 0.02 * billed, (quoted, capture.traffic)


@root
@pytest.mark.root
@pytest.mark.parametrize("size", [20, 5000])
@pytest.mark.parametrize("expect", [None, "OK"])
def test_a_quote_for_direct_ip_agrees_with_what_is_billed(
    bridge: BridgeProcess, client: Client, keeper: Keeper, expect: str | None, size: int
) -> None:
    """To 2 percent where the peer answers and closes, and where it reads until the end and closes."""

    def answer(connection: socket.socket, _number: int) -> None:
        connection.sendall(b"OK")

    peer = Peer(keeper, answer if expect else close, size if expect else None).start()
    route(bridge, peer.port, expect=expect)
    message = {"data": "x" * size, "topics": ["scada/pump"]}
    with capturing(peer.port) as capture:
        quoted = quote(client, "quote", **message)
    assert capture.packets == []
    with capturing(peer.port) as capture:
        client.publish("hologram/send", json.dumps(message | {"id": "sent"}).encode())
        result = client.wait_result("sent")
    assert (result["state"], result["channel"]) == ("delivered", "tcp")
    billed, told = sum(capture.traffic), quoted["bytes_up"] + quoted["bytes_down"]
    assert abs(told - billed) <= 0.02 * billed, (quoted, capture.traffic, capture.packets)


@root
@pytest.mark.root
def test_a_quote_for_direct_ip_is_a_segment_too_high_where_the_peer_stays(
    bridge: BridgeProcess, client: Client, keeper: Keeper
) -> None:
    """Nobody knows before whether it closes after its answer: the quote has the close, which is not there."""
    peer = Peer(keeper, say(b"OK"), 20).start()
    route(bridge, peer.port, expect="OK")
    message = {"data": "x" * 20, "topics": ["scada/pump"]}
    quoted = quote(client, "quote", **message)
    with capturing(peer.port) as capture:
        client.publish("hologram/send", json.dumps(message | {"id": "sent"}).encode())
        assert client.wait_result("sent")["state"] == "delivered"
    told = quoted["bytes_up"] + quoted["bytes_down"]
    assert told - sum(capture.traffic) in (40, 52)


def test_a_quote_for_a_datagram_is_what_its_result_tells(
    bridge: BridgeProcess, client: Client, keeper: Keeper
) -> None:
    """A header of 28 bytes, and no answer."""
    route(bridge, free_port(), "udp")
    message = {"data": "x" * 100, "topics": ["scada/pump"]}
    quoted = quote(client, "quote", **message)
    client.publish("hologram/send", json.dumps(message | {"id": "sent"}).encode())
    result = client.wait_result("sent")
    assert (quoted["bytes_up"], quoted["bytes_down"]) == (128, 0)
    assert (result["bytes_up"], result["bytes_down"]) == (128, 0)


def test_a_quote_for_what_cannot_be_sent_names_the_field(bridge: BridgeProcess, client: Client) -> None:
    """As the message itself would."""
    bridge.start()
    for name, message, field in (
        ("a", {"data": "x", "topics": ["b c"]}, "topics"),
        ("b", {"to": "+15551234567", "body": "x" * 161}, "body"),
        ("c", {"to": "+15551234567", "body": "x", "data": "y"}, "data"),
        ("d", {}, "data"),
    ):
        result = quote(client, name, **message)
        assert (result["channel"], result["state"]) == ("quote", "rejected")
        assert result["description"].startswith(f"{field}:")


def test_the_command_prints_what_the_topic_tells(bridge: BridgeProcess, client: Client) -> None:
    """With and without prices; without a daemon it says so."""
    bridge.start()
    quoted = quote(client, "a", data="21.5", topics=["kitchen"])
    assert quoted["cost"] is None
    done = bridge.run("quote", "--topic", "kitchen", "21.5")
    assert done.stdout.splitlines() == [
        f"bytes      {quoted['bytes_up']} up, {quoted['bytes_down']} down", "cost       no prices are set",
    ]  # fmt: skip
    done = bridge.run("quote", "--to", "+15551234567", "hello", "--json")
    assert json.loads(done.stdout)["segments"] == 1
    bridge.stop()
    done = bridge.run("quote", "x")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


@root
@pytest.mark.root
def test_after_kill_9_the_own_bytes_are_not_too_low(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Each time with messages in flight, beside a capture of all that was sent."""
    cloud.start("--delay", "0.3")
    with capturing(cloud.port) as capture:
        for number in range(5):
            bridge.start()
            before = len(cloud.arrived)
            client.flood((f"hologram/out/t{each % 7}", f"{number}-{each}-" + "x" * 500) for each in range(20))
            eventually(lambda at=before: len(cloud.arrived) >= at + 3, 30, what="some arrive")  # type: ignore[misc]
            bridge.kill()
        bridge.start()
        eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 0, 90, what="all is sent")
        told = bridge.queue("stats")["bytes"]["today"]
    assert told["up"] >= capture.traffic.up
    assert told["down"] >= capture.traffic.down
    assert told["up"] + told["down"] <= 1.5 * sum(capture.traffic)


def test_thirty_writers_stay_within_the_budget_and_alarms_arrive(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Never more than the budget and what was in flight, over a restart too."""
    cloud.start()
    bridge.configure(budget={"day": "20kB", "reserve": "20%"})
    bridge.start()
    priorities = ("normal", "low", "normal", "low", "high")
    for count in range(3):
        for writer in range(30):
            if priorities[writer % 5] != "high":
                client.publish(
                    f"hologram/out/w{writer}", f"{count}".encode(), user={"priority": priorities[writer % 5]}
                )
    client.wait_for(lambda: client.events("budget.held"), 30, what="the rest waits")
    held = bridge.queue("stats")
    assert 16_000 <= held["budget"]["day"]["use"] <= 16_000 + 4 * 500
    assert held["budget"]["day"]["holds"]
    assert sum(held["queue"]["held"].values()) == held["queue"]["messages"] > 20
    bridge.kill()
    bridge.start()
    client.publish("hologram/out/alarm", b"fire", user={"id": "fire", "priority": "high"})
    assert client.wait_result("fire")["state"] == "delivered"
    assert bridge.queue("stats")["queue"]["messages"] == held["queue"]["messages"]
    listed = bridge.queue("list")["messages"]
    assert {each["held"] for each in listed} == {"day"}
    client.publish("hologram/budget/set", b'{"day": null, "id": "lift"}')
    assert client.wait_result("lift")["state"] == "done"
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 0, 60, what="the rest goes")
    assert [each for each in client.events("budget.released") if each["of"] == "day"]
    by_lane: dict[str, list[bytes]] = {}
    for arrived in cloud.accepted:
        by_lane.setdefault(arrived.topics[0], []).append(arrived.payload)
    by_lane.pop("alarm")
    assert all(payloads == [b"0", b"1", b"2"] for payloads in by_lane.values())


def test_costs_and_usage_are_published(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Health has the cost of today and of the month, and the usage is retained."""
    cloud.start()
    bridge.configure(prices={"mb": 1000, "currency": "EUR"}, budget={"month": "1MB"})
    bridge.start()
    client.publish("hologram/out/a", b"x", user={"id": "m"})
    result = client.wait_result("m")
    told = bridge.queue("stats")
    spent = result["bytes_up"] + result["bytes_down"]
    assert told["cost"] == {"today": spent / 1000, "month": spent / 1000, "currency": "EUR"}
    assert told["budget"]["month"]["left"] == 1_000_000 - spent
    usage = client.wait_last("hologram/bridge/usage")
    assert len(usage.json()["days"]) == 30
