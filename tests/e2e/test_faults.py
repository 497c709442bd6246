"""A cloud that fails in every way: nothing is lost, one end each, and health says what is wrong."""

from collections import Counter
from typing import Any

import pytest

from tests.harness import BridgeProcess, Client, Cloud, eventually

FAULTS = ("close:7", "split:5", "code6:11", "garbage:13", "reset:17")


def test_2000_messages_through_a_faulty_cloud(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Every one is accepted at least once, and each has exactly one final result."""
    cloud.start(*(word for fault in FAULTS for word in ("--fault", fault)))
    bridge.configure(cloud={"parallel": 16})
    bridge.start()
    ids = [f"m{number}" for number in range(2000)]
    client.flood(
        ("hologram/send", f'{{"data":"{name}","topics":["t{number % 250}"],"id":"{name}"}}')
        for number, name in enumerate(ids)
    )
    client.wait_for(lambda: len(client.results()) >= 2000, 120, what="2,000 results")
    assert bridge.stop() == 0, "and with it all that it might still have said"
    assert Counter(each["id"] for each in client.results()) == Counter(ids)
    assert {each["state"] for each in client.results()} == {"delivered"}
    arrivals = Counter(cloud.payloads())
    assert arrivals.keys() == {name.encode() for name in ids}
    assert {each.fault for each in cloud.arrived} >= {"close", "split", "code6", "garbage", "reset"}
    again = sum(arrivals.values()) - 2000
    print(f"{len(cloud.arrived)} requests for 2000 messages, {again} accepted more than once")
    assert again == 0, "none of these faults hides an acceptance"


def trouble(client: Client, word: str) -> Any:
    """Wait until health says that the cloud is down, and why."""

    def said() -> Any:
        health = client.health()
        reason = health["destinations"][0]["reason"] if health.get("destinations") else None
        return health if reason and word in reason.lower() else None

    return client.wait_for(said, 20, what=f"health says {word}")


def queue_three(client: Client) -> None:
    """Publish three messages on three topics."""
    for number in range(3):
        client.publish(f"hologram/out/t{number}", str(number), user={"id": f"m{number}"})


def all_delivered(client: Client, cloud: Cloud, timeout: float = 20.0) -> None:
    """Wait until those three have arrived, and health says so."""
    for number in range(3):
        assert client.wait_result(f"m{number}", timeout)["state"] == "delivered"
    assert sorted(set(cloud.payloads())) == [b"0", b"1", b"2"]
    client.wait_for(lambda: client.health().get("state") == "ok", what="health is ok again")


def test_a_cloud_that_is_absent(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Connections are refused: said in health, kept, delivered when it is there."""
    bridge.start()
    queue_three(client)
    health = trouble(client, "refused")
    assert health["state"] == "degraded"
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 3, what="all are kept")
    assert health["last_error"]["component"] == "uplink"
    cloud.start()
    all_delivered(client, cloud)


def test_a_cloud_whose_name_resolves_to_nothing(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Said with the name in health; with the right name all is delivered."""
    bridge.configure(cloud={"host": "nowhere.invalid"})
    bridge.start()
    queue_three(client)
    health = trouble(client, "nowhere.invalid")
    assert health["state"] == "degraded"
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 3, what="all are kept")
    assert bridge.stop() == 0
    cloud.start()
    bridge.configure(cloud={"host": "localhost"})
    bridge.start()
    all_delivered(client, cloud)


def test_a_cloud_that_says_nothing(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """It takes connections and requests and keeps silent: each try ends after ``cloud.timeout``."""
    cloud.start("--fault", "silent:1")
    bridge.configure(cloud={"timeout": 0.5})
    bridge.start()
    queue_three(client)
    health = trouble(client, "0.5 s")
    assert health["state"] == "degraded"
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 3, what="all are kept")
    cloud.stop()
    cloud.start()
    all_delivered(client, cloud)


@pytest.mark.parametrize("timeout", [2, 0.5])
def test_a_cloud_that_answers_one_byte_a_second(
    bridge: BridgeProcess, cloud: Cloud, client: Client, timeout: float
) -> None:
    """Slow is no failure while each silence stays below the timeout; above it the message is kept."""
    cloud.start("--fault", "drip:1")
    bridge.configure(cloud={"timeout": timeout})
    bridge.start()
    queue_three(client)
    if timeout < 1:
        trouble(client, "0.5 s")
        cloud.stop()
        cloud.start()
    all_delivered(client, cloud)
    if timeout > 1:
        assert len(cloud.arrived) == 3
        assert {each["attempts"] for each in client.results()} == {1}


def test_a_whole_exchange_is_bounded(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Six times ``cloud.timeout`` in all: an answer that drips past it is a failure that health explains."""
    cloud.start("--fault", "late:1")
    bridge.configure(cloud={"timeout": 0.4})
    bridge.start()
    queue_three(client)
    trouble(client, "0.4 s")
    cloud.stop()
    cloud.start()
    all_delivered(client, cloud)
