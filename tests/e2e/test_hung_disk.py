"""A disk that hangs: what needs no disk goes on, and what is told is true."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, Cloud, eventually
from tests.harness.hung_disk import HungDisk
from tests.harness.systemd import EVERY, Systemd


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[HungDisk]:
    found = HungDisk(tmp_path)
    yield found
    found.close()


def test_it_goes_on_telling_how_it_stands(
    bridge: BridgeProcess, cloud: Cloud, client: Client, disk: HungDisk, systemd: Systemd
) -> None:
    """While a commit hangs, with retries due, it says how it is and feeds its watchdog; then all goes on."""
    bridge.wrap = disk.wrap
    bridge.configure(network={"poll": 1})
    cloud.start("--fault", "code1:1")
    bridge.start(env=systemd.environment)
    names = ["m0", "m1"]  # of three the destination would be taken for down
    for name in names:
        client.publish(f"hologram/out/{name}", name, user={"id": name})
    eventually(lambda: len(cloud.arrived) >= 2 * len(names), 30, what="each is retried")
    disk.hang()
    client.publish("hologram/out/a", "meanwhile", user={"id": "meanwhile"}, wait=False)
    eventually(lambda: disk.waiting, what="a commit hangs")
    fed, told = systemd.meals, len(client.messages("hologram/network/status"))
    stats = bridge.queue("stats")
    assert stats["queue"]["messages"] >= len(names)
    assert stats["queue"]["oldest_age"] > 0
    eventually(lambda: systemd.meals >= fed + 5 / EVERY, 20, what="the watchdog is fed for 5 s")
    eventually(lambda: len(client.messages("hologram/network/status")) >= told + 4, what="the status is told")
    assert disk.waiting, "all the while"
    disk.go_on()
    cloud.stop()
    cloud.start()
    client.publish("hologram/queue/set", "flush")
    for name in (*names, "meanwhile"):
        assert client.wait_result(name, 20)["state"] == "delivered"
    assert sorted(cloud.payloads()) == sorted(name.encode() for name in (*names, "meanwhile"))
    assert bridge.stop() == 0
