"""A collector on MQTT as users run it: webhooks come in, readings come out."""

import base64
import resource
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from bridge.batch import Reading, encode
from tests.batch.test_wire import packed
from tests.harness import Client, Keeper, Mosquitto, eventually
from tests.harness.collector import RECEIVED, RECEIVED_AT, SECRET, CollectorProcess, batch, webhook


class Rig(NamedTuple):
    """A collector between the test and a broker."""

    mosquitto: Mosquitto
    collector: CollectorProcess
    client: Client


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Return one collector, for all tests that leave it as it was."""
    keeper, folder = Keeper(), tmp_path_factory.mktemp("collect")
    mosquitto = Mosquitto(keeper, folder / "mosquitto")
    mosquitto.start()
    collector = CollectorProcess(keeper, folder, mqtt={"port": mosquitto.port}, max_body="64kB")
    collector.start()
    client = Client(mosquitto.port, "fleet/#").connect()
    keeper.finally_(client.close)
    yield Rig(mosquitto, collector, client)
    keeper.close()


def test_each_reading_of_a_batch_has_its_own_topic_time_and_id(rig: Rig) -> None:
    """A batch is unpacked; a message that comes alone has the time at which the cloud received it."""
    assert rig.collector.post(webhook(batch("b1", 3), "batch", device=11)).status == 200
    came = rig.client.messages("fleet/11/sensors/kitchen")
    eventually(lambda: len(rig.client.messages("fleet/11/sensors/kitchen")) == 3)
    came = rig.client.messages("fleet/11/sensors/kitchen")
    assert [each.payload for each in came] == [b"0", b"1", b"2"]
    assert [each.properties["user"] for each in came] == [
        {"device": "11", "received_at": RECEIVED, "at": str(1790000000 + n), "id": f"b1-{n}"}
        for n in range(3)
    ]
    assert rig.collector.post(webhook(b"open", "door", "alarm", device=11)).status == 200
    (door,) = eventually(lambda: rig.client.messages("fleet/11/door"))
    assert (door.payload, door.qos) == (b"open", 1)
    assert door.properties["user"] == {
        "device": "11", "received_at": RECEIVED, "at": str(RECEIVED_AT), "topics": "alarm",
    }  # fmt: skip


def test_a_request_that_comes_twice_is_published_once(rig: Rig) -> None:
    """Each is sent twice, one after the other and both at once; another device may have the same batch id."""
    requests = [webhook(batch(f"twice-{n}", 20, f"s/{n}"), "batch", device=12) for n in range(10)]
    requests += [webhook(batch("twice-0", 20, "s/0"), "batch", device=13)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(rig.collector.post, requests + requests))
    answers += [rig.collector.post(each) for each in requests]
    assert {each.status for each in answers} == {200}
    for topic in [f"fleet/12/s/{n}" for n in range(10)] + ["fleet/13/s/0"]:
        eventually(lambda topic=topic: len(rig.client.messages(topic)) >= 20)  # type: ignore[misc]
        assert [each.payload for each in rig.client.messages(topic)] == [b"%d" % n for n in range(20)]
    text = rig.collector.get("/metrics").text
    assert "hologram_collect_repeats_total 4" in text


def test_an_alert_names_its_device_by_path_or_header(rig: Rig) -> None:
    """Its body is the payload itself; a batch is known by its topic, or by itself where no topic is named."""
    post, messages = rig.collector.post, rig.client.messages
    assert post(b"21.5", "/alerts/21/sensors/attic").status == 200
    assert post(b"22.5", "/alerts", X_Device="21", X_Topics="sensors/attic,_DEVICE_21_, x").status == 200
    assert post(b"23.5", "/alerts/9", X_Device="21", X_Topics='["sensors/attic"]').status == 200
    came = eventually(lambda: (found := messages("fleet/21/sensors/attic"))[2:] and found)
    assert [each.payload for each in came] == [b"21.5", b"22.5", b"23.5"]
    assert came[1].properties["user"]["topics"] == "x"
    assert abs(int(came[0].properties["user"]["at"]) - time.time()) < 60
    assert post(batch("a1", 2), "/alerts/22", X_Received=RECEIVED).status == 200
    assert post(batch("a2", 2), "/alerts/22", X_Topics="batch,_DEVICE_22_").status == 200
    assert post(batch("a2", 2), "/alerts/22/batch").status == 200
    came = eventually(lambda: (found := messages("fleet/22/sensors/kitchen"))[3:] and found)
    assert [each.properties["user"]["id"] for each in came] == ["a1-0", "a1-1", "a2-0", "a2-1"]
    assert came[0].properties["user"]["received_at"] == RECEIVED
    assert post(b"21.5", "/alerts").status == 400
    assert post(b"21.5", "/alerts/a%2Fb").status == 400


def bombs() -> dict[str, bytes]:
    """Return what unpacks to far more than it is."""
    return {
        "DEFLATE": base64.b64encode(zlib.compress(b" " * 30_000_000, wbits=-15)),
        "JSON": base64.b64encode(zlib.compress(b"[" * 900_000, wbits=-15)),
        "rows": packed({"v": 1, "id": "x", "at": 1, "t": ["a"], "m": [[0, 0, ""]] * 50_000}),
        "base64": b"Q" * 10_000,
        "version": packed({"v": 2, "id": "x", "at": 1, "t": ["a"], "m": []}),
        "text": b"21.5",
        "nothing": b"",
    }


def test_what_no_repeat_would_mend_is_set_aside(rig: Rig) -> None:
    """No batch, a bomb, no topic, and topics that break the cloud's rule: 200, counted, the device named."""
    for name, data in bombs().items():
        reply = rig.collector.post(webhook(data, "batch", device=31))
        assert (name, reply.status) == (name, 200)
    topics = ["a b", "a+b", "#", "a.b", "/a", "a//b", "a/", "é", "a*", ">", "x" * 32, "a\0b"]
    for topic in topics:
        assert rig.collector.post(webhook(b"1", topic, device=32)).status == 200
    assert rig.collector.post(webhook(b"1", device=33)).status == 200
    mixed = encode(
        "m1", [Reading((each,) if each else (), 1, each.encode()) for each in ["ok", "+", "", "b"]]
    )
    assert rig.collector.post(webhook(mixed, "batch", device=34)).status == 200
    eventually(lambda: rig.client.messages("fleet/34/b"))
    assert [each.payload for each in rig.client.messages("fleet/34/ok")] == [b"ok"]
    assert not [
        topic for topic in rig.client.topics() if topic.startswith(("fleet/31", "fleet/32", "fleet/33"))
    ]
    health = rig.collector.get("/health").json()
    assert health["set_aside"] == {"batch": len(bombs()), "topic": len(topics) + 1, "no_topic": 2}
    assert health["set_aside_latest"][-1]["device"] == "34"
    assert "device 31: set aside: a batch is not DEFLATE" in rig.collector.said()
    assert "Traceback" not in rig.collector.said()


