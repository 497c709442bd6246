"""What is worth its bytes: filters, and only the latest, on the whole bridge."""

import json

from tests.harness import BridgeProcess, Client, Cloud, eventually


def filtered(client: Client) -> int:
    return int(client.health().get("results", {}).get("filtered", 0))


def test_a_filter_lets_through_what_is_new(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """By deadband and change; nobody is told but who asks, and all are counted; a restart begins anew."""
    bridge.configure(
        routes=[
            {"match": "t/#", "filter": {"deadband": 0.2, "field": "temperature"}},
            {"match": "d/#", "filter": {"changed": True}},
        ]
    )
    cloud.start()
    bridge.start()
    for value in (20.0, 20.1, 20.2, 20.3, 20.5):
        client.publish("hologram/out/t/a", json.dumps({"temperature": value, "n": value}))
    for text in ("open", "open", "closed"):
        client.publish("hologram/out/d/a", text)
    client.publish("hologram/out/d/a", "closed", user={"id": "asked"})
    client.publish("hologram/out/d/a", "closed", user={"id": "urgent", "priority": "high"})
    assert client.wait_result("asked")["state"] == "filtered"
    assert client.wait_result("urgent")["state"] == "delivered"
    went = [b'{"temperature": 20.0, "n": 20.0}', b'{"temperature": 20.2, "n": 20.2}']
    went += [b'{"temperature": 20.5, "n": 20.5}', b"open", b"closed", b"closed"]
    eventually(lambda: sorted(cloud.payloads()) == sorted(went))
    client.wait_for(lambda: len(client.results()) == 7)
    assert filtered_in(bridge) == 4
    bridge.stop()
    bridge.start()
    assert filtered_in(bridge) == 4
    client.publish("hologram/out/d/a", "closed", user={"id": "first"})
    assert client.wait_result("first")["state"] == "delivered"


def filtered_in(bridge: BridgeProcess) -> int:
    """Return how many are counted as filtered."""
    return int(bridge.queue("stats")["results"]["filtered"])


def test_the_last_reading_of_an_interval_goes_at_its_end(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Each topic at most once in it, over a reload too; a flush and a stop do not lose what is held."""
    route = {"match": "s/#", "filter": {"min_interval": "3s"}}
    bridge.configure(routes=[route])
    cloud.start()
    bridge.start()
    for number in range(20):
        client.publish("hologram/out/s/a", f"{number}")
    assert cloud.payloads() in ([], [b"0"])
    bridge.configure(cloud={"parallel": 2})
    bridge.reload()
    eventually(lambda: cloud.payloads() == [b"0", b"19"])
    bridge.configure(routes=[{**route, "filter": {"min_interval": "1h"}}])
    bridge.reload()
    for text in ("first", "held"):
        client.publish("hologram/out/s/b", text, user={"id": text})
    assert client.wait_result("first")["state"] == "delivered"
    client.publish("hologram/queue/set", b'{"command": "flush", "id": "now"}')
    assert client.wait_result("held")["state"] == "delivered"
    client.publish("hologram/out/s/b", "at the stop", user={"id": "stopped"})
    client.publish("hologram/queue/set", b'{"command": "pause", "id": "pause"}')
    assert client.wait_result("pause")["state"] == "done"
    assert client.results("stopped") == []
    assert bridge.stop() == 0
    bridge.start()
    client.publish("hologram/queue/set", b"resume")
    assert client.wait_result("stopped")["state"] == "delivered"
    assert cloud.payloads() == [b"0", b"19", b"first", b"held", b"at the stop"]


def test_only_the_latest_of_what_waits_is_sent(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """The cloud is away: each topic's newest reading has the first one's place, also over a kill."""
    bridge.configure(routes=[{"match": "l/#", "keep": "latest"}], cloud={"parallel": 1})
    bridge.start()
    client.publish("hologram/queue/set", b'{"command": "pause", "id": "pause"}')
    assert client.wait_result("pause")["state"] == "done"

    def put(topic: str, name: str) -> None:
        client.publish(f"hologram/out/{topic}", name, user={"id": name})

    put("l/a", "a0")
    put("plain", "p0")
    put("l/b", "b0")
    put("plain", "p1")
    for number in range(1, 20):
        put("l/a", f"a{number}")
        put("l/b", f"b{number}")
    older = [f"{topic}{number}" for number in range(19) for topic in "ab"]
    client.wait_for(lambda: len(client.results()) == 1 + len(older))
    superseded = [each["id"] for each in client.results() if each["state"] == "superseded"]
    assert superseded == older
    bridge.kill()
    bridge.start()
    assert [each["id"] for each in bridge.queue("list")["messages"]] == ["a19", "p0", "b19", "p1"]
    put("l/a", "a20")
    assert client.wait_result("a19")["state"] == "superseded"
    cloud.start()
    client.publish("hologram/queue/set", b"resume")
    for name in ("a20", "p0", "b19", "p1"):
        assert client.wait_result(name, 20)["state"] == "delivered"
    assert cloud.payloads() == [b"a20", b"p0", b"b19", b"p1"]
    counted = bridge.queue("stats")["results"]
    assert (counted["superseded"], counted["delivered"]) == (39, 4)
