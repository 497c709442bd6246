"""kill -9 of the bridge and of the broker under load: what was acknowledged arrives."""

import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.hung_disk import HungDisk

PARALLEL = 4


@pytest.fixture
def shipped(keeper: Keeper, tmp_path: Path) -> Mosquitto:
    """A broker with the configuration that users are given; its log tells each packet."""
    broker = Mosquitto(keeper, tmp_path / "shipped", shipped=True, lines=("log_type all",))
    broker.start()
    return broker


def pair(keeper: Keeper, folder: Path, broker: Mosquitto, cloud: Cloud) -> tuple[BridgeProcess, Client]:
    """Return a bridge on ``broker`` and a client."""
    bridge = BridgeProcess(keeper, folder / "bridge", broker, cloud.port)
    bridge.configure(cloud={"parallel": PARALLEL})
    client = Client(broker.port, "hologram/bridge/#", client_id="producer").connect()
    keeper.finally_(client.close)
    return bridge, client


def paced(messages: Iterator[tuple[str, str]], each: int, pause: float) -> Iterator[tuple[str, str]]:
    """Yield ``messages``, with a breath of ``pause`` seconds after each ``each`` of them."""
    for number, message in enumerate(messages):
        yield message
        if number % each == each - 1:
            threading.Event().wait(pause)


def flood_aside(client: Client, messages: Iterator[tuple[str, str]]) -> threading.Thread:
    """Publish ``messages`` in a thread, few at a time: what is under way is sent again to a new broker."""
    thread = threading.Thread(target=client.flood, args=(messages,), kwargs={"timeout": 180.0, "window": 20})
    thread.start()
    return thread


def flow(cloud: Cloud, number: int) -> None:
    """Let ``number`` more messages reach the cloud."""
    goal = len(cloud.arrived) + number
    eventually(lambda: len(cloud.arrived) >= goal, 30, what=f"{number} more messages arrive")


def kill_in_a_commit(bridge: BridgeProcess, disk: HungDisk, client: Client) -> None:
    """Kill it while its disk holds a commit, and the broker has handed over more than that."""
    disk.hang()
    eventually(lambda: disk.waiting, 30, what="a commit is held")
    goal = client.published + 40
    eventually(lambda: client.published >= goal, 30, what="more is published meanwhile")
    bridge.kill()
    disk.go_on()


def test_kill_9_of_the_bridge_20_times(
    keeper: Keeper, shipped: Mosquitto, cloud: Cloud, tmp_path: Path
) -> None:
    """5,000 messages at QoS 1 all arrive; twice only what was under way at a kill.

    Half of the kills come in the middle of a commit, the others at any moment.
    """
    kills, number = 20, 5000
    bridge, client = pair(keeper, tmp_path, shipped, cloud)
    disk = HungDisk(tmp_path)
    keeper.finally_(disk.close)
    bridge.wrap = disk.wrap
    cloud.start("--delay", "0.003")
    bridge.start()
    messages = ((f"hologram/out/t{each % 16}", str(each)) for each in range(number))
    publisher = flood_aside(client, paced(messages, 20, 0.1))
    late: list[int] = []
    for kill in range(kills):
        flow(cloud, random.randrange(5, 100))
        if kill % 2 and publisher.is_alive() and client.published < number - 500:
            kill_in_a_commit(bridge, disk, client)
        else:
            bridge.kill()
        late.append(len(cloud.arrived))
        bridge.start()
    publisher.join(60)
    assert not publisher.is_alive()
    wanted = {str(each).encode() for each in range(number)}
    eventually(lambda: wanted <= set(cloud.payloads()), 60, what="all arrive")
    assert bridge.stop() == 0
    arrivals = Counter(cloud.payloads())
    assert arrivals.keys() == wanted
    twice = sum(arrivals.values()) - number
    print(f"{kills} kills, {number} messages, {twice} arrived more than once; killed at {late}")
    assert twice <= kills * 2 * PARALLEL


