"""The flow that unpacks batches, in a Node-RED of its own: no bridge, no broker, no dashboard."""

import base64
import json
import random
import urllib.request
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bridge.batch import Reading, decode, encode, encode_plain
from tests.batch.test_wire import packed
from tests.docs.pages import page
from tests.harness import Keeper, free_port
from tests.harness.process import ROOT
from tests.node_red.browser import Browser
from tests.node_red.node_red import NodeRed, until
from tests.node_red.test_editor import _INVALID as INVALID
from tests.node_red.test_import import _HARMLESS as HARMLESS

FLOWS: list[dict[str, Any]] = json.loads((ROOT / "node-red-flows" / "unpack.json").read_text())

KEEP = """
const { payload, error } = msg;
const text = typeof payload === "string";
const one = error ? { error }
    : { ...msg, payload: text ? payload : undefined, base64: text ? undefined : payload.toString("base64") };
return { payload: JSON.stringify(one) };
"""
"""What the test adds to the flow: each message becomes a line of a file."""

READINGS = [
    Reading(("sensors/kitchen",), 1700000000, "21.5 °C".encode()),
    Reading((), 1699999990, b"\xff\x00"),
    Reading(("a", "b"), 1700000060, b'{"x":1}'),
]


class Unpacking(NodeRed):
    """The flow, with what writes its messages to a file in the place of its debug nodes."""

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        super().__init__(keeper, folder, free_port())
        self.keeper = keeper
        self._file = folder / "messages"
        flows = [{**each, "wires": []} if each["type"] == "debug" else each for each in FLOWS]
        (instance,) = (each for each in flows if each["type"].startswith("subflow:"))
        instance = {**instance, "wires": [["keep"], ["keep"]]}
        keep = {"id": "keep", "type": "function", "z": instance["z"], "func": KEEP, "outputs": 1, "libs": []}
        write = {"id": "lines", "type": "file", "z": instance["z"], "filename": str(self._file)}
        write |= {"filenameType": "str", "appendNewline": True, "overwriteFile": "false", "encoding": "none"}
        flows = [instance if each["id"] == instance["id"] else each for each in flows]
        flows += [{**keep, "x": 1, "y": 1, "wires": [["lines"]]}, {**write, "x": 1, "y": 2, "wires": [[]]}]
        (self.folder / "flows.json").write_text(json.dumps(flows))
        self._seen = 0

    def post(self, body: bytes, kind: str) -> int:
        """Post to the flow's address; return the status."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/hologram", data=body, headers={"Content-Type": kind}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)

    def messages(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many messages more; return them."""
        lines = until(
            lambda: self._lines()[self._seen :][count - 1 :] and self._lines(), what=f"{count} messages"
        )
        new = [json.loads(line) for line in lines[self._seen :]]
        self._seen = len(lines)
        assert len(new) == count, new
        return new

    def _lines(self) -> list[str]:
        return self._file.read_text().split("\n")[:-1] if self._file.exists() else []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One for all tests here."""
    keeper = Keeper()
    try:
        node_red = Unpacking(keeper, tmp_path_factory.mktemp("unpack"))
        node_red.start(wait_for_broker=False)
        yield node_red
    finally:
        keeper.close()


@pytest.fixture(scope="module")
def shared_browser(shared: Unpacking, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """The editor's."""
    return Browser(shared.keeper, tmp_path_factory.mktemp("chromium"))


@pytest.fixture
def node_red(shared: Unpacking) -> Unpacking:
    """Node-RED with the flow."""
    return shared


def webhook(data: bytes) -> bytes:
    """Return what Hologram's webhook posts [Hologram documentation, Data Manager, webhooks]."""
    device = {"id": 123456, "name": "pump house"}
    fixed = {"received": "2026-11-30T12:00:00", "authtype": "psk", "tags": ["batch"], "device": device}
    rest = {"errorcode": 0, "source": "abcd", "timestamp": "0", "data": base64.b64encode(data).decode()}
    return json.dumps(fixed | rest).encode()


def expected(readings: list[Reading], batch_id: str | None) -> list[dict[str, Any]]:
    """Return the messages of a batch as the subflow's own help describes them."""
    messages: list[dict[str, Any]] = []
    for number, each in enumerate(readings):
        one: dict[str, Any] = {"topics": list(each.topics), "topic": each.topics[0] if each.topics else ""}
        one["at"] = each.at
        try:
            one["payload"] = each.payload.decode()
        except UnicodeDecodeError:
            one["base64"] = base64.b64encode(each.payload).decode()
        if batch_id is not None:
            one |= {"id": f"{batch_id}-{number}", "seconds": each.seconds}
        messages.append(one)
    return messages


