"""Logs: one line an event on stderr, with journald's priorities where journald reads them."""

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, eventually

PROGRAM = """
import logging
from bridge.daemon import logs
logs.set_up("info")
logging.getLogger("uplink").info("one\\ntwo")
logging.getLogger("store").error("bad")
logging.getLogger("uplink").debug("hidden")
"""

HOSTILE = "a\n<0>b\r\x1b[2J\x9b1m\x07\u2028\u2029\u202e\u2066\u200f\u061c\u200b\ufeff\ud800é 日"
SAFE = r"a\n<0>b\r\x1b[2J\x9b1m\x07\u2028\u2029\u202e\u2066\u200f\u061c\u200b\ufeff\ud800é 日"
"""What comes from outside, and how it is shown: on one line, and with no power over a terminal."""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["INFO:uplink:one\\ntwo", "ERROR:store:bad"]),
        ({"JOURNAL_STREAM": "8:1"}, ["<6>INFO:uplink:one\\ntwo", "<3>ERROR:store:bad"]),
    ],
    ids=["plain", "journald"],
)
def test_one_line_an_event(environment: dict[str, str], expected: list[str]) -> None:
    """LEVEL:component:message, a line end inside a message written out, levels below the set one left out."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert ended.stderr.splitlines() == expected


def test_what_comes_from_outside_is_escaped() -> None:
    """Control characters, bidirectional ones, line ends of all kinds and broken text; in exceptions too."""
    program = f"""
import logging
from bridge.daemon import logs
logs.set_up("info")
logging.getLogger("uplink").info("%s", {HOSTILE!a})
try:
    raise ValueError({HOSTILE!a})
except ValueError:
    logging.getLogger("uplink").exception("it broke")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONUTF8": "1"}, capture_output=True, check=True, timeout=120
    )
    first, second = ended.stderr.decode().removesuffix("\n").split("\n")
    assert first == f"INFO:uplink:{SAFE}"
    assert second.endswith(f"ValueError: {SAFE}")


def daemon_that_says(keeper: Keeper, path: Path, answer: dict[str, Any]) -> None:
    """Answer on the control socket as a daemon would that passes on what others told it."""
    server = socket.socket(socket.AF_UNIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    server.bind(str(path))
    server.listen()
    keeper.finally_(server.close)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(json.dumps(answer).encode() + b"\n")

    threading.Thread(target=serve, daemon=True).start()


LISTED = {
    "id": HOSTILE, "channel": "tcp", "to": HOSTILE, "topics": [], "priority": "normal", "bytes": 1,
    "queued_at": 0, "attempts": 1, "state": "waiting", "retry_in": 5.0, "error": HOSTILE,
}  # fmt: skip
STORED = {"sent_at": None, "from": HOSTILE, "body": HOSTILE, "note": HOSTILE}


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (["queue", "list"], {"messages": [LISTED]}),
        (["queue", "list"], {"error": HOSTILE}),
        (["queue", "retry"], {"description": HOSTILE}),
        (["modem", "operator"], {"modem": {"operator": HOSTILE, "cell": {"name": HOSTILE}}}),
        (["modem", "at", "AT"], {"modem": {"lines": [HOSTILE], "final": HOSTILE}}),
        (["modem", "sms"], {"modem": {"messages": [STORED]}}),
    ],
    ids=["list", "error", "retry", "operator", "at", "sms"],
)
def test_commands_show_what_comes_from_outside_escaped(
    keeper: Keeper, bridge: BridgeProcess, command: list[str], answer: dict[str, Any]
) -> None:
    """They run on root's terminal, with what the air, a host or anyone on the broker may have chosen."""
    bridge.configure(network={"interface": "cellular"})
    daemon_that_says(keeper, Path(f"{bridge.store}.sock"), answer)
    plain = bridge.run(*command)
    lines = (plain.stdout + plain.stderr).splitlines()
    assert SAFE.partition(r"\n")[2] in "".join(lines)
    assert all(line.isprintable() for line in lines)
    told = bridge.run(*command, "--json")
    if "error" not in answer:
        assert told.stdout.replace("\n", "").isprintable()
        assert HOSTILE in sms_inbox(json.loads(told.stdout))


def sms_inbox(value: object) -> str:
    """Return all texts in a JSON value."""
    if isinstance(value, dict):
        return "".join(sms_inbox(each) for each in value.values())
    return "".join(sms_inbox(each) for each in value) if isinstance(value, list) else str(value)


def test_a_terminal_gets_no_raw_message_and_a_pipe_does() -> None:
    """What ``hologram_receive`` prints is wanted as it came, but not by a terminal."""
    program = f"from bridge.cli.screen import say_raw; say_raw({HOSTILE[:-3]!a})"
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", program.replace("\\ud800", "")]
    piped = subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert b"\x1b[2J" in piped.stdout
    subprocess.run(command, stdout=follower, check=True, timeout=120)
    os.close(follower)
    shown = os.read(leader, 65536)
    os.close(leader)
    assert b"\x1b" not in shown
    assert rb"a\n<0>b\r\x1b[2J" in shown


def test_no_payload_and_no_secret_at_info(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """What is sent, what is refused and what is retried leave neither payloads nor keys in the log."""
    cloud.start("--fault", "code6:2")
    bridge.start()
    client.publish("hologram/out/t", "PRIVATE-ONE", user={"id": "one"})
    client.publish("hologram/out/t", "PRIVATE-TWO", user={"id": "two"})
    client.publish("hologram/sms", '{"PRIVATE-KEY": "PRIVATE-THREE"}')
    client.publish("hologram/out/bad topic", "PRIVATE-FOUR", user={"id": "four"})
    for name in ("one", "two", "four"):
        client.wait_result(name, timeout=20)
    eventually(lambda: "rejected a message" in bridge.said(), what="the refusal is logged")
    assert "not delivered" in bridge.said()
    assert "PRIVATE" not in bridge.said()
    assert "abcd1234" not in bridge.said()
