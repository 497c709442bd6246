"""Messages that a broker passes on and that are odd, wrong or huge: none is in the way of the next."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.fake_broker import FakeBroker
from tests.doubles.mqtt_wire import publish, publish_raw, text, user
from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually

BOM = "\ufeff"


@pytest.fixture
def client(keeper: Keeper, mosquitto: Mosquitto) -> Client:
    """A client that hears the bridge alone: what is published here would end paho's own connection."""
    client = Client(mosquitto.port, "hologram/result", "hologram/bridge/health", "reply/#").connect()
    keeper.finally_(client.close)
    return client


def mosquitto_pub(bridge: BridgeProcess, topic: str, payload: str, *given: str) -> None:
    """Publish as a user does, with MQTT 5 and QoS 1."""
    command = [
        "mosquitto_pub",
        "-V",
        "5",
        "-q",
        "1",
        "-h",
        "127.0.0.1",
        "-p",
        str(bridge.broker.port),
        "-t",
        topic,
        "-m",
        payload,
    ]
    for name in given:
        command += ["-D", "publish", *name.split(" ")]
    subprocess.run(command, check=True, timeout=20)


@pytest.mark.parametrize(
    "given",
    [
        f"user-property sensor {BOM}kitchen",
        f"user-property {BOM} x",
        f"content-type {BOM}text",
        f"response-topic reply/{BOM}",
    ],
)
def test_a_message_with_a_byte_order_mark_is_sent(
    bridge: BridgeProcess, cloud: Cloud, client: Client, given: str
) -> None:
    """U+FEFF is allowed in MQTT 5 wherever text is, and what comes after it is delivered too."""
    cloud.start()
    bridge.start()
    mosquitto_pub(bridge, "hologram/out/a", "21.5", given, "user-property id odd")
    client.publish("hologram/out/a", b"next", user={"id": "next"})
    assert client.wait_result("odd")["state"] == "delivered"
    assert client.wait_result("next")["state"] == "delivered"
    assert cloud.payloads() == [b"21.5", b"next"]
    assert "lost the broker" not in bridge.said()


def test_a_control_command_with_a_byte_order_mark_is_carried_out(
    bridge: BridgeProcess, client: Client
) -> None:
    """On the session that carries commands it is the same."""
    bridge.start()
    mosquitto_pub(bridge, "hologram/queue/set", "pause", f"user-property by {BOM}me", "user-property id odd")
    client.publish("hologram/queue/set", b"resume", user={"id": "next"})
    assert client.wait_result("odd")["state"] == "done"
    assert client.wait_result("next")["state"] == "done"


@pytest.mark.parametrize(
    ("session", "topic", "channel", "said"),
    [
        ("box", "hologram/out/a", "cloud", "rejected a message on hologram/out/a: user_property"),
        (
            "box-control",
            "hologram/queue/set",
            "queue",
            "rejected a command on hologram/queue/set: user_property",
        ),
    ],
)
def test_what_cannot_be_read_is_rejected_on_either_session(
    bridge: BridgeProcess, session: str, topic: str, channel: str, said: str
) -> None:
    """A broker that checks nothing passes it on: it has its line, its result and its acknowledgement."""
    bad = publish(topic, b"x", properties=user("id", "bad") + user("a", b"\xff"))
    broker = FakeBroker(unacknowledged={1: bad}, client=text(session))

    async def main() -> int:
        await broker.start()
        bridge.configure(mqtt={"port": broker.port, "client_id": "box"})
        await asyncio.to_thread(bridge.start, wait=False)
        async with asyncio.timeout(20):
            while broker.unacknowledged or not results():
                await asyncio.sleep(0.05)
        return broker.connections  # the end of the loop cuts them, and the bridge comes again

    def results() -> list[bytes]:
        marked = text("hologram/result")
        return [body for first, body in broker.received if first >> 4 == 3 and body.startswith(marked)]

    connections = asyncio.run(main())
    for part in ('"id":"bad"', f'"channel":"{channel}"', '"state":"rejected"', "it must be UTF-8"):
        assert part.encode() in results()[0]
    assert said in bridge.said()
    assert connections == 2


MEGABYTE = 1_000_000
DATA = b'{"data": '


