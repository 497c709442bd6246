"""A collector on NATS JetStream: acknowledged means on the stream, and a repeat is there once."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness import Keeper, eventually
from tests.harness.cable import Cable
from tests.harness.collector import RECEIVED, RECEIVED_AT, CollectorProcess, batch, webhook
from tests.harness.nats import NEEDS_NATS, Kept, NatsServer, cluster, is_whole, stream
from tests.harness.process import patient

pytestmark = NEEDS_NATS


def on(keeper: Keeper, folder: Path, *servers: NatsServer, **nats: object) -> CollectorProcess:
    """Return a collector on these servers."""
    given = {"servers": [each.url for each in servers], "replicas": 1, **nats}
    return CollectorProcess(keeper, folder, nats=given)


def test_a_stream_holds_each_reading_once(keeper: Keeper, tmp_path: Path) -> None:
    """Made by --setup; without it, without room, and without a server a request is answered 503."""
    server = NatsServer(keeper, tmp_path / "nats")
    first, second = on(keeper, tmp_path / "1", server), on(keeper, tmp_path / "2", server)
    first.start(wait=False)
    assert first.post(webhook(b"1", "a")).status == 503
    assert "no server of nats.servers takes us" in first.run("collect", "--setup").stderr
    server.start()
    first.wait_connected()
    reply = first.post(webhook(b"1", "a"))
    assert (reply.status, "run: hologram-bridge collect --setup" in reply.text) == (503, True)
    done = first.run("collect", "--setup")
    assert (done.returncode, "FLEET: made, with subjects ['fleet.>']" in done.stdout) == (0, True)
    assert "is as it should be" in first.run("collect", "--setup").stdout
    second.start()
    bodies = [webhook(batch("b1", 3, "sensors/kitchen"), "batch"), webhook(b"open", "door", "x")]
    assert [each.post(bodies[0]).status for each in (first, second, first)] == [200] * 3
    assert first.post(bodies[1]).status == 200
    for topic in (
        "a.b",
        "a b",
        "*",
        ">",
        "+",
        "#",
        "a//b",
        "é",
        "$JS.API",
    ):  # set aside, and not on the stream
        assert first.post(webhook(b"1", topic)).status == 200
    assert {first.post(webhook(b"1", "a", device=each)).status for each in ("a.b", "*", ">", "a b")} == {400}
    kept = stream([server.url])
    assert [(each.subject, each.payload) for each in kept] == [
        *(("fleet.5678.sensors.kitchen", b"%d" % n) for n in range(3)),
        ("fleet.5678.door", b"open"),
    ]
    named = {"device": "5678", "received_at": RECEIVED, "at": "1790000002", "id": "b1-2"}
    assert kept[2].headers | named | {"Nats-Msg-Id": "5678-b1-2"} == kept[2].headers
    assert kept[3].headers["at"] == str(RECEIVED_AT)
    assert (kept[3].headers["topics"], "Nats-Msg-Id" in kept[3].headers) == ("x", False)
    assert "hologram_collect_repeats_total 3" in second.get("/metrics").text
    second.settings["nats"]["max_bytes"] = 2000
    assert "changed: max_bytes 2000 (was -1)" in second.run("collect", "--setup").stdout
    eventually(lambda: "maximum bytes exceeded" in second.post(webhook(b"x" * 900, "a")).text)
    server.kill()
    eventually(lambda: second.get("/health").status == 503)
    assert second.post(bodies[1]).status == 503
    server.start()
    second.wait_connected()
    assert second.post(bodies[0]).status == 200
    assert (first.stop(), second.stop()) == (0, 0)
    assert "Traceback" not in first.said() + second.said()


@pytest.mark.slow
def test_a_node_that_dies_loses_nothing_that_was_answered_200(keeper: Keeper, tmp_path: Path) -> None:
    """Three nodes, one killed after the other while batches are sent, each until it is answered 200."""
    nodes = cluster(keeper, tmp_path)
    collector = on(keeper, tmp_path / "c", *nodes, replicas=3)
    eventually(lambda: collector.run("collect", "--setup").returncode == 0, 60, what="the cluster is ready")
    collector.start()
    for n in range(60):
        if n % 10 == 5:
            nodes[n // 10 % 3].kill()
        elif n % 10 == 9:
            nodes[n // 10 % 3].start()
        body = webhook(batch(f"b{n}", 5, f"t/{n}"), "batch")
        eventually(lambda body=body: collector.post(body).status == 200, 60)  # type: ignore[misc]
        collector.post(body)
    kept = stream([each.url for each in nodes])
    wanted = sorted((f"fleet.5678.t.{n}", b"%d" % m) for n in range(60) for m in range(5))
    assert sorted((each.subject, each.payload) for each in kept) == wanted


LARGE = webhook(b"x" * 150_000, "large")


@pytest.mark.slow
def test_a_server_that_hangs_gets_nothing_answered_200(keeper: Keeper, tmp_path: Path) -> None:
    """Stopped with SIGSTOP under load: 503 to each; then each is there once. It holds up no stop."""
    server = NatsServer(keeper, tmp_path / "nats")
    server.start()
    collector = on(keeper, tmp_path / "c", server)
    assert collector.run("collect", "--setup").returncode == 0
    collector.start()
    requests = [webhook(batch(f"h{n}", 20, f"s/{n}"), "batch") for n in range(4)]
    server.hang()
    with ThreadPoolExecutor(64) as pool:
        replies = list(pool.map(collector.timed, [*requests, *[LARGE] * 60]))
    assert {reply.status for reply, _ in replies} == {503}
    assert max(seconds for _, seconds in replies) < patient(10)
    server.go_on()
    for request in requests:
        eventually(lambda request=request: collector.post(request).status == 200, 30)  # type: ignore[misc]
    kept = batched(stream([server.url]))
    assert sorted(kept) == sorted(f"fleet.5678.s.{n}" for n in range(4) for _ in range(20))
    server.hang()
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(collector.timed, [LARGE] * 60))
    assert collector.stop(patient(15)) == 0
    server.go_on()
    assert "Traceback" not in collector.said()


@pytest.mark.slow
def test_an_acknowledgement_that_is_lost_doubles_nothing(keeper: Keeper, tmp_path: Path) -> None:
    """The stream has all, and the connection ends before the collector knows: 503, and a repeat elsewhere."""
    server = NatsServer(keeper, tmp_path / "nats")
    server.start()
    cable = Cable(keeper, server.port)
    first, second = on(keeper, tmp_path / "1"), on(keeper, tmp_path / "2", server)
    first.settings["nats"]["servers"] = [f"nats://127.0.0.1:{cable.port}"]
    assert second.run("collect", "--setup").returncode == 0
    first.start()
    second.start()
    request = webhook(batch("b1", 3), "batch")
    with ThreadPoolExecutor(1) as pool:
        cable.swallow("far")
        reply = pool.submit(first.post, request)
        eventually(lambda: len(stream([server.url])) == 3, what="the stream has the batch")
        cable.cut()
        assert reply.result(60).status == 503
    assert second.post(request).status == 200
    first.wait_connected()
    assert first.post(request).status == 200
    assert [each.payload for each in stream([server.url])] == [b"0", b"1", b"2"]
    assert "hologram_collect_repeats_total 3" in second.get("/metrics").text


@pytest.mark.slow
def test_the_next_request_is_taken_by_another_node(keeper: Keeper, tmp_path: Path) -> None:
    """The node of the connection hangs under load, is killed, or ends: the collector goes to another."""
    nodes = cluster(keeper, tmp_path)
    collector = on(keeper, tmp_path / "c", *nodes, replicas=3)
    eventually(lambda: collector.run("collect", "--setup").returncode == 0, 60, what="the cluster is ready")
    collector.start()
    faults = ("hangs", "dies", "ends")
    for fault in faults:
        node = connected_to(collector, nodes)
        fail(node, fault)
        begun = time.monotonic()
        if fault == "hangs":
            with ThreadPoolExecutor(64) as pool:  # so much that the kernel takes no more of it
                list(pool.map(collector.timed, [LARGE] * 60))
        request = webhook(batch(fault, 5, f"t/{fault}"), "batch")
        eventually(lambda request=request: collector.post(request).status == 200, 60)  # type: ignore[misc]
        print(f"{fault}: taken {time.monotonic() - begun:.1f} s after")
        recover(node, fault)
        eventually(lambda: is_whole(nodes), 60, what="the stream has its replicas again")
    kept = batched(stream([each.url for each in nodes]))
    assert sorted(kept) == sorted(f"fleet.5678.t.{fault}" for fault in faults for _ in range(5))
    assert "Traceback" not in collector.said()


def fail(node: NatsServer, fault: str) -> None:
    """Have a node hang, die or end."""
    if fault == "hangs":
        node.hang()
    elif fault == "dies":
        node.kill()
    else:
        node.stop()


def recover(node: NatsServer, fault: str) -> None:
    """Let it go on, or start it again."""
    if fault == "hangs":
        node.go_on()
    else:
        node.start()


def batched(kept: list[Kept]) -> list[str]:
    """Return the subjects of the readings that came in batches; a repeat of another may be there twice."""
    return [each.subject for each in kept if "id" in each.headers]


def connected_to(collector: CollectorProcess, nodes: list[NatsServer]) -> NatsServer:
    """Return the node that has the collector's connection."""
    port = int(collector.said().rpartition("connected to the server at ")[2].split()[0].rpartition(":")[2])
    return next(each for each in nodes if each.port == port)
