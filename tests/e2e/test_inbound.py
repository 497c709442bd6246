"""Inbound: messages by TCP and UDP on ``hologram/in``, byte for byte, durably, whatever else comes in."""

import contextlib
import os
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, Received, eventually, free_port

EVERY_BYTE = bytes(range(256))
WINDOW = 64
"""Publications that a kill or a broker's stop can catch under way."""


@pytest.fixture
def port(bridge: BridgeProcess) -> int:
    """The inbound port of ``bridge``, which listens there once it is started."""
    number = free_port()
    bridge.configure(inbound={"enabled": True, "host": "127.0.0.1", "port": number})
    return number


def push(port: int, data: bytes, timeout: float = 30.0) -> None:
    """Send one message and wait for the clean close, which says that it is durable.

    Raises OSError where that does not come: the bridge is down, or has not taken it.
    """
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(1):
            raise OSError("the bridge talks on its inbound port")


def push_udp(port: int, data: bytes) -> None:
    """Send one datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(data, ("127.0.0.1", port))


def inbound(client: Client) -> list[Received]:
    """Return what came on ``hologram/in``."""
    return client.messages("hologram/in")


def figures(bridge: BridgeProcess) -> dict[str, Any]:
    """Return the listener's figures."""
    found: dict[str, Any] = bridge.queue("stats")["inbound"]
    return found


def wait_listening(bridge: BridgeProcess, *protocols: str) -> None:
    """Wait until the port is open."""
    wanted = list(protocols or ("tcp", "udp"))
    eventually(lambda: figures(bridge)["listening"] == wanted, what="the inbound port is open")