def large() -> Iterator[tuple[str, str, bytes, bytes]]:
    """Yield name, topic, payload and properties of each, one after the other, as all are 300 MB."""
    yield "200,000 user properties", "out/a", b"x", user("a", "b") * 200_000
    yield "200,000 of them for a command", "queue/set", b"pause", user("a", "b") * 200_000
    yield "large user properties", "out/a", b"x", user("k" * 65_000, "v" * 65_000) * 20
    yield (
        "largest answer",
        "out/a",
        b"x",
        b"\x08" + text("reply/" + "r" * 60_000) + b"\x09" + text(b"c" * 65_535),
    )
    yield "60,000 commas", "out/a", b"x", user("topics", "," * 60_000)
    yield "30,000 topics", "out/a", b"x", user("topics", "a," * 30_000)
    yield "long id", "out/a", b"x", user("id", "x" * 65_000)
    yield "long expires", "out/a", b"x", user("expires", "9" * 65_000)
    yield "long topic", "out/" + "t" * 65_000, b"x", b""
    yield "8 MB", "out/a", b"x" * 8 * MEGABYTE, b""
    yield "8 MB that are not text", "out/a", b"\xff" * 8 * MEGABYTE, b""
    yield "8 MB of what JSON escapes", "out/a", b"\x01" * 8 * MEGABYTE, b""
    yield "11 MB", "out/a", b"x" * 11 * MEGABYTE, b""
    yield "20 MB", "out/a", b"x" * 20 * MEGABYTE, b""
    yield "a million topics", "send", DATA + b'"x", "topics": [' + b'"a",' * MEGABYTE + b'"b"]}', b""
    yield (
        "a million different topics",
        "send",
        DATA + b'"x", "topics": [' + b",".join(b'"%d"' % n for n in range(MEGABYTE)) + b"]}",
        b"",
    )
    yield "deep lists", "send", DATA + b"[" * 5 * MEGABYTE, b""
    yield "deep objects", "send", b'{"a":' * 2 * MEGABYTE, b""
    yield "many empty lists", "send", DATA + b"[" + b"[]," * 3 * MEGABYTE + b"[]]}", b""
    yield "many empty objects", "send", DATA + b"[" + b"{}," * 3 * MEGABYTE + b"{}]}", b""
    yield "many keys", "send", b"{" + b",".join(b'"%d":1' % n for n in range(MEGABYTE)) + b"}", b""
    yield "100,000 digits", "send", DATA + b"9" * 100_000 + b"}", b""
    yield "10 million digits", "send", DATA + b"9" * 10 * MEGABYTE + b"}", b""
    yield "10 million digits of a fraction", "send", DATA + b"0." + b"9" * 10 * MEGABYTE + b"}", b""
    yield "a long exponent", "send", DATA + b"1e" + b"9" * 10 * MEGABYTE + b"}", b""
    yield "many escapes", "send", DATA + b'"' + b'\\"' * 5 * MEGABYTE + b'"}', b""
    yield "a string without an end", "send", DATA + b'"' + b'\\"' * 5 * MEGABYTE, b""
    yield "many spaces", "send", b" " * 10 * MEGABYTE + b"{}", b""
    yield "many spaces inside", "send", b"{" + b" " * 10 * MEGABYTE + b"}", b""
    yield "a long id in JSON", "send", b'{"data": "x", "id": "' + b"x" * 10 * MEGABYTE + b'"}', b""
    yield "long expires in JSON", "send", DATA + b'"x", "expires": "' + b"9" * 10 * MEGABYTE + b'"}', b""
    yield (
        "a long priority",
        "send",
        DATA + b'"x", "priority": "' + "\u20ac".encode() * 3 * MEGABYTE + b'"}',
        b"",
    )
    yield "a long key", "send", b'{"' + b"k" * 10 * MEGABYTE + b'": 1}', b""
    yield "long base64", "send", b'{"data_base64": "' + b"QUJD" * (5 * MEGABYTE // 2) + b'"}', b""
    yield "no base64", "send", b'{"data_base64": "' + b"=" * 10 * MEGABYTE + b'"}', b""
    yield "a long number to text", "sms", b'{"to": "+' + b"1" * 10 * MEGABYTE + b'", "body": "x"}', b""
    yield "a long text", "sms", b'{"to": "+15551234567", "body": "' + b"x" * 10 * MEGABYTE + b'"}', b""
    yield "a long text of another alphabet", "sms/15551234567", "\u20ac".encode() * 3 * MEGABYTE, b""
    yield "a long text of line ends", "sms/15551234567", b"\n" * 10 * MEGABYTE, b""
    yield "digits of a topic", "sms/" + "1" * 65_000, b"x", b""
    yield "a long command", "queue/set", b"p" * 10 * MEGABYTE, b""
    yield "a long command in JSON", "queue/set", b'{"command": "' + b"p" * 10 * MEGABYTE + b'"}', b""
    yield "a deep command", "network/set", b'{"command": ' + b"[" * 5 * MEGABYTE, b""
    yield (
        "digits of a timeout",
        "network/set",
        b'{"command": "connect", "timeout": ' + b"9" * 10 * MEGABYTE + b"}",
        b"",
    )


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_no_packet_takes_long(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Each kind of large packet gets its result, and what is done for it takes less than a second in all."""
    cloud.start()
    bridge.configure(routes=[{"match": f"sensors/+/{number}/#", "priority": "low"} for number in range(30)])
    bridge.start()
    took: dict[str, float] = {}
    for number, (name, topic, payload, given) in enumerate(large(), 1):
        before = cpu_seconds(bridge.pid)
        publish_raw(bridge.broker.port, publish(f"hologram/{topic}", payload, properties=given))
        client.wait_results(number, 60)
        took[name] = cpu_seconds(bridge.pid) - before
    states = dict(zip(took, (each["state"] for each in client.results()), strict=True))
    # What JSON escapes is six times as long on its way: the simulated cloud takes no 48 MB.
    assert {name for name, state in states.items() if state == "delivered"} == {
        "largest answer", "8 MB", "8 MB that are not text", "many escapes", "long base64",
    }  # fmt: skip
    assert set(states.values()) == {"delivered", "rejected"}
    assert {name: seconds for name, seconds in took.items() if seconds >= 1} == {}
    client.publish("hologram/out/a", b"next", user={"id": "next"})
    assert client.wait_result("next")["state"] == "delivered"
    assert client.last("reply/" + "r" * 60_000) is not None


def test_what_is_beyond_the_limit_is_not_held(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """In 3.1.1 no limit can be announced: 100 MB are rejected, and memory stays what it was."""
    cloud.start()
    bridge.configure(mqtt={"protocol": "3.1.1"})
    bridge.start()
    before = peak(bridge.pid)
    client.publish("hologram/out/a", bytes(100 * MEGABYTE), timeout=60)
    (result,) = client.wait_results(1, 60)
    assert (result["state"], result["topics"]) == ("rejected", [])
    assert "has at most 12000000 bytes" in result["description"]
    assert peak(bridge.pid) - before < 12 * MEGABYTE
    client.publish("hologram/out/a", b"next")
    assert client.wait_results(2)[1]["state"] == "delivered"


def peak(pid: int) -> int:
    """Return the most memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_refusals_do_not_fill_the_log(bridge: BridgeProcess, client: Client) -> None:
    """The 1st, 2nd, 4th, 8th … has its line, with the number so far; each has its result."""
    bridge.start()
    for number in range(1, 41):
        client.publish("hologram/out/bad topic", b"x", wait=number == 40)
        client.publish("hologram/queue/set", b"explode", wait=number == 40)
    client.wait_results(80)
    for what in ("message on hologram/out/bad topic", "command on hologram/queue/set"):
        lines = [line for line in bridge.said().splitlines() if f"rejected a {what}" in line]
        assert [line.rpartition("(")[2] for line in lines] == [f"{n} so far)" for n in (1, 2, 4, 8, 16, 32)]


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
def test_clearing_a_retained_message_sends_nothing(
    bridge: BridgeProcess, cloud: Cloud, client: Client, protocol: object
) -> None:
    """With MQTT 5 it is told from an empty message, which is sent; in 3.1.1 the two look alike."""
    cloud.start()
    bridge.configure(mqtt={"protocol": protocol})
    bridge.start()
    client.publish("hologram/out/kept", b"on", retain=True)
    client.publish("hologram/out/kept", b"", retain=True)
    client.publish("hologram/out/empty", b"")
    client.publish("hologram/sms/15551234567", b"", retain=True)
    client.publish("hologram/queue/set", b"", retain=True)
    client.publish("hologram/queue/set", b"flush", retain=True)
    expected = ["delivered", "delivered", "done"]
    if protocol != 5:
        expected += ["delivered", "rejected", "rejected"]
    client.wait_results(len(expected))
    client.publish("hologram/send", json.dumps({"data": "end", "id": "sent"}))
    client.wait_result("sent")
    states = sorted(each["state"] for each in client.results())
    assert states == sorted([*expected, "delivered"])
    wanted = [b"on", b"", b"end"] if protocol == 5 else [b"on", b"", b"", b"end"]
    assert sorted(cloud.payloads()) == sorted(wanted)
    if protocol == 5:
        eventually(lambda: "skipped a retained empty message on" in bridge.said(), what="it is said")