def plain(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages without what Node-RED adds to each."""
    return [{key: value for key, value in each.items() if key != "_msgid"} for each in messages]


def test_a_batch_of_the_webhook_comes_out_as_its_messages(node_red: Unpacking) -> None:
    """In order, with time, topics, id and device; the webhook is answered."""
    batch = encode("b7-1", READINGS)
    assert node_red.post(webhook(batch), "application/json") == 200
    device = {"device": {"id": 123456, "name": "pump house"}}
    wanted = [each | device for each in expected(list(decode(batch).readings), "b7-1")]
    assert plain(node_red.messages(3)) == wanted


def test_a_batch_is_taken_as_text_too(node_red: Unpacking) -> None:
    """Both forms; plain also where Node-RED has read it as JSON already."""
    unknown = encode("c", [Reading((), None, b"1", 5), Reading((), None, b"2", 65)])
    node_red.post(unknown, "text/plain")
    assert plain(node_red.messages(2)) == expected(list(decode(unknown).readings), "c")
    text = encode_plain(READINGS)
    for kind in ("text/plain", "application/json"):
        node_red.post(text, kind)
        assert plain(node_red.messages(3)) == expected(READINGS, None)


def test_a_thousand_topics_and_a_million_bytes_come_out(node_red: Unpacking) -> None:
    """The largest that there is."""
    chance = random.Random(1)
    readings = [Reading((f"t/{each}",), 1.7e9 + each, chance.randbytes(600)) for each in range(1000)]
    batch = encode("large", readings)
    node_red.post(batch, "text/plain")
    assert plain(node_red.messages(1000)) == expected(list(decode(batch).readings), "large")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"21.5", "no batch: it is not base64"),
        (base64.b64encode(zlib.compress(b" " * 1_000_001, wbits=-15)), "larger than 1000000 bytes"),
        (base64.b64encode(base64.b64decode(packed("{}")) + b"x"), "no batch: it goes on"),
        (base64.b64encode(base64.b64decode(packed("{}"))[:-1]), "unexpected end of file"),
        (packed({"v": 2, "id": "a", "at": 1, "t": [], "m": []}), "no batch: this reads v 1 alone"),
        (packed({"v": 1, "id": "a b", "at": 1, "t": [], "m": []}), "no batch: its id"),
        (packed({"v": 1, "id": "a", "at": 1, "t": [], "m": [[0, 0, ""]]}), "no batch: row 0"),
        (packed({"v": 1, "id": "a", "at": 1.5, "t": [None], "m": [[0, 0, ""]]}), "no batch: its times"),
        (packed({"v": 1, "id": "a", "at": 1, "t": [5], "m": [[0, 0, ""]]}), "no batch: its topics"),
    ],
    ids=["text", "bomb", "trailing", "truncated", "version", "id", "index", "time", "topic"],
)
def test_what_is_none_comes_out_of_the_second_output(node_red: Unpacking, text: bytes, says: str) -> None:
    """With what is wrong; the next batch is read as ever."""
    node_red.post(webhook(text), "application/json")
    (one,) = node_red.messages(1)
    assert says in one["error"]


def test_the_button_has_a_batch(node_red: Unpacking) -> None:
    """Whoever has imported the flow can see it work."""
    node_red.press(next(each["id"] for each in FLOWS if each["type"] == "inject"))
    first, *_ = node_red.messages(3)
    assert (first["topic"], first["payload"]) == ("sensors/kitchen", '{"temperature":21.5}')


def test_every_property_is_valid_to_the_editor(node_red: Unpacking, shared_browser: Browser) -> None:
    """As a person sees it who has imported the flow."""
    shared_browser.resize(1700, 1000)
    shared_browser.console.clear()
    shared_browser.open(f"http://127.0.0.1:{node_red.port}/")
    shared_browser.wait("typeof RED === 'object' && !!RED.workspaces && !!RED.workspaces.active()")
    assert shared_browser.run(INVALID) == "[]"
    assert shared_browser.console == []


def test_node_red_has_nothing_to_complain_about(node_red: Unpacking) -> None:
    """No missing type, no error, no warning."""
    assert [line for line in node_red.complaints() if not any(text in line for text in HARMLESS)] == []


def test_the_flow_is_tidy() -> None:
    """Ids of its own, wires that lead somewhere, a comment, and the function that the page shows."""
    names = [each["id"] for each in FLOWS]
    others = {each["id"] for each in json.loads((ROOT / "node-red-flows" / "flows.json").read_text())}
    assert max(Counter(names).values()) == 1
    assert not others & set(names)
    ends = {end for each in FLOWS for port in each.get("wires", []) for end in port}
    assert ends <= set(names)
    (comment,) = (each for each in FLOWS if each["type"] == "comment")
    assert "**What it does.**" in comment["info"]
    assert "**What to change.**" in comment["info"]
    (subflow,) = (each for each in FLOWS if each["type"] == "subflow")
    assert "### Output" in subflow["info"]
    (function,) = (each["func"] for each in FLOWS if each["type"] == "function")
    shown = page("batches").texts("js", "In JavaScript")[0]
    assert function.startswith(shown[shown.index("// Returns the messages") :].rstrip())
