"""A collector on NATS JetStream: acknowledged means on the stream, and a repeat is there once."""

from pathlib import Path

import pytest

from tests.harness import Keeper, eventually
from tests.harness.collector import RECEIVED, RECEIVED_AT, CollectorProcess, batch, webhook
from tests.harness.nats import NEEDS_NATS, NatsServer, cluster, stream

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