# -- the plain way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_message_appears_as_it_came(
    bridge: BridgeProcess, client: Client, port: int, protocol: str
) -> None:
    """Bytes exactly, at QoS 1, not retained, with its properties; an event tells of it; its bytes count."""
    bridge.start()
    wait_listening(bridge)
    (push if protocol == "tcp" else push_udp)(port, EVERY_BYTE)
    [message] = client.wait_for(lambda: inbound(client))
    assert (message.payload, message.qos, message.retain) == (EVERY_BYTE, 1, False)
    user = message.properties["user"]
    assert set(user) == {"id", "peer", "protocol", "port", "received_at"}
    assert (user["protocol"], user["port"]) == (protocol, str(port))
    assert re.fullmatch(r"127\.0\.0\.1:\d+", user["peer"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", user["received_at"])
    [event] = client.wait_for(lambda: client.events("message.received"))
    del event["at"]
    assert event == {
        "event_type": "message.received",
        "id": user["id"],
        "peer": user["peer"],
        "protocol": protocol,
        "bytes": 256,
    }
    stats = bridge.queue("stats")
    assert stats["inbound"]["received"] == 1
    assert 256 + 28 <= stats["bytes"]["today"]["down"] < 256 + 400


def test_mqtt_3_carries_it_without_properties(bridge: BridgeProcess, client: Client, port: int) -> None:
    """Under MQTT 3.1.1 the same bytes come on the same topic."""
    bridge.configure(mqtt={"protocol": "3.1.1"})
    bridge.start()
    wait_listening(bridge)
    push(port, EVERY_BYTE)
    [message] = client.wait_for(lambda: inbound(client))
    assert (message.payload, message.properties["user"]) == (EVERY_BYTE, {})


def test_it_can_be_switched_off(bridge: BridgeProcess, client: Client, port: int) -> None:
    """With ``enabled: false`` nothing listens."""
    bridge.configure(inbound={"enabled": False})
    bridge.start()
    with pytest.raises(ConnectionRefusedError):
        push(port, b"x")


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed in between"])
def test_messages_wait_for_a_broker_that_is_down(
    bridge: BridgeProcess, mosquitto: Mosquitto, keeper: Keeper, port: int, killed: bool
) -> None:
    """What comes while the broker is down is published when it is back, a SIGKILL of the bridge or not."""
    collector = Collector(mosquitto.port, keeper)
    bridge.start()
    wait_listening(bridge)
    mosquitto.stop()
    messages = [b"%d " % number + os.urandom(1000) for number in range(100)]
    for data in messages:
        push(port, data)
    if killed:
        bridge.kill()
        bridge.start(wait=False)
    mosquitto.start()
    eventually(lambda: len(collector.messages) >= 100, 30, what="all are there")
    assert [data for _, data in collector.messages] == messages, "each once, in order"


# -- who, where ------------------------------------------------------------------------------------------


def test_peers_outside_allow_are_refused(bridge: BridgeProcess, client: Client, port: int) -> None:
    """They are reset, counted, and the log says once how to let them in."""
    bridge.configure(inbound={"allow": ["10.176.0.0/16"]})
    bridge.start()
    wait_listening(bridge)
    for _ in range(5):
        with pytest.raises(OSError, match=r"reset|pipe|not connected"):
            push(port, b"let me in")
    push_udp(port, b"me too")
    eventually(lambda: figures(bridge)["refused"] == 6)
    assert inbound(client) == []
    assert bridge.said().count('add "127.0.0.1/32" there to let it in') == 1


def test_a_taken_port_stops_nothing_else(
    bridge: BridgeProcess, client: Client, cloud: Cloud, port: int
) -> None:
    """Somebody holds the port: a clear error, messages go out meanwhile, and it is taken when it is free."""
    cloud.start()
    with socket.create_server(("127.0.0.1", port)):
        bridge.start()
        text = f"cannot listen on 127.0.0.1:{port} (tcp): Address already in use"
        eventually(lambda: text in bridge.said())
        client.publish("hologram/out/sensors", b"out")
        assert client.wait_for(client.results)[0]["state"] == "delivered"
        assert text in figures(bridge)["problem"]
    wait_listening(bridge)
    assert figures(bridge)["problem"] is None
    push(port, b"in")
    assert client.wait_for(lambda: inbound(client))[0].payload == b"in"


# -- bounds and abuse ------------------------------------------------------------------------------------


def test_limits(bridge: BridgeProcess, client: Client, port: int) -> None:
    """Silence ends a message; too large, too slow, broken and empty ones are counted and not published."""
    bridge.configure(inbound={"timeout": 0.5, "deadline": 2, "max_bytes": 1000})
    bridge.start()
    wait_listening(bridge)
    push(port, b"x" * 1000)
    for size in (1001, 10_000_000):
        with pytest.raises(OSError, match=r"reset|pipe|not connected"):
            push(port, b"y" * size)
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"ended by silence")
        silent.settimeout(10)
        assert silent.recv(1) == b""
    with pytest.raises(OSError, match=r"reset|pipe"):
        trickle(port, 0.2, 60)
    break_off(port, b"broken")
    socket.create_connection(("127.0.0.1", port)).close()
    eventually(lambda: figures(bridge)["empty"] == 1)
    found = figures(bridge)
    assert {name: found[name] for name in ("received", "too_large", "cut", "broken", "empty", "open")} == {
        "received": 2, "too_large": 2, "cut": 1, "broken": 1, "empty": 1, "open": 0,
    }  # fmt: skip
    assert [message.payload for message in inbound(client)] == [b"x" * 1000, b"ended by silence"]


def trickle(port: int, every: float, times: int) -> None:
    """Send one byte every now and then; raises OSError when the bridge has had enough."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(times):
            connection.sendall(b"z")
            threading.Event().wait(every)


def break_off(port: int, data: bytes) -> None:
    """Send ``data`` and reset."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_thousand_connections_at_once(bridge: BridgeProcess, client: Client, port: int) -> None:
    """A thousand peers connect before any of them writes: every message comes, once and whole."""
    bridge.start()
    wait_listening(bridge)
    messages = [b"%d " % number + os.urandom(random.randrange(3000)) for number in range(1000)]
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in messages
        ]
        for connection, data in zip(connections, messages, strict=True):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        for connection in connections:
            assert connection.recv(1) == b"", "durable"
    client.wait_for(lambda: len(inbound(client)) >= 1000, 30)
    assert sorted(message.payload for message in inbound(client)) == sorted(messages)


@contextlib.contextmanager
def abuse(port: int) -> Iterator[Callable[[], Counter[str]]]:
    """Do everything a port on a network meets, until the block ends; gives what was done."""
    stop = threading.Event()
    done: Counter[str] = Counter()

    def repeat(name: str, action: Callable[[], None], pause: float) -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):  # being reset is what most of them deserve
                action()
            done[name] += 1
            stop.wait(pause)

    def half_open() -> None:
        with socket.create_connection(("127.0.0.1", port), 30):
            stop.wait(3)

    def many() -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(1000):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))

    kinds: list[tuple[str, Callable[[], None], float]] = [
        ("flood", lambda: push(port, os.urandom(10_000_000)), 0.05),
        ("random", lambda: push(port, os.urandom(2000)), 0.02),
        ("scan", lambda: socket.create_connection(("127.0.0.1", port), 5).close(), 0.005),
        ("reset", lambda: break_off(port, b"x" * 500), 0.02),
        ("slow", lambda: trickle(port, 0.5, 20), 0.0),
        ("half open", half_open, 0.0),
        ("thousand", many, 0.5),
        ("datagram", lambda: push_udp(port, os.urandom(1000)), 0.01),
    ]
    with ThreadPoolExecutor(len(kinds)) as pool:
        jobs = [pool.submit(repeat, *kind) for kind in kinds]
        try:
            yield lambda: done
        finally:
            stop.set()
    for job in jobs:
        job.result()


