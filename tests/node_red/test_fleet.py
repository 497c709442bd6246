"""The flow that takes a fleet's readings, in a Node-RED of its own, from a collector."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Keeper, Mosquitto, free_port
from tests.harness.collector import RECEIVED, RECEIVED_AT, CollectorProcess, batch, webhook
from tests.harness.process import ROOT
from tests.node_red.node_red import NodeRed, until
from tests.node_red.test_import import _HARMLESS as HARMLESS

FLOWS: list[dict[str, Any]] = json.loads((ROOT / "node-red-flows" / "fleet.json").read_text())


class Taking(NodeRed):
    """The flow, with what writes its messages to two files in the place of its debug nodes."""

    def __init__(self, keeper: Keeper, folder: Path, broker_port: int) -> None:
        super().__init__(keeper, folder, free_port())
        flows = [node for each in FLOWS for node in self._edited(each, broker_port)]
        (self.folder / "flows.json").write_text(json.dumps(flows))

    def _edited(self, node: dict[str, Any], broker_port: int) -> list[dict[str, Any]]:
        if node["type"] == "mqtt-broker":
            return [node | {"port": str(broker_port)}]
        if node["type"] != "debug":
            return [node]
        line = "return { payload: JSON.stringify(msg) };"
        write = {"id": f"f{node['id'][1:]}", "type": "file", "z": node["z"], "x": 1, "y": 1, "wires": [[]]}
        write |= {"filename": str(self.folder / node["name"]), "filenameType": "str", "appendNewline": True}
        write |= {"overwriteFile": "false", "encoding": "none"}
        keep = {"type": "function", "func": line, "outputs": 1, "libs": [], "wires": [[write["id"]]]}
        return [node | keep, write]

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return what came out of an output."""
        file = self.folder / name
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.slow
def test_a_reading_comes_out_with_its_own_time_and_a_repeat_apart(keeper: Keeper, tmp_path: Path) -> None:
    """Two collectors, so that a repeat is published twice; a message alone has the time of the cloud."""
    broker = Mosquitto(keeper, tmp_path / "broker", lines=("log_type all",))
    broker.start()
    first, second = (
        CollectorProcess(keeper, tmp_path / name, mqtt={"port": broker.port}) for name in ("1", "2")
    )
    for each in (first, second):
        each.start()
    node_red = Taking(keeper, tmp_path / "node-red", broker.port)
    node_red.start()
    node_red.subscribed(broker)
    for each in (first, second):
        assert each.post(webhook(batch("b1", 2), "batch")).status == 200
    assert first.post(webhook(batch("b2", 1, at=None), "batch")).status == 200
    assert first.post(webhook(b'{"open":true}', "door", "x")).status == 200
    readings = until(lambda: node_red.lines("readings")[3:] and node_red.lines("readings"))
    repeats = until(lambda: node_red.lines("repeats")[1:] and node_red.lines("repeats"))
    told = {key: value for key, value in readings[1].items() if key != "_msgid"}
    assert told == {
        "topic": "sensors/kitchen", "payload": 1, "device": "5678", "at": 1790000001,
        "time": "2026-09-21T14:13:21.000Z", "received_at": RECEIVED,
        "topics": ["sensors/kitchen"], "id": "b1-1",
    }  # fmt: skip
    assert [(each["id"], each["at"]) for each in repeats] == [("b1-0", 1790000000), ("b1-1", 1790000001)]
    assert (readings[2]["id"], readings[2]["at"], readings[2]["time"]) == ("b2-0", None, None)
    assert (readings[3]["payload"], readings[3]["at"]) == ({"open": True}, RECEIVED_AT)
    assert readings[3]["topics"] == ["door", "x"]
    assert [line for line in node_red.complaints() if not any(text in line for text in HARMLESS)] == []


def test_the_flow_is_tidy() -> None:
    """A comment says what to change; the broker's node speaks MQTT 5; what is named exists."""
    (comment,) = (each["info"] for each in FLOWS if each["type"] == "comment")
    assert "**What it does.**" in comment
    assert "**What to change.**" in comment
    (broker,) = (each for each in FLOWS if each["type"] == "mqtt-broker")
    (source,) = (each for each in FLOWS if each["type"] == "mqtt in")
    assert (broker["protocolVersion"], source["broker"], source["qos"]) == ("5", broker["id"], "1")
    names = {each["id"] for each in FLOWS}
    assert all(wire in names for each in FLOWS for wires in each.get("wires", []) for wire in wires)