WRONG: list[bytes | dict[str, Any]] = [
    b"", b"{", b"[]", b"5", b"\xff", b'"x"', b"[" * 60_000, b"{}", b'{"device": 5}', b'{"a": NaN}',
    webhook(b"1", "a", device=None), webhook(b"1", "a", device=True), webhook(b"1", "a", device=-1),
    webhook(b"1", "a", device=1.5), webhook(b"1", "a", device="a/b"), webhook(b"1", "a", device="+"),
    webhook(b"1", "a", device="#"), webhook(b"1", "a", device="a.b"), webhook(b"1", "a", device="a b"),
    webhook(b"1", "a", device="a-b"),
    webhook(b"1", "a", device="é"), webhook(b"1", "a", device=""), webhook(b"1", "a", device="x" * 65),
    webhook(b"1", "a", tags=None), webhook(b"1", "a", tags=[5]), webhook(b"1", "a", tags={}),
    webhook(b"1", "a", data="%"), webhook(b"1", "a", data="QQ"), webhook(b"1", "a", data=None),
    webhook(b"1", "a", data="\ud800"),
]  # fmt: skip


def test_what_is_no_message_is_refused(rig: Rig) -> None:
    """400, with a line that says why; no wildcard, dot or space becomes a part of a topic."""
    for body in WRONG:
        reply = rig.collector.post(body)
        assert (body, reply.status) == (body, 400)
        assert reply.text.count("\n") == 1
    text = rig.collector.get("/metrics").text
    assert "hologram_collect_up 1" in text
    assert 'status="500"' not in text


