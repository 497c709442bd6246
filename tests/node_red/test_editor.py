"""The flows in the editor: imported by a person into an empty Node-RED, edited once, deployed."""

import json
from pathlib import Path

import pytest

from bridge.demo.node_red import FLOWS
from tests.harness import Client, Keeper, Mosquitto, free_port
from tests.node_red.browser import Browser
from tests.node_red.conftest import OUTPUT, Lab
from tests.node_red.node_red import NodeRed, until

NODES = json.loads(FLOWS.read_text())
UI_BASE = next(node["id"] for node in NODES if node["type"] == "ui-base")
PAGE = next(node["id"] for node in NODES if node["type"] == "ui-page" and node["path"] == "/bridge")
GROUPS = [node["name"] for node in NODES if node["type"] == "ui-group" and node["page"] == PAGE]

_INVALID = """(() => {
    const found = [];
    const look = node => {
        if (node.valid === false) found.push([node.type, node.name, node.validationErrors]);
    };
    RED.nodes.eachNode(look); RED.nodes.eachConfig(look); RED.nodes.eachSubflow(look);
    return JSON.stringify(found);
})()"""


MINE: list[dict[str, object]] = [
    {"id": "mine-tab", "type": "tab", "label": "Mine", "disabled": False, "info": "", "env": []},
    {"id": "mine-base", "type": "ui-base", "name": "Mine", "path": "/dashboard"},
    {"id": "mine-theme", "type": "ui-theme", "name": "Mine", "colors": {}, "sizes": {}},
    {"id": "mine-page", "type": "ui-page", "name": "Mine", "ui": "mine-base", "theme": "mine-theme",
     "path": "/mine", "layout": "grid", "order": 1, "visible": "true", "disabled": "false"},
]  # fmt: skip
"""A Node-RED that has a dashboard already."""


@pytest.mark.parametrize(
    "before",
    [pytest.param([], id="empty"), pytest.param(MINE, id="with a dashboard", marks=pytest.mark.root)],
)
def test_import_edit_the_broker_deploy(
    lab: Lab,
    browser: Browser,
    mosquitto: Mosquitto,
    client: Client,
    keeper: Keeper,
    tmp_path: Path,
    before: list[dict[str, object]],
) -> None:
    """Every property is valid to the editor, only the broker is edited, and what is deployed works."""
    node_red = NodeRed(keeper, tmp_path / "editor", free_port())
    (node_red.folder / "flows.json").write_text(json.dumps(before))
    node_red.start(wait_for_broker=False)
    browser.resize(1700, 1000)
    browser.console.clear()
    browser.open(f"http://127.0.0.1:{node_red.port}/")
    browser.wait("typeof RED === 'object' && !!RED.view && !!RED.nodes.getType('ui-table')")
    browser.wait("!!RED.workspaces.active()", what="the editor is ready")
    browser.run(f"RED.view.importNodes({json.dumps(FLOWS.read_text())}, {{touchImport: true}}), null")
    browser.run(
        "RED.nodes.eachConfig(node => { if (node.type === 'mqtt-broker')"
        f" {{ node.port = '{mosquitto.port}'; node.changed = true }} }}); RED.nodes.dirty(true)"
    )
    # With two dashboards its editor joins them, a moment later.
    browser.wait("RED.nodes.filterNodes({}) && (() => { let n = 0;"
                 "RED.nodes.eachConfig(c => { n += c.type === 'ui-base' }); return n === 1 })()")  # fmt: skip
    assert browser.run(_INVALID) == "[]"
    browser.shoot(OUTPUT / "node-red-editor.png")
    browser.run("RED.actions.invoke('core:deploy-flows'), null")
    until(lambda: "Connected to broker" in node_red.said(), what="what was deployed reaches the broker")
    assert [line for line in node_red.complaints() if "[error]" in line or "issing" in line] == []
    deployed = node_red.get("/flows")
    assert [node["id"] for node in deployed if node["type"] == "ui-base"] == (
        ["mine-base"] if before else [UI_BASE]
    )
    reading = next(node["id"] for node in deployed if node.get("name") == "a kitchen reading")
    node_red.press(reading)
    until(lambda: client.messages("hologram/out/sensors/kitchen"), what="a reading is on its way")
    assert browser.console == []
    browser.open(f"http://127.0.0.1:{node_red.port}/dashboard/bridge")
    shown = "document.querySelectorAll('.nrdb-ui-group').length"
    browser.wait(f"{shown} === {len(GROUPS)}", what="the dashboard is there")
