"""What others can make grow has a bound, and nothing that was acknowledged is lost by it."""

import signal
from pathlib import Path

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually

RESULT = 500
"""Bytes of a result with its topic, at most, in these tests."""


def test_results_that_wait_hold_messages_back(bridge: BridgeProcess, client: Client) -> None:
    """A flood of messages without sense: what has no room is taken when results have gone out, each told."""
    bridge.configure(store={"max_bytes": 500})
    bridge.start()
    names = [f"n{number}" for number in range(300)]
    bridge.hang()  # so that many come at once
    for name in names:
        client.publish("hologram/out/no good", b"x", user={"id": name})
    bridge.go_on()
    for name in names:
        assert client.wait_result(name, 30)["state"] == "rejected"
    eventually(
        lambda: bridge.queue("stats")["reports"]["bytes"] == 0, what="all results are taken off the disk"
    )
    assert bridge.queue("stats")["ids"]["bytes"] <= 500


def test_a_broker_that_takes_no_results(keeper: Keeper, tmp_path: Path, cloud: Cloud) -> None:
    """They are bounded; what came beyond stays with the broker, and has its result when that lets us."""
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite #\ntopic deny hologram/result\n")
    broker = Mosquitto(keeper, tmp_path / "m", lines=("max_queued_messages 0", f"acl_file {acl}"))
    broker.start()
    acl.chmod(0o644)
    bridge = BridgeProcess(keeper, tmp_path / "bridge", broker, cloud.port)
    bridge.configure(store={"max_bytes": 20_000})
    bridge.start()
    number = 1000
    with Client(broker.port, "hologram/#") as client:
        client.flood(("hologram/send", b"no sense %d" % each) for each in range(number))
        eventually(lambda: "no message is taken" in bridge.said(), 30, what="it stops")
        eventually(lambda: bridge.queue("stats")["reports"]["bytes"] >= 40_000)
        assert bridge.queue("stats")["state"] == "reports_full"
        client.publish("hologram/queue/set", b"pause")
        eventually(lambda: bridge.queue("stats")["queue"]["paused"], what="commands are taken")
        assert bridge.queue("stats")["reports"]["bytes"] < 40_000 + 256 * RESULT
        assert bridge.queue("stats")["results"]["rejected"] < number
        assert bridge.stop() == 0
        acl.write_text("topic readwrite #\n")
        broker.popen.send_signal(signal.SIGHUP)  # type: ignore[union-attr]  # it runs
        bridge.start()
        client.wait_for(
            lambda: len(client.messages("hologram/result")) > number, 60, what="each has its result"
        )
        assert bridge.queue("stats")["results"]["rejected"] == number
