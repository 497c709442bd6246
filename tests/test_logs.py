"""Logs: one line an event on stderr, with journald's priorities where journald reads them."""

import subprocess
import sys

import pytest

from tests.harness import BridgeProcess, Client, Cloud, eventually

PROGRAM = """
import logging
from bridge import logs
logs.set_up("info")
logging.getLogger("uplink").info("one\\ntwo")
logging.getLogger("store").error("bad")
logging.getLogger("uplink").debug("hidden")
"""


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
        timeout=30,
    )
    assert ended.stderr.splitlines() == expected


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
