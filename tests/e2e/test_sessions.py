"""The bridge's two sessions with the broker, and others who get in their way."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.doorman import ACCEPTED, Doorman, Hello, disconnect


@pytest.fixture
def door(mosquitto: Mosquitto) -> Iterator[Doorman]:
    """A door before the broker that lets everybody in."""
    with closing(Doorman(mosquitto.port, lambda _hello: None)) as door:
        yield door


def finding(bridge: BridgeProcess, name: str) -> dict[str, Any]:
    """Return one finding of the doctor."""
    findings = json.loads(bridge.run("doctor", "--json").stdout)["findings"]
    found: dict[str, Any] = next(each for each in findings if each["name"] == name)
    return found


def names_the_key(found: dict[str, Any]) -> bool:
    """Whether a finding is a failure that names the key of the client id."""
    return found["state"] == "fail" and "mqtt.client_id" in f"{found['finding']} {found['fix']}"


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
def test_two_boxes_with_one_client_id_say_why_and_do_not_storm(
    keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, cloud: Cloud, protocol: object
) -> None:
    """As after an image was copied: log, health and doctor of each name the cause and the key."""
    boxes = [BridgeProcess(keeper, tmp_path / name, mosquitto, cloud.port) for name in ("one", "two")]
    for box in boxes:
        box.configure(mqtt={"client_id": "the-same", "protocol": protocol})
        box.start(wait=False)
    named = 'another client uses the client id "the-same"'
    for box in boxes:
        eventually(lambda box=box: named in box.said(), 60, what="the log names the cause")  # type: ignore[misc]
    stats = boxes[0].queue("stats")
    assert named in stats["last_error"]["description"]
    # Between two cuts a box is connected, and the doctor says so.
    eventually(lambda: names_the_key(finding(boxes[0], "broker")), 60, what="the doctor names the key")
    for box in boxes:
        lines = box.said().splitlines()
        assert len([line for line in lines if "WARNING" in line]) < 15, lines


def test_a_broker_that_cuts_each_connection_is_no_storm(bridge: BridgeProcess, door: Doorman) -> None:
    """It takes us and ends it at once, with a word: tried more seldom, said seldom, and the doctor knows.

    The first ten pauses take about 5 s together; were none of them longer than the first, it would be 1 s.
    """
    administrative = 0x98

    def cut(hello: Hello) -> bytes | None:
        ours = hello.client_id == "the-bridge"
        return hello.connack(ACCEPTED, session=True) + disconnect(administrative) if ours else None

    door.rule = cut
    bridge.configure(mqtt={"client_id": "the-bridge", "port": door.port})
    bridge.start(wait=False)
    eventually(lambda: door.came["the-bridge"], what="it is taken")
    began = time.monotonic()
    eventually(lambda: door.came["the-bridge"] > 10, 60, what="it is cut again and again")
    assert time.monotonic() - began > 1
    found = finding(bridge, "broker")
    assert found["state"] == "fail"
    assert "times lately" in found["finding"]
    assert "Administrative action" in found["finding"]
    lines = [line for line in bridge.said().splitlines() if "Administrative action" in line]
    times = [1, *(int(line.rpartition("(")[2].removesuffix(" times)")) for line in lines[1:])]
    assert times == [2**power for power in range(len(lines))]
    assert len(lines) >= 3


def test_a_refused_session_of_commands_is_said(
    bridge: BridgeProcess, door: Doorman, client: Client, cloud: Cloud
) -> None:
    """Messages go on; that no command arrives is a line, an error in the health, and a finding."""
    cloud.start()
    door.rule = lambda hello: hello.connack(0x87) if hello.client_id.endswith("-control") else None
    bridge.configure(mqtt={"port": door.port})
    bridge.start()
    eventually(lambda: "no command about the bridge arrives" in bridge.said(), what="it is said")
    (line,) = [line for line in bridge.said().splitlines() if "no command about" in line]
    assert "Not authorized" in line
    client.publish("hologram/out/a", "x", user={"id": "m"})
    assert client.wait_result("m")["state"] == "delivered"
    found = finding(bridge, "broker")
    assert (found["state"], "command session" in found["finding"]) == ("fail", True)
    door.rule = lambda _hello: None
    eventually(lambda: bridge.queue("stats")["broker"]["commands"]["connected"], 30, what="it is taken")
    assert finding(bridge, "broker")["state"] == "ok"


def test_a_broker_that_restarts_says_one_line_for_both_sessions(
    bridge: BridgeProcess, mosquitto: Mosquitto
) -> None:
    """The session of commands has no line of its own when both are gone."""
    bridge.start()
    mosquitto.stop()
    eventually(lambda: "no broker at" in bridge.said(), what="it is missed")
    mosquitto.start()
    bridge.wait_online(30)
    eventually(lambda: bridge.queue("stats")["broker"]["commands"]["connected"], 30, what="both are back")
    assert "no command about the bridge arrives" not in bridge.said()
