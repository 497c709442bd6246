"""Batches of the whole bridge: through faults, kills and refusals each message arrives once, with one end."""

import base64
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bridge.batch import decode
from tests.e2e.test_kills import flood_aside, flow, kill_in_a_commit, paced, pair
from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.hung_disk import HungDisk

FAULTS = ("close:7", "split:5", "code6:11", "garbage:13", "reset:17")
LANES = 8


def batched(**keys: Any) -> list[dict[str, Any]]:
    """Return routes of which each puts its messages into batches."""
    return [{"match": f"lane{n}/#", "batch": {"every": "1s", "messages": 20, **keys}} for n in range(LANES)]


def topic(number: int) -> str:
    return f"lane{number % LANES}/t{number % 250}"


def received(cloud: Cloud) -> list[tuple[str, bytes]]:
    """Return topic and payload of what a receiver has, which drops the repeats of a batch by its id."""
    found: list[tuple[str, bytes]] = []
    seen: set[str | None] = set()
    for each in cloud.accepted:
        if each.topics != ("batch",):
            found.append((each.topics[0], each.payload))
            continue
        batch = decode(each.payload)
        if batch.id not in seen:
            found += [(reading.topics[0], reading.payload) for reading in batch.readings]
        seen.add(batch.id)
    return found


def check_all(cloud: Cloud, number: int) -> None:
    """Check that the receiver has each message once, and those of a lane in their order."""
    arrived = received(cloud)
    assert Counter(int(payload) for _, payload in arrived) == Counter(range(number))
    for lane in range(LANES):
        mine = [int(payload) for topic, payload in arrived if topic.startswith(f"lane{lane}/")]
        assert mine == sorted(mine)


