"""The demo, as users start it: real processes, a real terminal, and nothing left behind."""

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.batch import Reading, encode
from bridge.demo.board import DemoBoard
from bridge.demo.children import find_mosquitto
from bridge.demo.tries import lines, options
from bridge.errors import OperationError
from tests.harness import Keeper, eventually
from tests.harness.terminal import Terminal

DEMO = [sys.executable, "-m", "bridge.demo"]
PATIENCE = 120.0
"""Seconds in which a busy machine gets there; they pass only where a test fails."""
NAMES = ("broker", "cloud", "modem", "bridge")


class Plain:
    """A demo that prints lines; what it said so far is in ``lines``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._new: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._new.put(line.rstrip("\n"))

    def until(self, pattern: str, seconds: float = PATIENCE) -> str:
        """Return the first line from here on that matches; fail after ``seconds``."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no line matches {pattern!r}:\n" + "\n".join([*self.lines, *self._errors()]))
            self.lines.append(line)
            if re.search(pattern, line):
                return line

    def _errors(self) -> list[str]:
        """Return why it has ended, if it has."""
        if self.process.poll() is None or self.process.stderr is None:
            return []
        return [f"it ended with {self.process.returncode}:", *self.process.stderr.read().splitlines()]

    def end(self, seconds: float = PATIENCE) -> tuple[int, str]:
        """Wait for the end; return the exit code and what stderr got."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        while not self._new.empty():
            self.lines.append(self._new.get())
        assert self.process.stderr is not None
        return code, self.process.stderr.read()


@contextlib.contextmanager
def plain(folder: Path, *options: str, **environment: str) -> Iterator[Plain]:
    """Run ``--plain`` with its temporary files in ``folder``; it is ended with the block if need be."""
    process = subprocess.Popen(
        [*DEMO, "--plain", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)} | environment,
    )
    demo = Plain(process)
    try:
        yield demo
    finally:
        if process.poll() is None:
            process.terminate()
        demo.end()
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()


def children_of(parent: int) -> dict[str, int]:
    """Return the pids of what ``parent`` started, by name [proc(5), stat: the fourth field is the parent]."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                command = (folder / "cmdline").read_bytes()
                words = command.split(b"\0")
                simulated = words[words.index(b"simulate") + 1].decode() if b"simulate" in words else "bridge"
                name = "broker" if b"mosquitto" in command else simulated
                found[name] = int(folder.name)
    return found


