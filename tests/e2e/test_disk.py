"""A disk that is full, and a database that is damaged."""

import random
import re
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.bridge import PROGRAM
from tests.harness.small_disk import KeptDisk, small_disk


def test_a_full_disk(keeper: Keeper, cloud: Cloud, tmp_path: Path) -> None:
    """The bridge stops taking and says so, goes on sending, obeys, and recovers by itself."""
    broker = Mosquitto(keeper, tmp_path / "mosquitto", lines=("max_queued_messages 0",))
    broker.start()
    bridge = BridgeProcess(keeper, tmp_path / "bridge", broker, cloud.port)
    bridge.store.parent.mkdir(parents=True)
    bridge.wrap = small_disk(bridge.store.parent)
    bridge.configure(control={"path": str(tmp_path / "control.sock")})
    bridge.start()
    number, filler = 1500, "x" * 20_000
    with Client(broker.port, "hologram/#") as client:
        client.flood((f"hologram/out/t{each % 8}", f"{each} {filler}") for each in range(number))
        client.wait_for(lambda: client.events("store.full"), 30, what="the event says it")
        client.wait_for(lambda: client.health().get("state") == "store_full", what="health says it")
        assert "disk is full" in bridge.said()
        held = bridge.queue("stats")["queue"]["messages"]
        assert 100 < held < number, "the rest waits in the broker"
        # While data stalls, control topics work and their results come.
        client.publish("hologram/queue/set", b'{"command": "pause", "id": "stop"}')
        assert client.wait_result("stop")["state"] == "done"
        assert bridge.queue("stats")["queue"]["paused"] is True
        client.publish("hologram/queue/set", b'{"command": "resume", "id": "go"}')
        assert client.wait_result("go")["state"] == "done"
        cloud.start()
        client.publish("hologram/queue/set", b'{"command": "flush", "id": "flush"}')
        assert client.wait_result("flush")["state"] == "done"
        client.wait_for(lambda: client.events("store.recovered"), 30, what="it recovers by itself")
        client.wait_for(lambda: len(client.results()) >= number + 3, 90, what="every message has its result")
        client.wait_for(lambda: client.health().get("state") == "ok", 10, what="health is ok again")
    payloads = [int(each.payload.split()[0]) for each in cloud.accepted]
    assert sorted(payloads) == list(range(number)), "each arrived once"
    assert bridge.stop() == 0


def bridge_on_a_small_disk(keeper: Keeper, cloud: Cloud, tmp_path: Path) -> tuple[BridgeProcess, KeptDisk]:
    """Return a bridge, and the small disk of its own that holds its outbox."""
    broker = Mosquitto(keeper, tmp_path / "mosquitto", lines=("max_queued_messages 0", "log_type all"))
    broker.start()
    bridge = BridgeProcess(keeper, tmp_path / "bridge", broker, cloud.port)
    bridge.store.parent.mkdir(parents=True)
    disk = KeptDisk(keeper, bridge.store.parent)
    bridge.wrap = disk.wrap
    bridge.configure(control={"path": str(tmp_path / "control.sock")})
    return bridge, disk


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_on_a_full_disk(
    keeper: Keeper, cloud: Cloud, tmp_path: Path, end: str, *, others: bool
) -> None:
    """What is left for results stays so in the next run, and what is here is sent.

    Where others take every last byte that may wait for room; nothing is lost, and it goes on by itself.
    """
    bridge, disk = bridge_on_a_small_disk(keeper, cloud, tmp_path)
    bridge.start()
    number, filler = 900, "x" * 20_000
    with Client(bridge.broker.port, "hologram/#") as client:
        client.flood((f"hologram/out/t{each % 8}", f"{each} {filler}") for each in range(number))
        client.wait_health("store_full", 30)
        assert getattr(bridge, end)() in (0, None)
        if others:
            disk.fill()
        bridge.start()
        eventually(lambda: bridge.queue("stats")["state"] == "store_full", 30, what="it starts as full")
        held = bridge.queue("stats")["queue"]["messages"]
        assert 100 < held < number, "the rest waits in the broker"
        cloud.start()
        client.publish("hologram/queue/set", b'{"command": "flush", "id": "flush"}')
        assert client.wait_result("flush", 30)["state"] == "done"
        if not others:
            client.wait_for(lambda: len(client.results()) >= held + 1, 60, what="what is held is sent")
        disk.empty()
        client.wait_for(lambda: len(client.results()) >= number + 1, 90, what="all is taken and sent")
        client.wait_health("ok", 30)
    assert sorted(int(each.payload.split()[0]) for each in cloud.accepted) == list(range(number)), "each once"
    assert bridge.stop() == 0


