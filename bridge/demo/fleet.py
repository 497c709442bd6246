"""``python -m bridge.demo.fleet``: two boxes, their clouds, and one collector, with an outage in the middle.

Readings are published at the boxes' brokers, and arrive at a broker far away, each with the time at which it
was taken. A third of the way through the collector is killed; it comes back a third later.
"""

import argparse
import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.demo.children import Child, find_mosquitto, free_port, wait_for_port
from bridge.errors import BridgeError, OperationError
from bridge.watch.stop import Stop

BOXES = (101, 102)
"""The device ids of the boxes."""

KEY = "demo1234"
BATCH_EVERY = "3s"
LONGEST_WAIT = 60.0
"""Seconds for the last readings to arrive."""

PYTHON = [sys.executable, "-m", "bridge"]


class Fleet:
    """The child processes; the collector and its broker are the other end."""

    def __init__(self, folder: Path, mosquitto: str) -> None:
        self._folder = folder
        self._mosquitto = mosquitto
        self._secret = secrets.token_hex(16)
        self.children: list[Child] = []
        self.far_port = self._broker("far")
        self._collector_port = free_port()
        self.collector = self._collector()
        self.box_ports = {number: self._box(number) for number in BOXES}

    def _start(self, name: str, command: list[str], port: int | None = None) -> Child:
        child = Child(name, command, self._folder / f"{len(self.children)}.log")
        self.children.append(child)
        child.start()
        if port is not None:
            wait_for_port(child, port)
        return child

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def _broker(self, name: str) -> int:
        port = free_port()
        config = self._write(f"{name}.conf", f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        self._start(f"the broker {name} (mosquitto)", [self._mosquitto, "-c", str(config)], port)
        return port

    def _collector(self) -> Child:
        settings = {
            "listen": f"127.0.0.1:{self._collector_port}",
            "secret": {"value": self._secret},
            "mqtt": {"port": self.far_port},
        }
        config = self._write("collect.hjson", json.dumps(settings))
        return self._start("the collector", [*PYTHON, "collect", "-c", str(config)], self._collector_port)

    def _box(self, number: int) -> int:
        """Start a box with its cloud; return the port of its broker."""
        port, cloud_port = self._broker(f"box{number}"), free_port()
        self._start(
            f"the cloud of box {number}",
            [*PYTHON, "simulate", "cloud", "--quiet", "--devicekey", KEY, "--port", str(cloud_port),
             "--device", str(number), "--webhook", f"http://127.0.0.1:{self._collector_port}/",
             "--webhook-header", f"X-Secret:{self._secret}"],
            cloud_port,
        )  # fmt: skip
        settings = {
            "credentials": {"devicekey": KEY},
            "cloud": {"host": "127.0.0.1", "port": cloud_port},
            "mqtt": {"port": port},
            "inbound": {"enabled": False},
            "home_assistant": {"enabled": False},
            "routes": [{"match": "sensors/#", "batch": {"every": BATCH_EVERY}}],
            "store": {"path": str(self._folder / f"box{number}.db")},
            "control": {"path": str(self._folder / f"ctl{number}")},
        }
        config = self._write(f"box{number}.hjson", json.dumps(settings))
        self._start(f"the bridge of box {number}", [*PYTHON, "run", "-c", str(config)])
        return port

    def kill_collector(self) -> None:
        """End the collector; the clouds repeat what it has not answered."""
        self.children.remove(self.collector)
        self.collector.stop()

    def restart_collector(self) -> None:
        """Start it again, on the same port."""
        self.collector = self._collector()

    def check(self) -> None:
        """Raise `OperationError` if a process has ended by itself."""
        for child in self.children:
            child.check()

    def stop(self) -> None:
        """End all processes, the last one first."""
        for child in reversed(self.children):
            child.stop()


class Arrivals:
    """What has arrived at the other end; the message callback runs in paho's thread."""

    def __init__(self) -> None:
        self.times: dict[tuple[str, str], str] = {}
        """The time of each reading, by its topic and payload."""
        self.repeats = 0

    def take(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        """Note a reading, and print it."""
        user = dict(getattr(message.properties, "UserProperty", ()))
        key = message.topic, message.payload.decode(errors="replace")
        self.repeats += key in self.times
        self.times[key] = user.get("at", "")
        taken = time.strftime("%H:%M:%S", time.localtime(int(user["at"]))) if user.get("at") else "unknown"
        print(f"{time.strftime('%H:%M:%S')}  {key[0]:30} {key[1]:6} taken {taken}", flush=True)


@contextmanager
def _fleet(folder: Path) -> Iterator[Fleet]:
    fleet = None
    try:
        fleet = Fleet(folder, find_mosquitto({}))
        yield fleet
    finally:
        if fleet is not None:
            fleet.stop()
        shutil.rmtree(folder, ignore_errors=True)


Take = Callable[[paho.Client, object, paho.MQTTMessage], None]


def _client(port: int, topic: str, take: Take) -> paho.Client:
    """Return a client that has subscribed to ``topic``."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = take
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe(topic, qos=1)
    return client


def _producer(fleet: Fleet, port: int) -> paho.Client:
    """Return a client of a box whose bridge is online: before, its broker keeps nothing for the bridge."""
    states: list[bytes | bytearray] = []
    client = _client(port, "hologram/bridge/state", lambda _c, _u, message: states.append(message.payload))
    deadline = time.monotonic() + LONGEST_WAIT
    while b"online" not in states:
        fleet.check()
        if time.monotonic() > deadline:
            raise OperationError(f"a bridge is not online within {LONGEST_WAIT:g} s")
        time.sleep(0.05)
    return client


def play(seconds: float, stop: Stop) -> int:
    """Play the demo; return the exit code. Raises `OperationError` where a process ends by itself."""
    arrivals = Arrivals()
    with _fleet(Path(tempfile.mkdtemp(prefix="fleet-"))) as fleet:
        listener = _client(fleet.far_port, "fleet/#", arrivals.take)
        print(f"to listen too: mosquitto_sub -V 5 -p {fleet.far_port} -t 'fleet/#' -F '%t %P %p'", flush=True)
        for number, port in fleet.box_ports.items():
            print(
                f"box {number}: mosquitto_pub -p {port} -q 1 -t hologram/out/sensors/attic -m 20", flush=True
            )
        published = _publish(fleet, seconds, stop)
        deadline = time.monotonic() + LONGEST_WAIT
        while (
            not stop.wanted and time.monotonic() < deadline and not published.keys() <= arrivals.times.keys()
        ):
            fleet.check()
            time.sleep(0.1)
        listener.loop_stop()
    return _summary(published, arrivals)


def _publish(fleet: Fleet, seconds: float, stop: Stop) -> dict[tuple[str, str], str]:
    """Publish a reading a second at each box; return topic, payload and time of each at the other end."""
    clients = {number: _producer(fleet, port) for number, port in fleet.box_ports.items()}
    published: dict[tuple[str, str], str] = {}
    turns = max(3, int(seconds))
    for turn in range(turns):
        if stop.wanted:
            break
        if turn == turns // 3:
            print("--  the collector is killed; the clouds repeat what it does not answer", flush=True)
            fleet.kill_collector()
        elif turn == 2 * turns // 3:
            fleet.restart_collector()
            print("--  the collector is back", flush=True)
        for number, client in clients.items():
            at = str(int(time.time()))
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
            properties.UserProperty = [("at", at)]
            client.publish("hologram/out/sensors/kitchen", str(turn), qos=1, properties=properties)
            published[f"fleet/{number}/sensors/kitchen", str(turn)] = at
        fleet.check()
        time.sleep(1)
    for client in clients.values():
        client.loop_stop()
    return published


def _summary(published: dict[tuple[str, str], str], arrivals: Arrivals) -> int:
    right = sum(arrivals.times.get(key) == at for key, at in published.items())
    print(
        f"{len(published)} readings were published, {right} arrived with the time at which they were taken; "
        f"{arrivals.repeats} came twice. What the demo started is stopped, its files are removed."
    )
    return 0 if right == len(published) else 1


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bridge.demo.fleet", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=30.0, metavar="N", help="readings for so long (default: 30)"
    )
    args = parser.parse_args(arguments)
    stop = Stop()
    try:
        return play(args.seconds, stop)
    except BridgeError as error:
        print(f"hologram-bridge demo: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"hologram-bridge demo: {OperationError(error.strerror or str(error))}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