def alive(pid: int) -> bool:
    """Whether a process has this pid and is more than a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(pids: dict[str, int], folder: Path) -> bool:
    """Whether nothing is left of a demo: no process, no file."""
    return not any(alive(pid) for pid in pids.values()) and not list(folder.iterdir())


def test_plain_lines_tell_a_messages_whole_life_and_nothing_stays_behind(tmp_path: Path) -> None:
    """Command, queued, seen by the cloud, delivered; asked to end it does so with exit code 0."""
    with plain(tmp_path, HOLOGRAM_BRIDGE__MQTT__PORT="1", HOLOGRAM_BRIDGE__NO="x") as demo:
        demo.until(r" in +hologram/out/sensors/kitchen")
        pids = children_of(demo.process.pid)
        assert sorted(pids) == sorted(NAMES)
        identity = demo.until(r" queued +sensors/kitchen ").rpartition("(")[2]
        demo.until(r" cloud +json sensors/kitchen .*accepted, code 0")
        told = demo.until(r" delivered +sensors/kitchen ")
        assert identity in told
        assert re.search(r'\{"temp":[\d.]+\}; 1 attempt, \d\.\d\d s, \d+ B up, \d+ B down', told)
        demo.until(r" rejected +topic: 'kitchen sink' is not allowed")
        demo.until(r" cloud +sms \+15551234567 Cellar: .*accepted")
        demo.until(r" delivered +\+15551234567 Cellar: ")
        demo.process.terminate()
        code, errors = demo.end()
    assert (code, errors) == (0, "")
    assert demo.lines[-1].startswith("ended after ")
    assert gone(pids, tmp_path)


def test_after_the_seconds_it_ends_by_itself(tmp_path: Path) -> None:
    """With exit code 0, and it stops what it started."""
    with plain(tmp_path, "--seconds", "0.5") as demo:
        demo.until(r" bridge +online")
        pids = children_of(demo.process.pid)
        assert demo.end() == (0, "")
    assert demo.lines[-1].startswith("ended after ")
    assert gone(pids, tmp_path)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ("127.0.0.1 localhost\n", "-p 12345"),
        ("::1\tip6-loopback localhost box\n", "-p 12345"),
        ("127.0.1.1 box\n", "-h 127.0.0.1 -p 12345"),
        (None, "-h 127.0.0.1 -p 12345"),
    ],
)
def test_the_lines_reach_the_broker_without_a_hosts_file(
    tmp_path: Path, hosts: str | None, expected: str
) -> None:
    """A minimal root has none, and the name of this machine cannot be looked up there."""
    file = tmp_path / "hosts"
    if hosts:
        file.write_text(hosts)
    assert options(12345, file) == expected
    for each in lines(expected, 12346, Path("/tmp/demo/bridge.hjson"), Path("/tmp/demo/desk")):
        assert f" {expected} -" in each.line or "mosquitto" not in each.line


def test_the_printed_lines_work_as_printed(tmp_path: Path) -> None:
    """Each line to try, given to a shell, leads to a line that says what became of it."""
    with plain(tmp_path) as demo:
        demo.until(r" bridge +online")
        tries = dict(
            re.findall(
                r"^  (\w+) +(.*(?:mosquitto_|hologram-bridge |/desk).*)$",
                "\n".join(demo.lines),
                re.MULTILINE,
            )
        )
        # The cloud of the demo is down for a while, which a slow machine may meet here.
        for name, outcome in {
            "send": r" delivered +hi hi; \d+ attempt",
            "burst": r" delivered +count 20; \d+ attempt",
            "SMS": r" delivered +\+15551234567 Hello; \d+ attempt",
            "pause": r" done +queue: sending is paused",
            "resume": r" done +queue: sending goes on",
        }.items():
            done = subprocess.run(
                ["sh", "-c", tries[name]], check=True, timeout=PATIENCE, capture_output=True, text=True
            )
            assert name != "send" or '"state":"delivered"' in done.stdout
            demo.until(outcome)
        said = subprocess.run(
            ["sh", "-c", tries["command"]], check=True, timeout=PATIENCE, capture_output=True, text=True
        )
        assert said.stdout.startswith("ok status: state=ok link=connected ")
        demo.until(r' event +remote.command .*"command": "status", "outcome": "ok"')
        doctor = tries["doctor"].replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        said = subprocess.run(
            ["sh", "-c", doctor], check=False, timeout=PATIENCE, capture_output=True, text=True
        )
        assert re.search(r"^ok +broker ", said.stdout, re.MULTILINE)
        listen = subprocess.run(
            ["sh", "-c", tries["listen"] + " -C 3 -W 60"],
            check=True,
            timeout=PATIENCE,
            capture_output=True,
            text=True,
        )
        assert "hologram/bridge/state online" in listen.stdout
        watch = tries["watch"].replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        said = subprocess.run(
            ["sh", "-c", f"timeout 60 {watch} | grep -m 1 'bridge    online'"],
            check=True, timeout=PATIENCE, capture_output=True, text=True,
        )  # fmt: skip
        assert said.stderr == ""
        pids = children_of(demo.process.pid)
        demo.process.terminate()
        assert demo.end() == (0, "")
    assert gone(pids, tmp_path)


def test_readings_in_batches_are_shown_unpacked_and_cost_less_the_more_share_one(tmp_path: Path) -> None:
    """Beside the single messages: what came in each batch, and its bytes for each reading."""
    with plain(tmp_path) as demo:
        alone = demo.until(r" delivered +sensors/\w+ .*; 1 attempt")
        came = demo.until(r" cloud +json batch of \d+ \([\w-]+\), \d+ B: accepted, code 0")
        number, identity = re.findall(r"batch of (\d+) \(([\w-]+)\)", came)[0]
        unpacked = [demo.until(rf" unpacked .*\({identity}-{n}\)") for n in range(int(number))]
        assert re.search(r' unpacked +meters/power \{"watts":\d+\}, taken \d\d:\d\d:\d\d \(', unpacked[0])
        cost = {1: float(sum(map(int, re.findall(r"(\d+) B (?:up|down)", alone))))}
        while len(cost) < 3:
            told = demo.until(r" batch +meters/\w+.*: batch of \d+, [\d.]+ B each, \d+ B up")
            shared, each = re.findall(r"batch of (\d+), ([\d.]+) B each", told)[0]
            cost[int(shared)] = float(each)
        falling = [cost[shared] for shared in sorted(cost)]
        assert falling == sorted(falling, reverse=True)
        assert falling[-1] < falling[0] / 2
        demo.until(r" figures .*; B each \d+ alone(, \d+ in \d+)+;")
        demo.process.terminate()
        assert demo.end() == (0, "")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("hello", "json batch hello, 99 B: accepted, code 0"),
        ('[{"data":1}]', 'json batch [{"data":1}], 99 B: accepted, code 0'),
    ],
)
def test_what_is_on_the_topic_of_batches_and_is_none_is_shown_as_it_is(data: str, said: str) -> None:
    """A viewer may publish anything there."""
    assert [line.text for line in DemoBoard().arrival(arrived(data))] == [said]


def test_a_repeat_of_a_batch_is_not_unpacked_again() -> None:
    """As a receiver does it: by the batch's id."""
    board = DemoBoard()
    text = encode("b1", [Reading(("t",), None, b"\x1b")]).decode()
    assert [line.text for line in board.arrival(arrived(text))] == [
        "json batch of 1 (b1), 99 B: accepted, code 0",
        "t \\x1b (b1-0)",
    ]
    (again,) = board.arrival(arrived(text))
    assert again.text == "json batch of 1 (b1), 99 B: accepted, code 0; a repeat, dropped by its id"
    assert (board.arrived, board.unpacked) == (2, 1)


