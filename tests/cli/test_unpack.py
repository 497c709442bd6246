"""``hologram-bridge unpack``: batches in, messages out, line by line."""

import base64
import json
import random
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.batch import Reading, encode, encode_plain
from tests.harness.bridge import PROGRAM
from tests.harness.process import ROOT

UNPACK = [*PROGRAM, "unpack"]
BATCH = encode(
    "b7-1",
    [
        Reading(("sensors/kitchen",), 1700000000, b"21.5"),
        Reading((), 1700000060, b"\xff"),
        Reading(("a", "b"), 5, b""),
    ],
)
LINES = (
    b'{"id":"b7-1-0","topics":["sensors/kitchen"],"at":1700000000,"data":"21.5"}\n'
    b'{"id":"b7-1-1","topics":[],"at":1700000060,"data_base64":"/w=="}\n'
    b'{"id":"b7-1-2","topics":["a","b"],"at":5,"data":""}\n'
)


def unpack(given: bytes) -> tuple[int, bytes, list[str]]:
    """Return exit code, output, and lines on standard error."""
    done = subprocess.run(UNPACK, input=given, capture_output=True, cwd=ROOT, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr.decode().splitlines()


@contextmanager
def running() -> Iterator[subprocess.Popen[bytes]]:
    """Run the command, with pipes."""
    with subprocess.Popen(
        UNPACK, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_each_message_is_a_line() -> None:
    """Of both forms, the last line without its end too; lines that are blank count and say nothing."""
    assert unpack(BATCH) == (0, LINES, [])
    plain = encode_plain([Reading(("x",), 3, b'{"t":1}'), Reading((), None, b"a")])
    code, out, said = unpack(b"\r\n" + BATCH + b"\r\n\n" + plain + b"\n")
    told = b'{"topics":["x"],"at":3,"data":"{\\"t\\":1}"}\n{"topics":[],"at":null,"data":"a"}\n'
    assert (code, out, said) == (0, LINES + told, [])
    assert unpack(b"") == (0, b"", [])


def test_a_time_that_the_box_did_not_know_is_counted_from_the_first() -> None:
    """In whole seconds."""
    text = encode("c", [Reading((), None, b"1", 100.5), Reading((), None, b"2", 161.0)])
    lines = [json.loads(line) for line in unpack(text)[1].splitlines()]
    assert [(line["at"], line["seconds"]) for line in lines] == [(None, 0), (None, 61)]


def test_a_message_stays_one_line_that_a_terminal_can_show() -> None:
    """Line ends and what a terminal acts on are escaped; the value is the same."""
    payload = "\n\r\u2028\x1b[2J\x9b\u202e\0\U000e0001é€"
    out = unpack(encode("c", [Reading((payload,), 1, payload.encode())]))[1]
    assert out.decode().rstrip("\n").isprintable()
    assert json.loads(out) == {"id": "c-0", "topics": [payload], "at": 1, "data": payload}


def test_a_bad_line_is_told_and_the_rest_goes_on() -> None:
    """With its number and what is wrong, in one line; the exit code tells too."""
    bomb = base64.b64encode(zlib.compress(b" " * 50_000_000, wbits=-15))
    code, out, said = unpack(b"\n".join([b"nonsense", BATCH, b"", bomb, b"\x1b[2J", BATCH]))
    assert (code, out) == (1, LINES * 2)
    assert [line.partition(": ")[2].partition(":")[0] for line in said] == ["line 1", "line 4", "line 5"]
    assert said[1].endswith("line 4: a batch is larger than 1,000,000 bytes unpacked")


def test_a_line_without_end_takes_no_memory() -> None:
    """What is longer than any batch is passed over, and told once."""
    limited = ["/bin/bash", "-c", 'ulimit -v 400000; exec "$@"', "unpack", *UNPACK]
    with subprocess.Popen(
        limited, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdin
        for _ in range(300):
            process.stdin.write(b"A" * 1_000_000)
        out, said = process.communicate(b"\n" + BATCH, timeout=120)
    assert (process.returncode, out) == (1, LINES)
    assert said.decode().splitlines() == ["hologram-bridge: line 1: it is longer than 2,000,000 bytes"]


def test_the_largest_batch_is_not_too_long() -> None:
    """A million bytes that hardly compress."""
    payload = random.Random(1).randbytes(749_000)
    code, out, said = unpack(encode("c", [Reading((), 0, payload)]))
    assert (code, said) == (0, [])
    assert base64.b64decode(json.loads(out)["data_base64"]) == payload


@pytest.mark.parametrize("streams", [">/dev/full", "<&-", ">&-"])
def test_streams_that_do_not_work_are_told_in_one_line(streams: str, tmp_path: Path) -> None:
    """A full disk, a stream that is closed."""
    (tmp_path / "batches").write_bytes(BATCH)
    line = f'exec "$@" <{tmp_path}/batches {streams}'
    done = subprocess.run(
        ["/bin/bash", "-c", line, "unpack", *UNPACK],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith("hologram-bridge: cannot read the batches or write the messages: ")


def test_messages_come_while_more_lines_are_awaited() -> None:
    """A batch is written as soon as its line has ended."""
    with running() as process:
        assert process.stdin
        assert process.stdout
        for _ in range(2):
            process.stdin.write(BATCH + b"\n")
            process.stdin.flush()
            assert b"".join(process.stdout.readline() for _ in range(3)) == LINES


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    """As `head` does."""
    with running() as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write((BATCH + b"\n") * 2)
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write((BATCH + b"\n") * 100)
        process.stdin.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")


def test_the_help_tells_what_a_line_is() -> None:
    """In and out."""
    done = subprocess.run(
        [*UNPACK, "--help"], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60
    )
    assert "one a line" in done.stdout
    assert "data_base64" in done.stdout