def test_a_start_where_others_have_filled_the_disk(keeper: Keeper, cloud: Cloud, tmp_path: Path) -> None:
    """After a power cut and after a clean stop it starts with what it held back, and sends what is queued."""
    bridge, disk = bridge_on_a_small_disk(keeper, cloud, tmp_path)
    bridge.start()
    with Client(bridge.broker.port, "hologram/#") as client:
        client.flood((f"hologram/out/t{each % 4}", str(each)) for each in range(50))
        client.wait_for(lambda: len(client.events("message.queued")) == 50)
        bridge.kill()
        for _ in range(3):
            disk.fill()
            bridge.start()
            eventually(lambda: bridge.queue("stats")["state"] == "store_full", 30, what="it starts as full")
            assert bridge.stop() == 0
        disk.fill()
        cloud.start()
        bridge.start()
        client.wait_for(lambda: len(client.results()) == 50, 30, what="what is queued is sent")
        assert len(cloud.accepted) == 50
        disk.empty()
        client.wait_health("ok", 30)
    assert bridge.stop() == 0


def test_a_purge_on_a_full_disk(keeper: Keeper, cloud: Cloud, tmp_path: Path) -> None:
    """Results are larger than what they end: they wait for those before them to go out, then all are there.

    Without a daemon none goes out: as many are purged as there is room for, and that is said.
    """
    bridge, disk = bridge_on_a_small_disk(keeper, cloud, tmp_path)
    bridge.start()
    disk.fill(leave=6_000_000)
    with Client(bridge.broker.port, "hologram/#") as client:
        number = 0
        while not client.events("store.full"):
            client.flood((f"hologram/out/{each % 8}/{'t' * 20}", "x" * 20) for each in range(2000))
            number += 2000
        assert bridge.stop() == 0
        disk.fill()
        offline = subprocess.run(
            [*bridge.wrap, *PROGRAM, "queue", "purge", "-c", str(bridge.config)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        said = re.search(r"the disk is full: (\d+) messages are purged", offline.stderr)
        assert offline.returncode == 1
        assert said, offline.stderr
        assert 0 < int(said[1]) < number
        disk.empty()
        disk.fill(leave=3_000_000)  # below the watermark: nothing is taken, and results have to take turns
        bridge.start()
        client.publish("hologram/queue/set", b'{"command": "purge", "id": "p"}')
        assert client.wait_result("p", 90)["state"] == "done"
        disk.empty()
        cloud.start()
        client.publish("hologram/queue/set", b"flush")
        client.wait_for(lambda: len(client.results()) == number + 2, 90, what="every message has its result")
        client.wait_health("ok", 30)
    assert bridge.stop() == 0


def stored_or_full(client: Client, number: int) -> bool:
    """Whether ``number`` messages are stored, or there is no room for the last."""
    return bool(client.events("store.full")) or len(client.events("message.queued")) >= number


def test_what_waits_on_a_full_disk_ages(keeper: Keeper, cloud: Cloud, tmp_path: Path) -> None:
    """A deadline counts from the receipt: what is late by the time there is room is not sent."""
    bridge, _ = bridge_on_a_small_disk(keeper, cloud, tmp_path)
    bridge.start()
    with Client(bridge.broker.port, "hologram/#") as client:
        number = 0
        while not client.events("store.full"):  # so that few wait, and the next reaches the bridge
            number += 1
            client.publish(f"hologram/out/t{number % 8}", "x" * 20_000)
            client.wait_for(partial(stored_or_full, client, number))
        client.publish("hologram/out/alarm", "late", user={"id": "late", "expires": "1s"})
        late = time.monotonic() + 1.5
        eventually(lambda: time.monotonic() > late, what="its deadline has passed")
        cloud.start()
        client.publish("hologram/queue/set", "flush")
        assert client.wait_result("late", 60)["state"] == "expired"
    assert b"late" not in [each.payload for each in cloud.accepted]


def sent_again(broker: Mosquitto) -> int:
    """Return how often the broker has sent the bridge something again since its start."""
    return len(re.findall(r"Sending PUBLISH to hologram-bridge\S* \(d1, q1", broker.said(since_start=True)))


def test_what_waits_on_a_full_disk_waits_once(keeper: Keeper, cloud: Cloud, tmp_path: Path) -> None:
    """The broker sends it again at each connection; that takes no more memory each time, nor loses any."""
    bridge, _ = bridge_on_a_small_disk(keeper, cloud, tmp_path)
    bridge.start()
    number, filler = 250, "x" * 200_000
    with Client(bridge.broker.port, "hologram/result", "hologram/bridge/#", "hologram/event") as client:
        client.flood((f"hologram/out/t{each % 8}", f"{each} {filler}") for each in range(number))
        client.wait_health("store_full", 30)
        seen = []
        for _ in range(4):
            bridge.broker.stop()
            bridge.broker.start()
            eventually(lambda: sent_again(bridge.broker) >= 100, 60, what="the broker sends it again")
            seen.append(bridge.memory())
        print("memory", seen)
        client.wait_connected()
        cloud.start()
        client.publish("hologram/queue/set", b"flush")
        client.wait_for(lambda: len(cloud.accepted) >= number, 90, what="all of it arrives")
        client.wait_health("ok", 30)
    assert seen[-1] < seen[0] + 20_000_000
    assert sorted(int(each.payload.split()[0]) for each in cloud.accepted) == list(range(number)), "each once"


def test_a_disk_without_room_says_how_much_it_takes(keeper: Keeper, cloud: Cloud, tmp_path: Path) -> None:
    """One on which no message is ever taken: log, health and doctor name the room that messages need."""
    bridge, disk = bridge_on_a_small_disk(keeper, cloud, tmp_path)
    disk.fill(leave=3_000_000)
    bridge.start()
    with Client(bridge.broker.port, "hologram/bridge/health") as client:
        client.wait_health("store_full", 20)
        line = r"the disk is full: (\d+) bytes have to be free on the disk none at \S+, and (\d+) are"
        said = re.search(line, bridge.said())
        assert said
        assert int(said[1]) > int(said[2])
        assert re.fullmatch(line, client.health()["last_error"]["description"])
    told = subprocess.run(
        [*bridge.wrap, *PROGRAM, "doctor", "-c", str(bridge.config)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert re.search(r"free some space there: \S+ MB must stay free", told.stdout)


def fill(bridge: BridgeProcess, client: Client, number: int) -> None:
    """Leave ``number`` messages in the outbox of a bridge that is stopped, each within a page."""
    bridge.start()
    client.flood((f"hologram/out/t{each % 4}", f"{each} {'x' * 500}") for each in range(number))
    client.wait_for(lambda: len(client.events("message.queued")) == number)
    assert bridge.stop() == 0


def damaged_files(bridge: BridgeProcess) -> list[Path]:
    """Return the damaged databases that were kept."""
    return [
        each for each in bridge.store.parent.glob("*.damaged*") if not each.name.endswith(("-wal", "-shm"))
    ]


def test_a_damaged_database_is_recovered(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Pages in the middle are overwritten: what can be read is delivered, the file kept, the log loud."""
    fill(bridge, client, 1000)
    size = bridge.store.stat().st_size
    with bridge.store.open("r+b") as file:
        for place in range(3):
            file.seek((size // 2 // 4096 + 20 * place) * 4096)
            file.write(random.randbytes(4096))
    before = bridge.store.read_bytes()
    bridge.start()
    assert "THE OUTBOX WAS DAMAGED" in bridge.said()
    (kept,) = damaged_files(bridge)
    assert kept.read_bytes()[4096:] == before[4096:], "but for the counters in its first page"
    assert kept.name in bridge.said()
    cloud.start()
    client.publish("hologram/out/new", b"new", user={"id": "new"})
    assert client.wait_result("new", 20)["state"] == "delivered"
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 0, 30, what="the recovered are sent")
    wanted = {f"{each} {'x' * 500}".encode() for each in range(1000)} | {b"new"}
    arrived = cloud.payloads()
    print(f"{len(arrived) - 1} of 1000 messages survived 3 damaged pages of {size // 4096}")
    assert set(arrived) <= wanted, "nothing is made up"
    assert len(set(arrived)) == len(arrived)
    assert len(arrived) > 900
    assert bridge.stop() == 0


def test_a_file_that_is_no_database(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Garbage from end to end: kept beside it, said loudly, and the bridge works with a new one."""
    cloud.start()
    bridge.store.parent.mkdir(parents=True)
    garbage = random.randbytes(100_000)
    bridge.store.write_bytes(garbage)
    bridge.start()
    assert "THE OUTBOX WAS DAMAGED" in bridge.said()
    (kept,) = damaged_files(bridge)
    assert kept.read_bytes() == garbage
    client.publish("hologram/out/a", b"x", user={"id": "m"})
    assert client.wait_result("m")["state"] == "delivered"


def test_damage_that_is_met_while_it_runs(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """A page that cannot be read ends the bridge with 1; the next start recovers what there is."""
    fill(bridge, client, 6000)  # more than its cache holds
    bridge.start()
    size = bridge.store.stat().st_size
    with bridge.store.open("r+b") as file:
        file.seek(size // 4)
        file.write(random.randbytes(size // 2))
    cloud.start()
    client.publish("hologram/queue/set", b"flush")
    assert bridge.wait(30) == 1
    assert "Traceback" not in bridge.said().split("CRITICAL")[0]
    bridge.start()
    assert "THE OUTBOX WAS DAMAGED" in bridge.said(since_start=True)
    client.publish("hologram/out/new", b"new", user={"id": "new"})
    assert client.wait_result("new", 20)["state"] == "delivered"