def test_on_a_box_without_the_time_it_says_what_batches_wait_for() -> None:
    """Until the first has come; a box that knows the time has nothing to wait for."""
    board = DemoBoard()
    assert board.bytes_each() == ""
    board.knows_time = False
    assert board.bytes_each() == "batches wait for the clock, 10 minutes at most"
    result = {
        "id": "a", "channel": "cloud", "to": None, "topics": ["meters/water"], "state": "delivered",
        "code": 0, "description": "", "attempts": 1, "queued_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:00:01Z", "bytes_up": 300, "bytes_down": 100,
        "batch": {"id": "b", "messages": 1},
    }  # fmt: skip
    board.received("hologram/result", json.dumps(result).encode(), 0.0)
    assert board.bytes_each() == "B each 400 in 1"


def arrived(data: str) -> str:
    """Return the simulated cloud's line of a request with ``data`` on the topic of batches."""
    return json.dumps(
        {
            "at": "2026-01-01T00:00:00.000+00:00", "form": "json", "data": data, "data_base64": None,
            "topics": ["batch"], "to": None, "code": 0, "accepted": True, "bytes": 99, "problem": None,
        }
    )  # fmt: skip


def test_while_the_cloud_is_down_messages_wait_and_then_go(tmp_path: Path) -> None:
    """The outage is announced; what is queued in it is delivered after it, none is lost."""
    with plain(tmp_path) as demo:
        demo.until(r" demo +the simulated cloud is down for 8 s")
        waiting = demo.until(r" queued ").rpartition("(")[2]
        demo.until(r" health +degraded, cloud is down; \d+ queued")
        demo.until(r" demo +the simulated cloud is back")
        demo.until(rf" delivered .*\({re.escape(waiting)}")
        demo.process.send_signal(signal.SIGINT)
        assert demo.end()[0] == 0


def test_a_terminal_gets_the_live_view_and_ctrl_c_ends_it(keeper: Keeper, tmp_path: Path) -> None:
    """On 80x24 all parts are drawn; Ctrl-C leaves the terminal as it was, exit code 0, no traceback."""
    live = Terminal(keeper, DEMO, env={"TMPDIR": str(tmp_path)})
    live.drew(
        "hologram-bridge", "● up", "● online", "what became of each message", "queued → delivered ",
        "what arrived at the simulated cloud", "accepted", "today", "mem ",
        "hologram/out/hi", "seq 20 | mosquitto_pub", "hologram/queue/set", "-v -t 'hologram/#'",
    )  # fmt: skip
    live.drew("rejected 1", "rejected: topic: 'kitchen sink' is not allowed")
    live.drew("json batch of ", " readings in batches", "B each ")
    # The cloud is not there while the story has it down.
    eventually(lambda: sorted(children_of(live.process.pid)) == sorted(NAMES), 30)
    pids = children_of(live.process.pid)
    assert len(live.screen) <= live.height
    assert live.screen[0].startswith(" hologram-bridge")
    live.press(b"\x03")
    assert live.end(PATIENCE) == 0
    assert b"\x1b[?1049h" in live.raw  # the other screen was taken
    assert b"\x1b[?1049l" in live.raw.partition(b"\x1b[?1049h")[2]  # and given back
    assert "Traceback" not in live.text
    assert re.search(r"ended after \d+ s: \d+ in, .*\d rejected", live.text)
    assert gone(pids, tmp_path)