def paced(client: Client, tag: str, seconds: float, rate: int) -> list[float]:
    """Publish ``rate`` messages a second; return the seconds from each publication to its result."""
    sent: dict[str, float] = {}
    started = time.monotonic()
    for number in range(int(seconds * rate)):
        wait = started + number / rate - time.monotonic()
        if wait > 0:
            threading.Event().wait(wait)
        name = f"{tag}-{number}"
        sent[name] = time.monotonic()
        client.publish(f"hologram/out/sensors/{number % 8}", name, user={"id": name}, wait=False)
    client.wait_for(
        lambda: sum(result["id"] in sent for result in client.results()) == len(sent),
        20,
        what="every message sent has its result",
    )
    came = {message.json()["id"]: message.at for message in client.messages("hologram/result")}
    return sorted(came[name] - at for name, at in sent.items())


def test_outbound_goes_on_at_its_rate_under_abuse(
    bridge: BridgeProcess, client: Client, cloud: Cloud, port: int, record_property: Callable[..., None]
) -> None:
    """Floods, scans, resets, slow and half-open peers, a thousand at once: 50 messages a second still go out.

    Each is delivered within a second or so, the bridge's memory stays bounded, and it has no error.
    """
    cloud.start()
    bridge.configure(inbound={"timeout": 1, "deadline": 3})
    bridge.start()
    wait_listening(bridge)
    quiet = paced(client, "quiet", 2, 50)
    before = bridge.memory()
    with abuse(port) as done:
        busy = paced(client, "busy", 8, 50)
        during = bridge.memory()
        eventually(lambda: min(done()[kind] for kind in ("flood", "scan", "reset", "random")) > 5, 20)
    record_property(
        "delay", f"median {quiet[len(quiet) // 2]:.4f} quiet, {busy[len(busy) // 2]:.4f} under abuse"
    )
    print(
        f"\nmedian {quiet[len(quiet) // 2]:.4f} -> {busy[len(busy) // 2]:.4f} s, worst {quiet[-1]:.3f} -> "
        f"{busy[-1]:.3f} s, memory {before / 1e6:.1f} -> {during / 1e6:.1f} MB, done {dict(done())}"
    )
    # In proportion, as the machine may be busy with other things; the last bound finds what stands still.
    assert busy[len(busy) // 2] < max(0.5, 20 * quiet[len(quiet) // 2])
    assert busy[-1] < max(30, 20 * quiet[-1])
    assert during - before < 30_000_000
    eventually(lambda: figures(bridge)["open"] == 0, 20)
    found = figures(bridge)
    assert min(found[name] for name in ("empty", "broken", "too_large", "received")) > 5
    assert bridge.running
    assert bridge.said().count("no message from") < 20, "a flood does not flood the log"
    push(port, b"after all that")
    client.wait_for(lambda: inbound(client)[-1].payload == b"after all that", 20)


# -- done when -------------------------------------------------------------------------------------------


class Collector:
    """A subscriber with a persistent session, so that it misses nothing while the broker is away.

    What the broker itself repeats to it, because its stop cut an acknowledgement off, is left out: that says
    nothing of the bridge.
    """

    def __init__(self, port: int, keeper: Keeper) -> None:
        self.messages: list[tuple[str, bytes]] = []
        """Id and payload, in order."""
        self._seen: set[str] = set()
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="collector", protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("hologram/in", 1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._came
        self._client.reconnect_delay_set(1, 1)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, 60, clean_start=False, properties=properties)
        self._client.loop_start()
        keeper.finally_(self._stop)
        assert self._ready.wait(10)

    def _stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _came(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        name = dict(vars(message.properties)["UserProperty"])["id"]
        if not (message.dup and name in self._seen):
            self._seen.add(name)
            self.messages.append((name, bytes(message.payload)))


class Sender:
    """Sends messages, each until it is confirmed by the bridge's clean close.

    ``doubtful`` counts connections that the kill cut: their message may or may not have been durable, nobody
    was told, so it is sent again.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.confirmed = 0
        self.doubtful: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                push(self.port, data)
            except ConnectionRefusedError:
                threading.Event().wait(0.05)  # nobody listens: not a byte has gone
            except OSError:
                with self._lock:
                    self.doubtful[data] += 1
            else:
                with self._lock:
                    self.confirmed += 1
                return
            assert time.monotonic() < deadline, "the bridge did not take it"


def test_ten_thousand_messages_through_a_broker_stop_and_a_kill(
    keeper: Keeper, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    """Every message of 1 byte to 64 KB appears on ``hologram/in``: once, or twice if it was under way then.

    Sent is a message whose sender saw the bridge close cleanly. Connections that the kill cut are counted
    apart, and their messages sent again; those may appear once more.
    """
    broker = Mosquitto(keeper, tmp_path / "mosquitto", lines=("max_queued_messages 0",))
    broker.start()
    port = free_port()
    bridge = BridgeProcess(keeper, tmp_path / "bridge", broker, free_port())
    bridge.configure(inbound={"enabled": True, "host": "127.0.0.1", "port": port})
    collector, sender = Collector(broker.port, keeper), Sender(port)
    bridge.start()
    wait_listening(bridge)
    # Each size of the range's orders of magnitude as often as the next; both ends are there.
    sizes = [1, 65536, *(round(2 ** random.uniform(0, 16)) for _ in range(9998))]
    messages = [os.urandom(size) for size in sizes]
    started = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        jobs: list[Future[None]] = [pool.submit(sender.send, data) for data in messages]
        eventually(lambda: sender.confirmed > 2500, 60)
        bridge.kill()
        bridge.start(wait=False)
        eventually(lambda: sender.confirmed > 5000, 60)
        broker.stop()
        eventually(lambda: sender.confirmed > 7000, 60, what="messages are taken without a broker")
        broker.start()
        for job in jobs:
            job.result(60)
    sent = time.monotonic() - started
    wanted = Counter(messages)
    eventually(
        lambda: len(collector.messages) >= 10_000 and not wanted - Counter(d for _, d in collector.messages),
        60,
        what="every message is there",
    )
    took = time.monotonic() - started
    doubtful = sum(sender.doubtful.values())
    copies = Counter(name for name, _ in collector.messages)
    repeated = sum(count - 1 for count in copies.values())
    text = f"sent in {sent:.1f} s, all there in {took:.1f} s; cut by the kill {doubtful}, repeated {repeated}"
    record_property("figures", text)
    print(f"\n{text}")
    assert max(copies.values()) <= 2
    assert repeated <= 2 * WINDOW
    distinct = Counter(dict(collector.messages).values())
    extra = distinct - wanted
    assert not extra - sender.doubtful, "what is there once more was cut by the kill"
    assert sum(distinct.values()) == len(copies)


# -- a broker that is away for long ----------------------------------------------------------------------


def test_what_waits_for_the_broker_has_a_bound(
    bridge: BridgeProcess, mosquitto: Mosquitto, client: Client, port: int
) -> None:
    """As much as the outbox may hold is taken; then TCP waits, UDP is dropped and counted, and it is said."""
    bridge.configure(store={"max_bytes": 100_000})
    bridge.start()
    wait_listening(bridge)
    mosquitto.stop()
    messages = [bytes([number]) * 40_000 for number in range(4)]
    for message in messages[:3]:
        push(port, message)
    eventually(lambda: bridge.queue("stats")["state"] == "reports_full", what="health says it")
    stats = bridge.queue("stats")
    assert 120_000 < stats["reports"]["bytes"] < 125_000
    (line,) = [line for line in bridge.said().splitlines() if "nothing comes in" in line]
    assert "store.max_bytes" in line
    push_udp(port, b"nobody keeps this")
    eventually(lambda: figures(bridge)["dropped"] == 1, what="the datagram is counted")
    with ThreadPoolExecutor() as pool:
        last = pool.submit(push, port, messages[3])
        with pytest.raises(TimeoutError):
            last.result(1.0)
        mosquitto.start()
        bridge.wait_online(20)
        client.wait_connected()
        last.result(20)
    client.wait_for(lambda: len(inbound(client)) == 4, 20, what="all four are published")
    assert [each.payload for each in inbound(client)] == messages
    eventually(lambda: bridge.queue("stats")["reports"]["bytes"] == 0, what="the broker has everything")
    assert bridge.queue("stats")["state"] == "ok"
