"""From mosquitto_pub at two boxes to mosquitto_sub at the other end, with an outage in the middle."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.collector import SECRET, CollectorProcess

TAKEN = 1_700_000_000


class Box:
    """A broker and a bridge, and the cloud's account of the device."""

    def __init__(self, keeper: Keeper, folder: Path, number: int, collector: CollectorProcess) -> None:
        self.number = number
        self.broker = Mosquitto(keeper, folder / f"broker{number}")
        self.broker.start()
        cloud = Cloud(keeper, folder / f"cloud{number}")
        cloud.start(
            "--webhook", f"http://127.0.0.1:{collector.port}/", "--webhook-header", f"X-Secret: {SECRET}",
            "--device", str(number),
        )  # fmt: skip
        bridge = BridgeProcess(keeper, folder / f"box{number}", self.broker, cloud.port)
        bridge.configure(routes=[{"match": "sensors/#", "batch": {"every": "300ms"}}])
        bridge.start()

    def publish(self, topic: str, payload: str, at: int | None = None) -> None:
        """Publish as a user does, with the time of the reading where the producer knows it."""
        known = [] if at is None else ["-D", "publish", "user-property", "at", str(at)]
        command = ["mosquitto_pub", "-V", "5", "-q", "1", "-h", "127.0.0.1", "-p", str(self.broker.port)]
        subprocess.run([*command, "-t", f"hologram/out/{topic}", "-m", payload, *known], check=True)


@pytest.mark.slow
def test_every_reading_arrives_with_the_time_at_which_it_was_taken(keeper: Keeper, tmp_path: Path) -> None:
    """Batches and single messages; meanwhile the collector is killed, and its broker is away."""
    # As Debian's own file sets it: what the collector publishes before the client is back waits for that.
    far = Mosquitto(keeper, tmp_path / "far", shipped=True, lines=("persistence true",))
    far.start()
    collector = CollectorProcess(keeper, tmp_path / "collector", mqtt={"port": far.port})
    collector.start()
    boxes = [Box(keeper, tmp_path, number, collector) for number in (101, 102)]
    begun = time.time()
    with Client(far.port, "fleet/#") as client:
        for n in range(12):
            for box in boxes:
                box.publish("sensors/kitchen", str(n), TAKEN + 60 * n)
            boxes[0].publish("door", str(n))
            if n == 3:
                collector.kill()
            elif n == 6:
                collector.start()
                far.stop()
            elif n == 9:
                far.start()
        collector.wait_connected()
        client.wait_connected()

        def came(topic: str) -> dict[str, set[str]]:
            """Return the times that came for each reading; a repeat has the same."""
            found: dict[str, set[str]] = {}
            for each in client.messages(topic):
                found.setdefault(each.payload.decode(), set()).add(each.properties["user"]["at"])
            return found

        wanted = {str(n): {str(TAKEN + 60 * n)} for n in range(12)}
        for topic in ("fleet/101/sensors/kitchen", "fleet/102/sensors/kitchen"):
            eventually(lambda topic=topic: len(came(topic)) == 12, 60, what=f"all of {topic}")  # type: ignore[misc]
            assert came(topic) == wanted
        eventually(lambda: len(came("fleet/101/door")) == 12, 60, what="all single messages")
    doors = [int(at) for times in came("fleet/101/door").values() for at in times]
    assert begun - 1 <= min(doors) <= max(doors) <= time.time()
