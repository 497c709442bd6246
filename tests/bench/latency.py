"""From publishing to the cloud, and how soon the bridge is there."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import quantiles
from typing import IO

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.bench.figures import Row, in_pairs, paired
from tests.bench.outboxes import filled
from tests.bench.peers import ask
from tests.bench.rig import Bridge, Child, Mosquitto, Rig, request
from tests.bench.throughput import SHIPPED, shipped_settings

TOPIC = "sensors/kitchen"
RATE = 50
"""Messages a second."""


class Stopwatch(Child):
    """A cloud that notes when each request was there (tests.bench.stopwatch)."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.bench.stopwatch"]
        super().__init__(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert self.process.stdout is not None
        self._out: IO[bytes] = self.process.stdout
        self.port = int(self._out.readline())

    def arrivals(self, count: int) -> dict[int, float]:
        """Return the monotonic time of the arrival of each of ``count`` messages, by its number."""
        lines = (self._out.readline().split() for _ in range(count))
        return {int(number): float(at) for number, at in lines}


def latency(quick: bool) -> list[Row]:
    """One topic, 50 messages a second: milliseconds from the publish call to the cloud's receipt."""
    rows = _latency(quick, "mosquitto as it comes", ())
    if SHIPPED.exists():
        rows += _latency(quick, "mosquitto as shipped", shipped_settings())
    return rows


def _latency(quick: bool, which: str, settings: tuple[str, ...]) -> list[Row]:
    share, times = (100, 1) if quick else (250, 4)
    loop: list[float] = []
    bridge: list[float] = []
    with Rig() as rig:
        broker = rig.broker(*settings, f"persistence_location {rig.folder}/")
        cloud = rig.enter_context(Stopwatch())
        rig.bridge(broker, cloud.port).wait_online()
        publish = publisher(broker)
        run(cloud, 20, publish)
        for _ in range(times):
            loop += run(cloud, share, lambda data: ask(cloud.port, request(TOPIC, data)))
            bridge += run(cloud, share, publish)
    rows = []
    for percent, aim in ((50, 10), (99, 50)):
        value, beside = (quantiles(values, n=100)[percent - 1] for values in (bridge, loop))
        rows.append(
            Row("latency", f"to the cloud, p{percent}, {which}", value, "ms", beside, "plain loop",
                aim=f"< {aim} ms", met=value < aim)
        )  # fmt: skip
    rows[-1] = rows[-1]._replace(note=f"the longest {max(bridge):.1f} ms, the loop's {max(loop):.1f} ms")
    return rows


def publisher(broker: Mosquitto) -> Callable[[bytes], object]:
    """Return what publishes a payload at QoS 1 with a usual client."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    return lambda data: client.publish(f"hologram/out/{TOPIC}", data, qos=1)


def run(cloud: Stopwatch, count: int, send: Callable[[bytes], object]) -> list[float]:
    """Send at the rate; return each message's milliseconds."""
    sent = {}
    begun = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        sent[number] = time.monotonic()
        send(b'{"temperature":21.5,"seq":%d}' % number)
    return [(at - sent[number]) * 1e3 for number, at in cloud.arrivals(count).items()]


def start(quick: bool) -> list[Row]:
    """From the start of the process to `online` at a subscriber."""
    times, many = (3, 50_000) if quick else (7, 1_000_000)
    rows = []
    with Rig() as rig:
        broker = rig.broker()
        for messages in (0, many):
            outbox = filled(rig.folder, messages, 16) if messages else None
            bridge = rig.bridge(broker, rig.dead_cloud(), outbox).wait_online()
            bridge.stop()
            pairs = in_pairs(times, importing, lambda bridge=bridge: to_online(broker, bridge))  # type: ignore[misc]  # a default binds it
            met = sorted(pairs.product)[len(pairs.product) // 2] < 0.6
            what = f"to online, {messages:,} messages queued"
            rows.append(paired("start", what, "s", "python, imports alone", pairs, aim="< 0.6 s", met=met))
    pairs = in_pairs(times, importing, to_first_message)
    met = sorted(pairs.product)[len(pairs.product) // 2] < 3
    what = "make demo, to the first message"
    return [*rows, paired("start", what, "s", "python, imports alone", pairs, aim="< 3 s", met=met)]


IMPORTS = "import asyncio, sqlite3, hjson, paho.mqtt.client, pydantic_settings"


def to_first_message() -> float:
    """Return the seconds from the start of the demo to the line of its first message."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "bridge.demo", "--plain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        took = next((time.perf_counter() - begun for line in demo.stdout if " queued " in line), None)
        demo.send_signal(signal.SIGINT)
        demo.communicate()
    if took is None:
        raise RuntimeError("the demo ended before its first message")
    return took


def importing() -> float:
    """Return the seconds that a bare Python needs for the same packages."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - begun


def to_online(broker: Mosquitto, bridge: Bridge) -> float:
    """Start ``bridge``, which is stopped; return the seconds until a subscriber read `online`."""
    name = f"watch-{os.urandom(4).hex()}"
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-i", name]
    command += ["-q", "1", "-R", "-C", "1", "-W", "30"]
    with subprocess.Popen([*command, "-t", "hologram/bridge/state"], stdout=subprocess.PIPE) as watcher:
        broker.wait_for(f"{name} 1 hologram/bridge/state")
        begun = time.perf_counter()
        bridge.launch()
        assert watcher.stdout is not None
        said = watcher.stdout.readline()
        took = time.perf_counter() - begun
    bridge.stop()
    if said != b"online\n":
        raise RuntimeError(f"the first state was {said!r}")
    return took
