"""The page on batches: its batch, its decoders, and what is on the wire."""

import base64
import json
import subprocess
import sys
import zlib
from pathlib import Path

from bridge.batch import Reading, decode, encode, encode_plain
from tests.batch.test_wire import packed
from tests.docs.pages import page
from tests.harness.process import ROOT

PAGE = page("batches")
(BATCH,) = PAGE.texts("text", PAGE.headings[0])
DECODER, HANDLER = PAGE.texts("js", "In JavaScript")

TELL = """
process.stdin.on("data", part => (given += part)).on("end", () => {
    for (const line of given.trimEnd().split("\\n")) {
        let told;
        const shown = each => ({ ...each, payload: each.payload.toString("base64") });
        try { told = unpack(JSON.parse(line)).map(shown); }
        catch (error) { told = error.message; }
        console.log(JSON.stringify(told));
    }
});
let given = "";
"""
"""What the test adds to the page's decoder: it reads batches and writes what came of them, a line each."""


def ran(*command: str | Path, given: str = "") -> str:
    """Return what a program wrote; it has to end well."""
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_javascript(folder: Path, *texts: bytes) -> list[object]:
    """Return what the page's decoder makes of each text: its messages, or the error's text."""
    script = folder / "unpack.js"
    script.write_text(f"{DECODER}\n{TELL}")
    given = "".join(json.dumps(text.decode()) + "\n" for text in texts)
    return [json.loads(line) for line in ran("node", script, given=given).splitlines()]


def as_told(text: bytes) -> list[dict[str, object]]:
    """Return the messages of a batch by `bridge.batch`, in the form of the page's decoder."""
    batch = decode(text)
    told = []
    for number, each in enumerate(batch.readings):
        payload = base64.b64encode(each.payload).decode()
        one: dict[str, object] = {"topics": list(each.topics), "at": each.at, "payload": payload}
        more = {"id": f"{batch.id}-{number}", "seconds": each.seconds}
        told.append(one | (more if batch.id else {}))
    return told


def test_the_python_of_the_page_reads_the_batch_of_the_page(tmp_path: Path) -> None:
    """And says what is none."""
    (block,) = PAGE.texts("python", "In Python")
    script = tmp_path / "read.py"
    script.write_text(block)
    python = (sys.executable, "-c", "import runpy, sys; runpy.run_path(sys.argv[1])")
    said = ran(*python, script)
    assert said.splitlines() == [
        f"b7-1-{number} {each.topics} {each.at} {each.payload!r}"
        for number, each in enumerate(decode(BATCH).readings)
    ]
    assert len(said.splitlines()) == 3
    script.write_text(block.replace(BATCH, "QQ"))
    assert ran(*python, script) == "no batch: a batch is not base64: Incorrect padding\n"


def test_the_shell_of_the_page_writes_what_is_shown() -> None:
    """Line by line; that the command runs as it stands is tested with all others."""
    (block,), (shown,) = PAGE.texts("sh", "In a shell"), PAGE.texts("text", "In a shell")
    assert block == f"echo '{BATCH}' | hologram-bridge unpack"
    assert ran(sys.executable, "-m", "bridge", "unpack", given=BATCH).splitlines() == shown.splitlines()


def test_what_is_on_the_wire_is_shown() -> None:
    """The JSON of the batch, but for line ends and the spaces after them; and the form plain."""
    compact, plain = PAGE.texts("text", "On the wire")
    raw = zlib.decompress(base64.b64decode(BATCH), -15).decode()
    assert "".join(line.strip() for line in compact.splitlines()) == raw
    assert encode("b7-1", decode(BATCH).readings).decode() == BATCH
    readings = [
        Reading(("sensors/kitchen",), 1700000000, b'{"temperature":21.5}'),
        Reading(("a", "b"), None, b"open"),
    ]
    assert "".join(line.strip() for line in plain.splitlines()) == encode_plain(readings).decode()


def test_the_javascript_of_the_page_reads_what_python_writes(tmp_path: Path) -> None:
    """Both forms; any payload, times that go back, a clock that is not known, a thousand topics."""
    odd = [b"\0\n\xe2\x80\xa8", b"\xff\xfe", b"", "é".encode(), b"\xed\xa0\x80", b'{"a":[1,{}]}']
    known = [Reading(("a",) * (n % 3), 1000 - 7.5 * n, payload) for n, payload in enumerate(odd)]
    unknown = [Reading((), None, payload, 7.5 * n) for n, payload in enumerate(odd)]
    many = [Reading((f"t/{n}",), 1.7e9 + n, b"%d" % n) for n in range(1000)]
    texts = [BATCH.encode(), *(encode("x-1", each) for each in (known, unknown, many)), encode_plain(known)]
    assert by_javascript(tmp_path, *texts) == [as_told(text) for text in texts]
    rows = {"m": [[0, 0, "QQ==", 1, 5], [0, 1, "QQ==", 0]], "t": [None], "x": 1}
    more = packed({"v": 1, "id": "a", "at": None, **rows})
    assert by_javascript(tmp_path, b" " + more + b" ") == [as_told(more)]


def test_the_javascript_of_the_page_refuses_what_is_none(tmp_path: Path) -> None:
    """With an error, and a bomb before it is unpacked."""
    stream = base64.b64decode(BATCH)
    raw = [
        stream[:-1], stream + b"x", stream + stream, b"\xff",
        zlib.compress(b" " * 1_000_001, wbits=-15), zlib.compress(b" " * 500_000_000, wbits=-15),
    ]  # fmt: skip
    texts = [base64.b64encode(each) for each in raw]
    texts += [b"", b"21.5", BATCH.encode() + b"=", b"[1]", b"[{}]", b"[", packed("[]"), packed({"v": 2})]
    rows: list[object] = [[1, 0, ""], [-1, 0, ""], [0, 0.5, ""], [0, 0, 5], [], 5]
    wrong: list[dict[str, object]] = [{"v": "1"}, {"id": "a b"}, {"at": "1"}, {"t": [5]}]
    wrong += [{"m": [row]} for row in rows]
    good = {"v": 1, "id": "a", "at": 1, "t": [None], "m": [[0, 0, ""]]}
    texts += [packed({**good, **keys}) for keys in wrong]
    told = by_javascript(tmp_path, *texts)
    assert [text for text, each in zip(texts, told, strict=True) if not isinstance(each, str)] == []


def test_the_function_of_the_page_takes_the_webhook(tmp_path: Path) -> None:
    """The documented JSON of Hologram's webhook: `data` is base64 of the batch's text."""
    data = base64.b64encode(BATCH.encode()).decode()
    body = json.dumps({"device": {"id": 123456, "name": "pump house"}, "data": data})
    script = tmp_path / "handler.js"
    call = f"exports.handler({{ body: {json.dumps(body)} }}).then(answer => console.log(answer.statusCode));"
    script.write_text(f"{DECODER}\n{HANDLER}\n{call}\n")
    *lines, status = ran("node", script).splitlines()
    assert status == "200"
    assert lines[0] == """123456 b7-1-0 [ 'sensors/kitchen' ] 1700000000 {"temperature":21.5}"""
    assert len(lines) == 3
