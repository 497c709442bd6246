"""The flows as they are imported: whole, tidy, and known to Node-RED."""

import json
from collections import Counter
from typing import Any

from bridge.demo.node_red import FLOWS
from tests.node_red.conftest import Lab

# Node-RED says these of any private instance: projects are off by default, and no credentials are there yet.
_HARMLESS = ("Projects disabled", "Encrypted credentials not found")
_BUILT_IN = {"tab", "group"}


def flows() -> list[dict[str, Any]]:
    """Return the nodes of the file."""
    nodes: list[dict[str, Any]] = json.loads(FLOWS.read_text())
    return nodes


def test_node_red_has_nothing_to_complain_about(lab: Lab) -> None:
    """Version 4 starts the flows without a missing type, an error or a warning in its log."""
    assert "Node-RED version: v4." in lab.node_red.said()
    assert "Started flows" in lab.node_red.said()
    assert [line for line in lab.node_red.complaints() if not any(text in line for text in _HARMLESS)] == []
    running = lab.node_red.get("/flows")
    known = {each for module in lab.node_red.get("/nodes") if module["enabled"] for each in module["types"]}
    subflows = {f"subflow:{node['id']}" for node in running if node["type"] == "subflow"} | {"subflow"}
    assert {node["type"] for node in running} - known - subflows - _BUILT_IN == set()
    assert len(running) == len(flows())


def test_the_flows_are_tidy() -> None:
    """Five flows with a comment that says what to change; one broker for all, MQTT 5, everything at QoS 1."""
    nodes = flows()
    kinds = Counter(node["type"] for node in nodes)
    tabs = [node for node in nodes if node["type"] == "tab"]
    assert [tab["label"][:2] for tab in tabs] == ["1 ", "2 ", "3 ", "4 ", "5 "]
    for tab in tabs:
        comments = [node for node in nodes if node["type"] == "comment" and node["z"] == tab["id"]]
        assert "**What it does.**" in comments[0]["info"]
        assert "**What to change.**" in comments[0]["info"]
    assert kinds["mqtt-broker"] == 1
    broker = next(node for node in nodes if node["type"] == "mqtt-broker")
    assert broker["protocolVersion"] == "5"
    for node in nodes:
        if node["type"] in ("mqtt in", "mqtt out"):
            assert (node["broker"], node["qos"]) == (broker["id"], "1"), node["name"]
    used = {node["type"] for node in nodes}
    subflows = {node["id"]: node for node in nodes if node["type"] == "subflow"}
    assert {f"subflow:{name}" for name in subflows} <= used, "no subflow lies about unused"
    assert all("### Output" in node["info"] for node in subflows.values())


def test_the_wires_lead_somewhere() -> None:
    """Every wire, group, page and subflow that is named exists, and nodes do not lie on each other."""
    nodes = flows()
    names = {node["id"] for node in nodes}
    assert len(names) == len(nodes)
    for node in nodes:
        ends = [end for port in node.get("wires", []) for end in port]
        config = [node[key] for key in ("z", "group", "page", "ui", "theme", "broker") if node.get(key)]
        assert set(ends + [each for each in config if node["type"] != "mqtt-broker"]) <= names, node
    places = Counter((node["z"], node["x"], node["y"]) for node in nodes if "x" in node)
    assert [place for place, number in places.items() if number > 1] == []