def test_a_time_that_cannot_be_read_is_passed_on_as_it_is(rig: Rig) -> None:
    """The message goes without a time of its own, and nothing is invented."""
    for n, received in enumerate(["yesterday", "2026-09-27T18:53:09Z", "x" * 100]):
        assert rig.collector.post(webhook(b"1", f"t{n}", device=41, received=received)).status == 200
    assert rig.collector.post(webhook(b"1", "t3", device=41, received=5)).status == 200  # type: ignore[arg-type]
    user = [rig.client.wait_last(f"fleet/41/t{n}").properties["user"] for n in range(4)]
    assert [each["received_at"] for each in user] == ["yesterday", "2026-09-27T18:53:09Z", "", ""]
    assert [each.get("at") for each in user] == [None, str(RECEIVED_AT), None, None]


def test_a_request_without_the_secret_gets_nothing(rig: Rig) -> None:
    """401 before the body is read; other paths and methods have answers of their own."""
    body = b"x" * 5_000_000
    for headers in ({}, {"X-Secret": "wrong"}, {"X-Secret": "the-secret-of-test"}, {"X-Secret": ""}):
        assert rig.collector.ask("POST", "/", b"{}", headers).status == 401
    assert raw(rig, b"POST / HTTP/1.1\r\nHost: x\r\nX-Secret: \xff\xfe\r\nContent-Length: 0\r\n\r\n") == 401
    assert rig.collector.post(body).status == 413
    assert raw(rig, chunked(b"x" * 70_000) + b"0\r\n\r\n") == 413
    assert rig.collector.post(b"", "/nothing").status == 404
    assert rig.collector.ask("PUT", "/", b"{}").status == 405
    assert rig.collector.get("/").status == 404
    assert rig.collector.ask("HEAD", "/health").status == 200


HEAD = f"POST / HTTP/1.1\r\nHost: x\r\nX-Secret: {SECRET}\r\n".encode()


def chunked(data: bytes) -> bytes:
    """Return a request whose body has no end yet."""
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(data), data)


def raw(rig: Rig, request: bytes) -> int:
    """Return the status of the answer to ``request``, byte for byte."""
    with socket.create_connection(("127.0.0.1", rig.collector.port), timeout=60) as sock:
        sock.sendall(request)
        return int(sock.makefile("rb").readline().split()[1])


def test_what_comes_too_slowly_is_let_go(rig: Rig) -> None:
    """A body that never ends, a head by single bytes, and 1,000 silent connections, which keep nobody out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        address = ("127.0.0.1", rig.collector.port)
        silent = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(1000)]
        endless, dripping = (stack.enter_context(socket.create_connection(address, timeout=60)) for _ in "12")
        endless.sendall(chunked(b"x"))
        assert rig.collector.post(webhook(b"1", "busy", device=51)).status == 200
        dripping_ended = drip(dripping)
        assert int(endless.makefile("rb").readline().split()[1]) == 408
        assert [each.recv(1) for each in silent] == [b""] * 1000
        assert dripping_ended.result(60)
    assert rig.collector.post(webhook(b"2", "busy", device=51)).status == 200


@pytest.mark.slow
def test_the_bodies_that_are_read_are_bounded(rig: Rig) -> None:
    """1,100 bodies of 60 kB that never end are more than is read at a time: 503, and then 200 again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        address = ("127.0.0.1", rig.collector.port)
        part = chunked(b"x" * 60_000)
        senders = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(1100)]
        for each in senders:
            each.sendall(part)
        assert rig.collector.memory() < 400_000_000
        answers = {int(each.makefile("rb").readline().split()[1]) for each in senders}
    assert answers == {408, 503}
    assert rig.collector.post(webhook(b"1", "after", device=61)).status == 200


def drip(sock: socket.socket) -> Future[bool]:
    """Send a head, a byte each tenth of a second, until the connection ends."""

    def send() -> bool:
        for byte in HEAD * 100:
            try:
                sock.sendall(bytes([byte]))
            except OSError:
                return True
            threading.Event().wait(0.1)
        return False

    pool = ThreadPoolExecutor(1)
    ended = pool.submit(send)
    pool.shutdown(wait=False)
    return ended
