"""Commands about the bridge itself: each is done once and in time, whatever breaks, and has one result."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.cable import Cable
from tests.harness.hung_disk import HungDisk

SET = "hologram/queue/set"


@pytest.fixture
def cable(keeper: Keeper, mosquitto: Mosquitto, bridge: BridgeProcess) -> Cable:
    """The line between the bridge and its broker."""
    cable = Cable(keeper, mosquitto.port)
    bridge.configure(mqtt={"port": cable.port})
    return cable


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[HungDisk]:
    found = HungDisk(tmp_path)
    yield found
    found.close()


def cut(cable: Cable, bridge: BridgeProcess, client: Client, name: str) -> None:
    """Cut the line, and wait until the bridge has everything that the broker sends again."""
    before = bridge.said().count("connected to the broker")
    cable.cut()
    eventually(lambda: bridge.said().count("connected to the broker") > before, 30, what="it is back")
    client.publish(SET, f'{{"command": "resume", "id": "{name}"}}')  # comes behind what is sent again
    client.wait_result(name, 30)


def ended(client: Client) -> list[dict[str, Any]]:
    """Return a result for each id: one that was on its way when the line was cut comes twice."""
    return list({each["id"]: each for each in client.results()}.values())


def sent_again(broker: Mosquitto, topic: str) -> int:
    """Return how many deliveries on ``topic`` carried the DUP flag, by the broker's own log."""
    said = broker.said()
    return len(re.findall(rf"Sending PUBLISH to hologram-bridge\S+ \(d1, q1, r0, m\d+, '{topic}'", said))


def test_a_command_that_the_broker_sends_again_is_not_done_again(
    bridge: BridgeProcess, mosquitto: Mosquitto, cloud: Cloud, client: Client, cable: Cable
) -> None:
    """The acknowledgement of a purge is lost: what was taken in after it stays, and it has one result."""
    mosquitto.stop()
    mosquitto.lines += ("log_type all",)
    mosquitto.start()
    client.wait_connected()
    bridge.start()
    client.publish(SET, "pause")  # what is in flight is not purged
    client.wait_results(1)
    client.publish("hologram/out/a", b"before", user={"id": "before"})
    client.wait_for(lambda: client.events("message.queued"), what="it is queued")
    cable.swallow("near")
    client.publish(SET, "purge")
    client.publish(SET, "explode")
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 0, what="it is purged")
    eventually(lambda: bridge.queue("stats")["results"]["rejected"] == 1, what="the other one is rejected")
    client.publish("hologram/out/a", b"after", user={"id": "after"})
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 1, what="another one is queued")
    cut(cable, bridge, client, "first")
    assert sent_again(mosquitto, SET) == 2
    cut(cable, bridge, client, "second")
    assert sent_again(mosquitto, SET) == 2, "it is acknowledged now"
    assert [each["id"] for each in bridge.queue("list")["messages"]] == ["after"]
    assert sorted((each["channel"], each["state"]) for each in ended(client)) == [
        ("cloud", "dropped"),
        ("queue", "done"), ("queue", "done"), ("queue", "done"), ("queue", "done"), ("queue", "rejected"),
    ]  # fmt: skip


def test_a_command_of_a_new_session_is_no_repetition(
    bridge: BridgeProcess, mosquitto: Mosquitto, cloud: Cloud, client: Client, cable: Cable
) -> None:
    """A broker that lost the session counts anew: the same packet id and content are another command."""
    bridge.start()
    client.publish(SET, "resume")
    client.publish(SET, "pause")
    client.wait_results(2)
    mosquitto.kill()
    mosquitto.database.unlink(missing_ok=True)
    mosquitto.start()
    bridge.wait_online(30)
    client.wait_connected()
    client.wait_for(lambda: client.health().get("sessions_lost") == 1, what="the session is a new one")
    client.publish(SET, "resume")
    client.wait_results(3)
    cable.swallow("far")
    client.publish(SET, "pause")
    cut(cable, bridge, client, "after")
    assert [each["description"] for each in ended(client)] == [
        "sending goes on", "sending is paused", "sending goes on", "sending is paused", "sending goes on",
    ]  # fmt: skip


def test_a_command_whose_deadline_has_passed_is_not_begun(
    bridge: BridgeProcess, client: Client, disk: HungDisk
) -> None:
    """While a commit hangs nothing is begun; then what is too late ends as ``expired``, the rest is done."""
    bridge.wrap = disk.wrap
    bridge.start()
    disk.hang()
    client.publish(SET, "pause", properties={"MessageExpiryInterval": 1}, user={"id": "late"})
    client.publish(SET, "resume", properties={"MessageExpiryInterval": 600}, user={"id": "early"})
    eventually(lambda: disk.waiting, what="a commit hangs")
    since = time.monotonic()
    eventually(lambda: time.monotonic() - since > 3, 6)
    disk.go_on()
    result = client.wait_result("late")
    assert (result["channel"], result["state"]) == ("queue", "expired")
    assert "deadline" in result["description"]
    assert client.wait_result("early")["state"] == "done"
    assert bridge.queue("stats")["queue"]["paused"] is False
    assert not client.events("message.expired"), "it is no message"


def test_nothing_is_flushed_while_sending_is_paused(bridge: BridgeProcess, client: Client) -> None:
    """It could not be tried: ``failed`` with what to do first, by MQTT and by the command line."""
    bridge.start()
    client.publish(SET, "pause", user={"id": "pause"})
    client.publish(SET, "flush", user={"id": "flush"})
    result = client.wait_result("flush")
    assert (result["state"], "resume first" in result["description"]) == ("failed", True)
    for _ in range(2):
        refused = bridge.run("queue", "retry")
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
        assert "resume first" in refused.stderr
        bridge.stop()
    bridge.start()
    client.publish(SET, "resume", user={"id": "resume"})
    client.publish(SET, "flush", user={"id": "again"})
    assert client.wait_result("again")["state"] == "done"
    assert bridge.run("queue", "retry").returncode == 0