def test_kill_9_while_results_wait_for_the_disk(
    keeper: Keeper, mosquitto: Mosquitto, cloud: Cloud, tmp_path: Path
) -> None:
    """Exchanges go on beside a commit that hangs, but no more than twice `cloud.parallel` come again."""
    number = 400
    bridge, client = pair(keeper, tmp_path, mosquitto, cloud)
    disk = HungDisk(tmp_path)
    keeper.finally_(disk.close)
    bridge.wrap = disk.wrap
    bridge.start()
    client.flood((f"hologram/out/t{each % 16}", str(each)) for each in range(number))
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == number, 30, what="all are queued")
    cloud.start("--delay", "0.05")
    bridge.queue("retry")
    flow(cloud, 40)
    disk.hang()
    eventually(lambda: disk.waiting, 30, what="a commit is held")
    before = -1
    while before != (before := len(cloud.arrived)):
        threading.Event().wait(1.0)  # until nothing more arrives
    bridge.kill()
    disk.go_on()
    bridge.start()
    wanted = {str(each).encode() for each in range(number)}
    eventually(lambda: wanted <= set(cloud.payloads()), 60, what="all arrive")
    assert bridge.stop() == 0
    assert 0 < len(cloud.payloads()) - number <= 2 * PARALLEL


_SENT = re.compile(r"Sending PUBLISH to hologram-bridge-\S+ \(d\d, q1, r0, m(\d+), 'hologram/out/n/(\d+)'")
_ACKED = re.compile(r"Received PUBACK from hologram-bridge-\S+ \(Mid: (\d+)")


def acknowledged_by_the_bridge(broker: Mosquitto) -> set[int]:
    """Return the numbers of the messages whose PUBACK came from the bridge, by the broker's own log."""
    sent: dict[int, int] = {}
    acknowledged: set[int] = set()
    for line in broker.said().splitlines():
        if match := _SENT.search(line):
            sent[int(match[1])] = int(match[2])
        elif (match := _ACKED.search(line)) and int(match[1]) in sent:
            acknowledged.add(sent.pop(int(match[1])))
        elif line.endswith("starting"):
            sent.clear()
    return acknowledged


def test_kill_9_of_the_broker_10_times(
    keeper: Keeper, shipped: Mosquitto, cloud: Cloud, tmp_path: Path
) -> None:
    """Nothing that the bridge acknowledged is lost; what only the broker had is counted.

    The last restart loses the session with all that was queued in it, and the bridge says so.
    """
    kills, number = 10, 4000
    bridge, client = pair(keeper, tmp_path, shipped, cloud)
    cloud.start()
    bridge.start()
    messages = ((f"hologram/out/n/{each}", str(each)) for each in range(number))
    publisher = flood_aside(client, paced(messages, 20, 0.06))
    for kill in range(kills):
        flow(cloud, random.randrange(20, 200))
        shipped.kill()
        if kill == kills - 1:
            shipped.database.unlink(missing_ok=True)
        shipped.start()
        client.wait_connected()
        bridge.wait_online(30)
    publisher.join(90)
    assert not publisher.is_alive()
    client.wait_for(lambda: client.health().get("sessions_lost", 0) >= 1, 10, what="health counts it")
    assert "the broker lost our session" in bridge.said()
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 0, 60, what="the outbox is empty")
    assert bridge.stop() == 0
    arrivals = Counter(int(each) for each in cloud.payloads())
    acknowledged = acknowledged_by_the_bridge(shipped)
    lost = number - len(arrivals)
    twice = sum(arrivals.values()) - len(arrivals)
    print(
        f"{kills} kills of the broker, {number} messages that it acknowledged: the bridge acknowledged "
        f"{len(acknowledged)}, {len(arrivals)} arrived, {twice} more than once; "
        f"{lost} were lost that only the broker had"
    )
    assert len(acknowledged) > number / 2, "the log was understood"
    assert acknowledged <= arrivals.keys()
    assert lost < number / 10