def test_2000_messages_in_batches_through_a_faulty_cloud(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Each is at the receiver once, and has exactly one result; a repeat is the same batch to the byte."""
    cloud.start(*(word for fault in FAULTS for word in ("--fault", fault)))
    bridge.configure(cloud={"parallel": 8}, routes=batched())
    bridge.start()
    client.flood(
        ("hologram/send", f'{{"data":"{n}","topics":["{topic(n)}"],"id":"m{n}"}}') for n in range(2000)
    )
    client.wait_for(lambda: len(client.results()) >= 2000, 120, what="2,000 results")
    assert bridge.stop() == 0
    results = client.results()
    assert Counter(each["id"] for each in results) == Counter(f"m{n}" for n in range(2000))
    assert {each["state"] for each in results} == {"delivered"}
    check_all(cloud, 2000)
    assert {each.fault for each in cloud.arrived} >= {"close", "split", "code6", "garbage", "reset"}
    contents: dict[str | None, bytes] = {}
    for each in cloud.arrived:
        if each.topics == ("batch",):
            assert contents.setdefault(decode(each.payload).id, each.payload) == each.payload
    by_batch = Counter(each["batch"]["id"] for each in results)
    assert by_batch.keys() == contents.keys()
    assert all(each["batch"]["messages"] == by_batch[each["batch"]["id"]] for each in results)
    print(f"{len(contents)} batches, {len(cloud.arrived)} requests for 2000 messages")


def test_answers_that_come_late(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """The cloud has the batch and the bridge does not know: the repeat has its id, and a reader drops it."""
    cloud.start("--fault", "late:2")
    bridge.configure(cloud={"timeout": 1}, routes=batched(every="200ms"))
    bridge.start()
    for n in range(8):
        client.publish(f"hologram/out/lane0/t{n}", str(n), user={"id": f"m{n}"})
        client.wait_result(f"m{n}", 60)
    check_all(cloud, 8)
    ids = [decode(each.payload).id for each in cloud.accepted]
    assert len(ids) > len(set(ids)), "some came twice"
    assert bridge.stop() == 0


@pytest.mark.parametrize(
    ("kills", "number"), [(6, 1200), pytest.param(20, 4000, marks=pytest.mark.slow)], ids=["6", "20"]
)
def test_kill_9_of_the_bridge_with_batches(
    keeper: Keeper, mosquitto: Mosquitto, cloud: Cloud, tmp_path: Path, kills: int, number: int
) -> None:
    """Under load, half of the times in a commit: a receiver that drops repeats has each message once."""
    bridge, client = pair(keeper, tmp_path, mosquitto, cloud)
    bridge.configure(routes=batched(messages=10, every="300ms"))
    disk = HungDisk(tmp_path)
    keeper.finally_(disk.close)
    bridge.wrap = disk.wrap
    cloud.start("--delay", "0.02")
    bridge.start()
    messages = ((f"hologram/out/{topic(n)}", str(n)) for n in range(number))
    publisher = flood_aside(client, paced(messages, 20, 0.1))
    for kill in range(kills):
        flow(cloud, random.randrange(3, 15))
        if kill % 2 and publisher.is_alive() and client.published < number - 300:
            kill_in_a_commit(bridge, disk, client)
        else:
            bridge.kill()
        bridge.start()
    publisher.join(60)
    eventually(lambda: len(received(cloud)) >= number, 60, what="all arrive")
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 0, 60, what="the outbox is empty")
    assert bridge.stop() == 0
    check_all(cloud, number)
    ids = Counter(decode(each.payload).id for each in cloud.accepted)
    print(f"{kills} kills, {len(ids)} batches, {ids.total() - len(ids)} arrived more than once")


def test_a_cloud_that_refuses_batches(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """One message finds out; the others wait, and go to a mended cloud after a restart: nothing is lost."""
    cloud.start("--fault", "nobatch:1")
    bridge.configure(routes=batched(messages=8))
    bridge.start()
    for n in range(8):
        client.publish("hologram/out/lane0/t", str(n), user={"id": f"m{n}"})
    client.wait_for(lambda: client.events("cloud.batch_refused"), 20, what="the event")
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 7, what="seven wait")
    assert [each["state"] for each in client.results()] == ["delivered"]
    assert "batch" not in client.results()[0]
    requests = len(cloud.arrived)
    assert requests == 5, "halves down to one, and that alone"
    bridge.stop()
    cloud.stop()
    cloud.start()
    bridge.start()
    client.wait_results(8, 20)
    assert Counter(each["id"] for each in client.results()) == Counter(f"m{n}" for n in range(8))
    check_all(cloud, 8)
    assert len(cloud.arrived) == requests + 1, "as one batch"


def test_1000_topics_in_one_batch(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Each message keeps its own, and its result names it."""
    cloud.start()
    bridge.configure(routes=[{"match": "#", "batch": {"every": "1h", "messages": 1000, "bytes": "100kB"}}])
    bridge.start()
    client.flood((f"hologram/out/lane0/topic-{n}", str(n)) for n in range(1000))
    client.wait_results(1000, 30)
    (request,) = cloud.accepted
    batch = decode(request.payload)
    assert [reading.topics for reading in batch.readings] == [(f"lane0/topic-{n}",) for n in range(1000)]
    assert [each["topics"] for each in client.results()] == [[f"lane0/topic-{n}"] for n in range(1000)]
    (total,) = {each["batch"]["messages"] for each in client.results()}
    assert total == 1000


@pytest.mark.parametrize("number", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_backlog_of_batches_takes_no_memory(
    keeper: Keeper, cloud: Cloud, client: Client, bridge: BridgeProcess, number: int
) -> None:
    """However many wait; with the cloud's return they go in full batches, in order."""
    bridge.configure(
        routes=[{"match": "lane0/#", "batch": {"every": "1h", "messages": 1000, "bytes": "20kB"}}]
    )
    bridge.start()
    client.publish("hologram/out/first", b"-1")
    client.wait_for(lambda: client.health().get("state") == "degraded", what="the cloud is down")
    idle = bridge.memory()
    client.flood(((f"hologram/out/lane0/t{n % 16}", str(n)) for n in range(number)), timeout=200)
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == number + 1, 60, what="all are there")
    waiting = bridge.memory()
    cloud.start()
    client.publish("hologram/queue/set", b"flush")
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 0, 200, what="all have gone")
    print(f"idle {idle >> 20} MB, {number} waiting {waiting >> 20} MB, then {bridge.memory() >> 20} MB")
    assert max(waiting, bridge.memory()) - idle < 15 * 1024 * 1024
    arrived = [int(payload) for topic, payload in received(cloud) if topic != "first"]
    assert arrived == list(range(number))
    assert len(cloud.accepted) < number / 300


def test_a_reload_meets_what_waits(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """The route loses its batch, and the messages go alone, in order."""
    cloud.start()
    bridge.configure(routes=[{"match": "lane0/#", "batch": {"every": "1h"}}])
    bridge.start()
    for n in range(5):
        client.publish(f"hologram/out/lane0/t{n}", str(n))
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 5, what="five wait")
    listed = bridge.queue("list")["messages"]
    assert [each["topics"] for each in listed] == [[f"lane0/t{n}"] for n in range(5)]
    bridge.configure(routes=[])
    bridge.reload()
    client.wait_results(5, 20)
    assert cloud.payloads() == [b"0", b"1", b"2", b"3", b"4"]
    assert [each.topics for each in cloud.accepted] == [(f"lane0/t{n}",) for n in range(5)]


def test_totp_carries_a_batch_as_it_is(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """In the `B` field, under its topic."""
    cloud.start("--device-id", "8944501104169548380", "--private-key", "234507094543380")
    bridge.settings["credentials"] = {"device_id": "8944501104169548380", "private_key": "234507094543380"}
    bridge.configure(cloud={"auth": "totp"}, routes=batched(every="300ms"))
    bridge.start()
    client.publish("hologram/out/lane0/t", base64.b64encode(b"\0"), user={"id": "m"})
    assert client.wait_result("m")["state"] == "delivered"
    assert [each.topics for each in cloud.accepted] == [("batch",)]
    assert json.dumps(decode(cloud.payloads()[0]).readings[0].topics) == '["lane0/t"]'
