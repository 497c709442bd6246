"""Reports that the broker will not take: found, set aside, and the rest goes on."""

import base64
import json
import random
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.process import free_port
from tests.harness.scripted_broker import CUT, DIE, IGNORE, Answer, Publication, ScriptedBroker

LARGE = b"L" * 40_000

ENDED = "the connection to the broker "

VERSIONS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


def push(port: int, payload: bytes) -> None:
    """Send one inbound message, and wait until the bridge has it."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(payload)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(20)
        assert connection.recv(1) == b""


class Site:
    """A bridge that listens, at a broker with ``lines`` in its configuration."""

    def __init__(self, keeper: Keeper, folder: Path, protocol: str = "5", *lines: str) -> None:
        self.broker = Mosquitto(keeper, folder / "mosquitto", lines=("max_queued_messages 0", *lines))
        self.broker.start()
        self.cloud = Cloud(keeper, folder / "cloud")
        self.cloud.start()
        self.bridge = BridgeProcess(keeper, folder / "bridge", self.broker, self.cloud.port)
        self.port = free_port()
        self.bridge.configure(
            mqtt={"protocol": protocol},
            inbound={"enabled": True, "host": "127.0.0.1", "port": self.port},
        )
        self.client = Client(self.broker.port, "hologram/#", "reply/#").connect()
        keeper.finally_(self.client.close)

    def start(self) -> None:
        self.bridge.start()
        eventually(self._listening, what="the bridge listens")

    def _listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def inbound(self) -> list[bytes]:
        return [each.payload for each in self.client.messages("hologram/in")]

    def aside(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self.bridge.queue("set-aside")["set_aside"]
        return found


@VERSIONS
def test_a_message_larger_than_the_broker_takes(keeper: Keeper, tmp_path: Path, protocol: str) -> None:
    """It is set aside within ten seconds, with a line that names it; what comes after it is published."""
    site = Site(keeper, tmp_path, protocol, "max_packet_size 20000")
    site.start()
    push(site.port, b"before")
    push(site.port, LARGE)
    push(site.port, b"after")
    site.client.publish("hologram/send", json.dumps({"data": "x", "topics": ["a"], "id": "m"}))
    eventually(site.aside, 10, what="it is set aside")
    assert site.client.wait_result("m", 10)["state"] == "delivered"
    site.client.wait_for(lambda: len(site.inbound) >= 2, 10, what="what came after it is published")
    assert set(site.inbound) == {b"before", b"after"}
    (entry,) = site.aside()
    assert (entry["kind"], entry["topic"], entry["bytes"]) == ("report", "hologram/in", len(LARGE))
    (line,) = [line for line in site.bridge.said().splitlines() if "is set aside" in line]
    assert "hologram/in (40000 bytes)" in line
    assert f"queue set-aside --show {entry['id']}" in line
    assert site.bridge.queue("stats")["set_aside"] == 1
    shown = site.bridge.run("queue", "set-aside", "--show", str(entry["id"]), "--raw")
    assert shown.stdout.encode() == LARGE
    site.client.wait_for(lambda: site.client.health().get("set_aside") == 1, what="health tells it")
    assert site.bridge.running


@pytest.mark.parametrize(
    "topic",
    ["reply/" + "/".join("a" * 250), "$SYS/a", "reply/" + "a" * 65_000],
    ids=["levels", "$SYS", "long"],
)
def test_a_response_topic_that_the_broker_does_not_take(keeper: Keeper, tmp_path: Path, topic: str) -> None:
    """Whatever producers choose, the result comes on our own topic, and what follows it as well.

    Mosquitto 2.0.11 takes a message whose Response Topic has too many levels; 2.0.21 cuts its producer.
    """
    site = Site(keeper, tmp_path)
    site.start()
    answer = "reply/good"
    with Client(site.broker.port) as producer:
        given = {"ResponseTopic": topic}
        producer.publish("hologram/out/a", "1", properties=given, user={"id": "bad"}, wait=False)
        eventually(lambda: producer.published or not producer.connected, what="the broker takes it, or cuts")
        taken = producer.published > 0
    site.client.publish("hologram/out/a", "2", properties={"ResponseTopic": answer}, user={"id": "good"})
    if taken:
        site.client.wait_result("bad", 10)
    else:
        assert topic.count("/") > 200
    site.client.wait_result("good", 10)
    site.client.wait_for(lambda: site.client.messages(answer), 10, what="the other's answer")
    eventually(lambda: site.bridge.queue("stats")["reports"]["bytes"] == 0, 10, what="nothing is left")


def test_nothing_is_set_aside_for_a_broker_that_is_killed(keeper: Keeper, tmp_path: Path) -> None:
    """Killed every second or two, under load: all is published in the end, and nothing is set aside."""
    site = Site(keeper, tmp_path)
    site.start()
    sent: list[bytes] = []
    over = threading.Event()

    def feed() -> None:
        while not over.is_set():
            payload = f"{len(sent)} ".encode() + random.randbytes(random.choice([10, 1000, 30_000]))
            push(site.port, payload)
            sent.append(payload)

    with ThreadPoolExecutor() as pool:
        feeding = pool.submit(feed)
        for number in range(12):
            over.wait(random.uniform(0.3, 2.0))
            site.broker.kill() if number % 3 else site.broker.stop()
            over.wait(random.choice([0.0, 0.3]))
            site.broker.start()
        over.set()
        feeding.result(30)
    site.bridge.wait_online(30)
    eventually(lambda: site.bridge.queue("stats")["reports"]["bytes"] == 0, 60, what="all is published")
    assert site.aside() == []
    assert "is left out" not in site.bridge.said()


def test_a_restart_in_the_middle(keeper: Keeper, tmp_path: Path) -> None:
    """What was found out before the bridge was killed is found out again, and the rest is there."""
    site = Site(keeper, tmp_path, "3.1.1", "max_packet_size 20000")
    site.start()
    push(site.port, LARGE)
    eventually(lambda: "(2 times)" in site.bridge.said(), what="it is cut twice")
    site.bridge.kill()
    site.start()
    push(site.port, b"after")
    eventually(site.aside, 10, what="it is set aside")
    site.client.wait_for(lambda: site.inbound == [b"after"], 10, what="what came after it is published")
    assert site.bridge.stop() == 0
    site.start()
    assert [entry["bytes"] for entry in site.aside()] == [len(LARGE)]


def test_many_that_are_too_large(keeper: Keeper, tmp_path: Path) -> None:
    """What is as large as one that was set aside is tried once; the small ones between them go on."""
    site = Site(keeper, tmp_path, "3.1.1", "max_packet_size 20000")
    site.start()
    for number in range(8):
        push(site.port, LARGE)
        push(site.port, b"%d" % number)
    site.client.wait_for(lambda: len(site.inbound) == 8, 30, what="the small ones are published")
    eventually(lambda: len(site.aside()) == 8, 30, what="the large ones are set aside")
    assert site.inbound == [b"%d" % number for number in range(8)]
    assert site.bridge.said().count(ENDED) <= 4 + 7


@VERSIONS
@pytest.mark.parametrize(
    "lines", [("retain_available false",), ("max_qos 0",), ("max_qos 0", "retain_available false")]
)
def test_a_broker_that_does_less(
    keeper: Keeper, tmp_path: Path, protocol: str, lines: tuple[str, ...]
) -> None:
    """One that keeps nothing, or takes QoS 0 alone, has our reports and states without that."""
    site = Site(keeper, tmp_path, protocol, *lines)
    site.bridge.start(wait=False)
    eventually(site._listening, what="the bridge listens")
    eventually(lambda: "connected to the broker" in site.bridge.said(), 90, what="the broker takes us")
    push(site.port, b"hello")
    site.client.wait_for(lambda: site.inbound == [b"hello"], 20, what="it is published")
    eventually(lambda: site.bridge.queue("stats")["reports"]["bytes"] == 0, what="it is off the disk")
    assert site.client.wait_last("hologram/bridge/state").payload == b"online"
    assert site.aside() == []


@VERSIONS
def test_states_larger_than_the_broker_takes(keeper: Keeper, tmp_path: Path, protocol: str) -> None:
    """They are left out with one line; what is smaller goes on."""
    site = Site(keeper, tmp_path, protocol, "max_packet_size 400")
    site.start()
    push(site.port, b"hello")
    site.client.wait_for(lambda: site.inbound == [b"hello"], 30, what="it is published")
    eventually(lambda: "bridge/health is left out" in site.bridge.said(), 30, what="it is said")
    assert site.bridge.said().count("bridge/health is left out") == 1
    push(site.port, b"again")
    site.client.wait_for(lambda: site.inbound == [b"hello", b"again"], 30, what="and the next")
    assert "left out" in site.bridge.queue("stats")["last_error"]["description"]
    assert site.aside() == []


def test_the_command(keeper: Keeper, tmp_path: Path) -> None:
    """It lists, prints without harm to a terminal, publishes again and drops; with a daemon and without."""
    site = Site(keeper, tmp_path, "5", "max_packet_size 20000")
    site.start()
    shout = "\x1b[31m\u202e" + "x" * 30_000
    for payload in (LARGE, shout.encode(), LARGE):
        push(site.port, payload)
    eventually(lambda: len(site.aside()) == 3, what="all are set aside")
    first, second, third = (entry["id"] for entry in site.aside())
    text = site.bridge.run("queue", "set-aside", "--show", str(second)).stdout
    assert "hologram/in" in text
    assert "\\x1b[31m\\u202ex" in text
    assert "\x1b" not in text
    listed = site.bridge.run("queue", "set-aside").stdout.splitlines()
    assert len(listed) == 3
    assert "20000 at most" in listed[0]
    assert "dropped 1" in site.bridge.run("queue", "set-aside", "--drop", str(first)).stdout
    again = site.bridge.run("queue", "set-aside", "--drop", str(first))
    assert (again.returncode, f"no entry {first} to drop is set aside" in again.stderr) == (1, True)
    assert "2 set aside" in site.bridge.run("doctor").stdout
    assert site.bridge.stop() == 0
    assert "2 set aside" in site.bridge.run("doctor").stdout
    assert [entry["id"] for entry in site.aside()] == [second, third]
    assert site.bridge.run("queue", "set-aside", "--retry", "all").returncode == 0
    assert site.aside() == []
    site.broker.stop()
    site.broker.lines = ()
    site.broker.start()
    site.client.wait_connected()
    site.start()
    site.client.wait_for(lambda: site.inbound == [shout.encode(), LARGE], what="the broker takes them now")


# -- a broker that follows a script ----------------------------------------------------------------------


class Scripted:
    """A bridge at a scripted broker."""

    def __init__(self, keeper: Keeper, folder: Path, broker: ScriptedBroker, protocol: str = "5") -> None:
        self.broker = broker
        keeper.finally_(broker.close)
        here = cast("Mosquitto", broker)  # the bridge's process wants its port and users alone
        self.bridge = BridgeProcess(keeper, folder / "bridge", here, free_port())
        self.port = free_port()
        self.bridge.configure(
            mqtt={"protocol": protocol},
            inbound={"enabled": True, "host": "127.0.0.1", "port": self.port},
        )
        self.bridge.start(wait=False)
        eventually(self._connected, what="the bridge is connected and listens")

    def _connected(self) -> bool:
        with socket.socket() as probe:
            listens = probe.connect_ex(("127.0.0.1", self.port)) == 0
        return listens and "connected to the broker" in self.bridge.said()

    def aside(self) -> list[bytes]:
        """Return the payloads of what is set aside."""
        return [
            base64.b64decode(self.bridge.queue("set-aside", "--show", str(entry["id"]))["payload_base64"])
            for entry in self.bridge.queue("set-aside")["set_aside"]
        ]


def for_poison(answer: Answer) -> Callable[[Publication], Answer]:
    return lambda found: answer if found.payload == b"poison" else 0


@VERSIONS
def test_one_that_the_broker_cuts_for_among_many(keeper: Keeper, tmp_path: Path, protocol: str) -> None:
    """Of a window that was under way it is found; the others are published once each, in order."""
    broker = ScriptedBroker(for_poison(CUT))
    site = Scripted(keeper, tmp_path, broker, protocol)
    wanted = [b"%d" % number for number in range(20)]
    for payload in (*wanted[:10], b"poison", *wanted[10:]):
        push(site.port, payload)
    eventually(lambda: site.aside() == [b"poison"], 10, what="it is set aside")
    eventually(lambda: broker.payloads("hologram/in") == wanted, 10, what="the others are published")


def test_one_that_takes_the_broker_down(keeper: Keeper, tmp_path: Path) -> None:
    """All connections end with it: it waits while the rest goes on, and is not set aside."""
    broker = ScriptedBroker(for_poison(DIE))
    site = Scripted(keeper, tmp_path, broker)
    push(site.port, b"poison")
    push(site.port, b"after")
    eventually(
        lambda: broker.payloads("hologram/in") == [b"after"], 60, what="what came after it is published"
    )
    assert site.aside() == []
    broker.judge = lambda _: 0
    eventually(lambda: broker.payloads("hologram/in") == [b"after", b"poison"], 60, what="then it goes too")


def test_a_broker_that_falls_with_whatever_is_under_way(keeper: Keeper, tmp_path: Path) -> None:
    """It dies ten times with something else under way each time: nothing is set aside, nothing is lost."""
    broker = ScriptedBroker()
    falls = iter(range(10))
    broker.judge = lambda found: DIE if found.topic == "hologram/in" and next(falls, None) is not None else 0
    site = Scripted(keeper, tmp_path, broker)
    wanted = {b"%d" % number for number in range(20)}
    for payload in sorted(wanted):
        push(site.port, payload)
    eventually(lambda: set(broker.payloads("hologram/in")) == wanted, 90, what="all are published")
    assert site.aside() == []


@pytest.mark.slow
def test_a_broker_that_falls_whatever_it_gets(keeper: Keeper, tmp_path: Path) -> None:
    """It takes nothing at all for a while: nothing is set aside, and nothing waits once it is well."""
    broker = ScriptedBroker(lambda found: DIE if found.qos else 0)
    site = Scripted(keeper, tmp_path, broker)
    push(site.port, b"first")
    push(site.port, b"second")
    eventually(lambda: broker.connections > 30, 60, what="it falls and falls")
    broker.judge = lambda _: 0
    eventually(lambda: broker.payloads("hologram/in") == [b"first", b"second"], 30, what="both are published")
    assert site.aside() == []
    assert "left out" not in site.bridge.said()


@pytest.mark.slow
def test_a_slow_broker_that_is_killed_again_and_again(keeper: Keeper, tmp_path: Path) -> None:
    """Something is always under way when it falls, and often it alone: nothing is set aside."""

    def slow(found: Publication) -> Answer:
        threading.Event().wait(0.1 if found.qos else 0.0)
        return 0

    broker = ScriptedBroker(slow)
    site = Scripted(keeper, tmp_path, broker)
    wanted = [b"%d" % number for number in range(10)]
    for payload in wanted:
        push(site.port, payload)
    for _ in range(25):
        threading.Event().wait(random.uniform(0.2, 0.8))
        broker.cut_all()
    eventually(lambda: set(broker.payloads("hologram/in")) == set(wanted), 60, what="all are published")
    assert site.aside() == []
    assert "left out" not in site.bridge.said()


@pytest.mark.slow
def test_one_that_is_never_acknowledged(keeper: Keeper, tmp_path: Path) -> None:
    """What the broker passes over while it acknowledges others is set aside; the others go on meanwhile."""
    broker = ScriptedBroker(for_poison(IGNORE))
    site = Scripted(keeper, tmp_path, broker)
    push(site.port, b"poison")
    for number in range(100):  # more than a window
        push(site.port, b"%d" % number)
    eventually(lambda: b"99" in broker.payloads("hologram/in"), 10, what="the others are published")
    eventually(lambda: site.aside() == [b"poison"], 90, what="it is set aside")


@pytest.mark.parametrize("code", [0x90, 0x99])
def test_a_refusal_that_no_time_mends(keeper: Keeper, tmp_path: Path, code: int) -> None:
    """It is set aside at once, and nothing else is held back."""
    broker = ScriptedBroker(for_poison(code))
    site = Scripted(keeper, tmp_path, broker)
    push(site.port, b"poison")
    push(site.port, b"after")
    eventually(lambda: site.aside() == [b"poison"], what="it is set aside")
    eventually(lambda: broker.payloads("hologram/in") == [b"after"], what="what came after it is published")


def test_a_refusal_that_may_be_mended(keeper: Keeper, tmp_path: Path) -> None:
    """It is kept and tried again; once one is taken the others of its topic follow at once."""
    broker = ScriptedBroker(lambda found: 0x87 if found.topic == "hologram/in" else 0)
    site = Scripted(keeper, tmp_path, broker)
    wanted = [b"%d" % number for number in range(30)]
    for payload in wanted:
        push(site.port, payload)
    eventually(lambda: len([each for each in broker.seen if each.topic == "hologram/in"]) == 30)
    broker.judge = lambda _: 0
    eventually(lambda: broker.payloads("hologram/in") == wanted, 60, what="all are published, in order")
    assert site.aside() == []


def test_no_more_under_way_than_the_broker_allows(keeper: Keeper, tmp_path: Path) -> None:
    """States count too [MQTT 5.0, section 3.3.4]: with Receive Maximum 1 one publication is under way."""
    broker = ScriptedBroker(lambda found: IGNORE if found.qos else 0, connack=b"\x21\0\x01")
    site = Scripted(keeper, tmp_path, broker)
    push(site.port, b"hello")
    site.bridge.queue("stats")  # what it would publish, it has published before it answers
    assert len([each for each in broker.seen if each.qos]) == broker.connections - 1


def test_the_keep_alive_that_the_broker_sets(keeper: Keeper, tmp_path: Path) -> None:
    """It counts instead of ours [MQTT 5.0, section 3.2.2.3.14]."""
    broker = ScriptedBroker(connack=b"\x13\0\x01")
    Scripted(keeper, tmp_path, broker)
    eventually(lambda: broker.pings > 2, 20, what="it pings each second, not each minute")
