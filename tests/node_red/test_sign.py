"""The flow that commands a box, in a Node-RED of its own; the box is a socket that a test answers by."""

import json
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.protocol.remote import Signed, read
from tests.harness import Keeper, free_port
from tests.harness.process import ROOT
from tests.node_red.node_red import NodeRed, until
from tests.node_red.test_import import _HARMLESS as HARMLESS

FLOWS: list[dict[str, Any]] = json.loads((ROOT / "node-red-flows" / "sign.json").read_text())
KEY = "correct horse battery staplé"
ANSWER = "ok status: state=ok"


class Box(socketserver.ThreadingTCPServer):
    """Takes lines as port 4010 does, and answers each."""

    daemon_threads = True

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Connection)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Connection(socketserver.StreamRequestHandler):
    server: Box

    def handle(self) -> None:
        self.server.lines.append(self.rfile.readline())
        self.wfile.write(ANSWER.encode() + b"\n")


class Signing(NodeRed):
    """The flow with a key and the box's address; what would be shown becomes lines of a file."""

    def __init__(self, keeper: Keeper, folder: Path, box: Box, key: str) -> None:
        super().__init__(keeper, folder, free_port())
        self._file = folder / "shown"
        flows = [self._edited(each, box, key) for each in FLOWS]
        write = {
            "id": "lines",
            "type": "file",
            "z": flows[0]["id"],
            "filename": str(self._file),
            "wires": [[]],
        }
        write |= {"filenameType": "str", "appendNewline": True, "overwriteFile": "false", "encoding": "none"}
        (self.folder / "flows.json").write_text(json.dumps([*flows, {**write, "x": 1, "y": 1}]))

    def _edited(self, node: dict[str, Any], box: Box, key: str) -> dict[str, Any]:
        node = dict(node)
        if node["type"].startswith("subflow:"):
            node["env"] = [{"name": "KEY", "type": "str", "value": key}]
        elif node["type"] == "tcp request":
            node["port"] = str(box.port)
        elif node["type"] == "debug":
            what = "payload" if node["name"] == "answer" else "error"
            node = {"id": node["id"], "type": "function", "z": node["z"], "outputs": 1, "libs": []} | {
                "func": f"return {{ payload: msg.{what} }};", "x": 1, "y": 2, "wires": [["lines"]]
            }  # fmt: skip
        return node

    def shown(self, count: int) -> list[str]:
        """Wait for so many lines."""

        def lines() -> list[str]:
            return (
                [line for line in self._file.read_text().splitlines() if line] if self._file.exists() else []
            )

        return until(lambda: lines()[count - 1 :] and lines(), what=f"{count} lines")


@pytest.fixture
def box() -> Iterator[Box]:
    """The box."""
    with Box() as made:
        yield made
        made.shutdown()


def button() -> str:
    return str(next(each["id"] for each in FLOWS if each["type"] == "inject"))


def test_it_signs_as_the_desk_does(keeper: Keeper, tmp_path: Path, box: Box) -> None:
    """Each press is a line of its own with a larger counter, and the answer is shown."""
    node_red = Signing(keeper, tmp_path / "node-red", box, KEY)
    node_red.start(wait_for_broker=False)
    for count in (1, 2):
        node_red.press(button())
        assert node_red.shown(count) == [ANSWER] * count
    signed = [read(line.removesuffix(b"\n"), KEY) for line in box.lines]
    assert all(isinstance(each, Signed) and each.text == "status" for each in signed)
    first, second = (each.counter for each in signed if isinstance(each, Signed))
    assert 1_700_000_000_000 < first < second
    assert [line for line in node_red.complaints() if not any(text in line for text in HARMLESS)] == []


def test_without_a_key_it_says_so(keeper: Keeper, tmp_path: Path, box: Box) -> None:
    """As imported it sends nothing."""
    node_red = Signing(keeper, tmp_path / "node-red", box, "")
    node_red.start(wait_for_broker=False)
    node_red.press(button())
    (line,) = node_red.shown(1)
    assert "no key" in line
    assert box.lines == []


def test_the_flow_is_tidy() -> None:
    """Ids of its own, wires that lead somewhere, a comment, and no key in it."""
    names = [each["id"] for each in FLOWS]
    files = [ROOT / "node-red-flows" / name for name in ("flows.json", "unpack.json")]
    others = {each["id"] for file in files for each in json.loads(file.read_text())}
    assert max(Counter(names).values()) == 1
    assert not others & set(names)
    assert {end for each in FLOWS for port in each.get("wires", []) for end in port} <= set(names)
    (comment,) = (each for each in FLOWS if each["type"] == "comment")
    assert "**What it does.**" in comment["info"]
    assert "**What to change.**" in comment["info"]
    (subflow,) = (each for each in FLOWS if each["type"] == "subflow")
    assert "### Output" in subflow["info"]
    assert [each["type"] for each in subflow["env"]] == ["cred"]
