"""A real Node-RED with the flows that users import."""

import json
import re
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bridge.demo.node_red import prepare
from tests.harness import Keeper, Mosquitto, Process, eventually, free_port

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds: Node-RED and Chromium are large, and share the machine with everything else that is tested."""


def until(condition: Callable[[], T], *, what: str = "") -> T:
    """Wait until ``condition()`` is true; return its value. ``what`` names it in the failure."""
    return eventually(condition, PATIENCE, what=what)


class NodeRed(Process):
    """Node-RED on a free port; of the flows only the broker's address is edited.

    ``environment`` replaces values that the flows have in their tabs and nodes, such as ``TIMEOUT``; an
    instance with a ``HOLOGRAM_PREFIX`` of its own can share the broker with another.
    """

    def __init__(
        self, keeper: Keeper, folder: Path, broker_port: int, environment: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("node-red", folder / "node-red.log")
        self.folder = folder
        self.port = free_port()
        self._command = prepare(folder, self.port, broker_port)
        self._edit(environment or {})
        keeper.keep(self)

    def _edit(self, environment: Mapping[str, str]) -> None:
        file = self.folder / "flows.json"
        flows = json.loads(file.read_text())
        for each in flows:
            for variable in each.get("env", []):
                variable["value"] = environment.get(variable["name"], variable["value"])
            if each["type"] == "mqtt-broker" and "HOLOGRAM_PREFIX" in environment:
                each["clientid"] += "-" + environment["HOLOGRAM_PREFIX"]
        file.write_text(json.dumps(flows))

    def start(self, timeout: float = 60.0, *, wait_for_broker: bool = True) -> None:
        """Start it and wait until its flows run, and are connected to the broker."""
        self.launch(self._command)
        ready = "Connected to broker" if wait_for_broker else "Started flows"
        eventually(lambda: self._said_that(ready), timeout, what=f"Node-RED says: {ready}")

    def subscribed(self, broker: Mosquitto) -> None:
        """Wait until ``broker`` has all its subscriptions: what is published before reaches no flow.

        Node-RED says nothing of them. ``broker`` logs ``<client id> <QoS> <filter>`` for each, once it is in
        effect [mosquitto.conf(5), log_type subscribe].
        """
        flows = json.loads((self.folder / "flows.json").read_text())
        client = next(each["clientid"] for each in flows if each["type"] == "mqtt-broker")
        wanted = len({each["topic"] for each in flows if each["type"] == "mqtt in"})
        line = re.compile(rf" {re.escape(client)} [012] (\S+)$", re.MULTILINE)
        eventually(
            lambda: len(set(line.findall(broker.said()))) >= wanted, 30, what=f"{wanted} subscriptions"
        )

    def _said_that(self, text: str) -> bool:
        assert self.running, f"Node-RED ended: {self.said(since_start=True)}"
        return text in self.said(since_start=True)

    def complaints(self) -> list[str]:
        """Return the lines of its log that are errors or warnings."""
        return [line for line in self.said().splitlines() if "[error]" in line or "[warn]" in line]

    def get(self, path: str) -> Any:
        """Ask its admin interface [Node-RED admin API]."""
        return self._ask(path)

    def press(self, node_id: str) -> None:
        """Press the button of an inject node, as in the editor."""
        self._ask(f"/inject/{node_id}", data=b"")

    def _ask(self, path: str, data: bytes | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=data, headers={"Accept": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith((b"{", b"[")) else text

    def node(self, name: str, type_: str, tab: str | None = None) -> str:
        """Return the id of the node of that name and type on the tab whose label begins so."""
        flows = json.loads((self.folder / "flows.json").read_text())
        tabs = {each["id"] for each in flows if each["type"] == "tab" and each["label"].startswith(tab or "")}
        found = [
            each["id"]
            for each in flows
            if each.get("name") == name and each["type"] == type_ and (not tab or each["z"] in tabs)
        ]
        assert len(found) == 1, f"{name} ({type_}): {len(found)} nodes"
        return str(found[0])