def test_without_rich_it_says_what_to_do(keeper: Keeper, tmp_path: Path) -> None:
    """A missing package is one line that names the step that brings it."""
    folder, temporary = tmp_path / "path", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    (folder / "rich.py").write_text("raise ModuleNotFoundError(\"No module named 'rich'\", name='rich')\n")
    live = Terminal(keeper, DEMO, env={"TMPDIR": str(temporary), "PYTHONPATH": str(folder)})
    assert live.end() == 1
    assert live.text.strip() == "hologram-bridge demo: rich is missing; run: make setup (or use --plain)"


def test_a_missing_broker_is_one_clear_line(tmp_path: Path) -> None:
    """Where mosquitto cannot be found the demo says so and what to do, and starts nothing."""
    with plain(tmp_path, MOSQUITTO="/nowhere/mosquitto") as demo:
        code, errors = demo.end()
    assert code == 1
    assert errors.count("\n") == 1
    assert "MOSQUITTO: /nowhere/mosquitto is no program; run: make setup" in errors
    assert list(tmp_path.iterdir()) == []


def test_mosquitto_is_looked_for_where_debian_keeps_it(tmp_path: Path) -> None:
    """It is found outside the path of ordinary users, and missed with a word where it is not installed."""
    program = tmp_path / "mosquitto"
    program.touch(mode=0o755)
    assert find_mosquitto({"PATH": "/nowhere"}, sbin=str(tmp_path)) == str(program)
    with pytest.raises(OperationError, match="mosquitto is not installed; run: make setup"):
        find_mosquitto({"PATH": "/nowhere"}, sbin="/nowhere")


def test_a_broker_that_does_not_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    """Its exit code and output are shown, and the demo fails."""
    broker = tmp_path / "broker"
    broker.write_text("#!/bin/sh\necho no way today\nexit 3\n")
    broker.chmod(0o755)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with plain(temporary, MOSQUITTO=str(broker)) as demo:
        code, errors = demo.end()
    assert code == 1
    assert errors == (
        "hologram-bridge demo: the broker (mosquitto) ended by itself (exit code 3); its last lines:\n"
        "  no way today\n"
    )
    assert gone({}, temporary)


@pytest.mark.parametrize(
    ("victim", "name"), [("bridge", "the bridge"), ("cloud", "the simulated cloud"), ("broker", "the broker")]
)
def test_a_child_that_dies_is_named_and_ends_the_demo(tmp_path: Path, victim: str, name: str) -> None:
    """The demo says who died and how, ends the others, and fails."""
    with plain(tmp_path) as demo:
        demo.until(r" delivered ")
        pids = children_of(demo.process.pid)
        os.kill(pids[victim], signal.SIGKILL)
        code, errors = demo.end()
    assert code == 1
    assert errors.startswith(f"hologram-bridge demo: {name}")
    assert "ended by itself (signal SIGKILL); its last lines:\n  " in errors
    assert gone(pids, tmp_path)


def test_a_reader_that_has_enough_ends_the_demo_quietly(tmp_path: Path) -> None:
    """`make demo | head -3` is no error."""
    pipe = f"{sys.executable} -m bridge.demo --plain | head -3"
    done = subprocess.run(
        ["sh", "-c", pipe],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 3


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_wrong_seconds_are_a_usage_error(value: str) -> None:
    """The option names its value and what is allowed, exit code 2."""
    done = subprocess.run(
        [*DEMO, f"--seconds={value}"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 2
    assert f"argument --seconds: '{value}' is not allowed; seconds greater than 0" in done.stderr
