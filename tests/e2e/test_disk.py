"""A disk that is full, and a database that is damaged."""

import random
from pathlib import Path

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.small_disk import small_disk


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


def fill(bridge: BridgeProcess, client: Client, number: int) -> None:
    """Leave ``number`` messages of 1 KB in the outbox of a bridge that is stopped."""
    bridge.start()
    client.flood((f"hologram/out/t{each % 4}", f"{each} {'x' * 1000}") for each in range(number))
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
    wanted = {f"{each} {'x' * 1000}".encode() for each in range(1000)} | {b"new"}
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
