"""A backlog of many messages, made while the cloud is down."""

import itertools
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually

PUBLISHERS = 4
TOPICS = 16
ALLOWED = 15 * 1024 * 1024
"""Bytes of memory that it may take beyond what it takes idle."""


def publish(port: int, publisher: int, number: int) -> None:
    """Publish one publisher's share to its own topics, numbered in order."""
    with Client(port) as client:
        own = [f"hologram/out/p{publisher}/{topic}" for topic in range(TOPICS // PUBLISHERS)]
        client.flood(
            zip(itertools.cycle(own), map(str, range(number // PUBLISHERS)), strict=False), timeout=120
        )


@pytest.mark.parametrize("number", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_backlog_drains_in_order_with_flat_memory(
    keeper: Keeper, cloud: Cloud, tmp_path: Path, number: int
) -> None:
    """All arrive once, in order per topic; memory stays flat while they come, while they wait and go."""
    broker = Mosquitto(keeper, tmp_path / "mosquitto", lines=("max_queued_messages 0",))
    broker.start()
    bridge = BridgeProcess(keeper, tmp_path / "bridge", broker, cloud.port)
    bridge.configure(cloud={"parallel": 16})
    bridge.start()
    with Client(broker.port, "hologram/bridge/health") as client:
        client.publish("hologram/out/first", b"-1")
        client.wait_for(lambda: client.health().get("state") == "degraded", what="the cloud is down")
        idle = bridge.memory()
        threads = [
            threading.Thread(target=publish, args=(broker.port, publisher, number))
            for publisher in range(PUBLISHERS)
        ]
        for thread in threads:
            thread.start()
        memory: list[int] = []

        def depth() -> int:
            memory.append(bridge.memory())
            messages: int = bridge.queue("stats")["queue"]["messages"]
            return messages

        for thread in threads:
            thread.join()
        eventually(lambda: depth() == number + 1, 60, what="all are in the outbox")
        cloud.start()
        client.publish("hologram/queue/set", b"flush")

        def all_arrived() -> bool:
            memory.append(bridge.memory())
            return len(cloud.arrived) > number

        eventually(all_arrived, 400, what="all have arrived")
    print(f"idle {idle >> 20} MB, at most {max(memory) >> 20} MB")
    by_topic: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for each in cloud.accepted:
        by_topic[each.topics].append(int(each.payload))
    assert len(by_topic) == TOPICS + 1
    for numbers in by_topic.values():
        assert numbers == sorted(set(numbers)), "in order, none twice"
    assert sum(map(len, by_topic.values())) == number + 1
    assert max(memory) - idle < ALLOWED
