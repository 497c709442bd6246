"""The official SDK, a peer that nobody tuned for us, against the simulated cloud."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness import BridgeProcess, Client, Cloud
from tests.sdk.official import ABSENT, official_python
from tests.sim.command import cloud_process
from tests.sim.harness import eventually

# What a user of the SDK writes; prints the result codes as JSON.
PROGRAM = """
import json, sys
from Hologram.HologramCloud import HologramCloud

key, port, calls = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
cloud = HologramCloud({"devicekey": key}, authentication_type="csrpsk")
cloud.send_host, cloud.send_port = "127.0.0.1", port
results = []
for name, arguments in calls:
    code = getattr(cloud, name)(**arguments)
    results.append([code, cloud.getResultString(code)])
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def sdk() -> Path:
    """Return the Python of a virtual environment that holds the SDK, made once and kept."""
    python = official_python()
    if python is None:
        pytest.skip(ABSENT)
    return python


def call(sdk: Path, port: int, *calls: tuple[str, dict[str, Any]], key: str = "abcd1234") -> list[list[Any]]:
    """Let the SDK make these calls; return each result code with the SDK's own words for it."""
    command = [str(sdk), "-c", PROGRAM, key, str(port), json.dumps(calls)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    results: list[list[Any]] = json.loads(ended.stdout)
    return results


def test_messages_and_sms_arrive_as_they_were_sent(sdk: Path, tmp_path: Path) -> None:
    """What the SDK sends is accepted and read as it was meant, and the SDK is told so."""
    text = 'a "quoted" línea\n\nand another\r\r…'
    with cloud_process(tmp_path / "log") as cloud:
        results = call(
            sdk,
            cloud.port,
            # First of all: the SDK keeps the topics of one message for the next that has none.
            ("sendMessage", {"message": "no topic"}),
            ("sendMessage", {"message": text, "topics": ["sensors/kitchen"]}),
            ("sendMessage", {"message": "two topics", "topics": ["one", "two"]}),
            ("sendSMS", {"destination_number": "+15551234567", "message": "Hello, línea!"}),
        )
        eventually(lambda: len(cloud.log()) == 4)
        seen = [(path["form"], path["data"], path["topics"], path["to"]) for path in cloud.log()]
        assert all(path["accepted"] and path["code"] == 0 for path in cloud.log())
    assert results == [[0, "Message sent successfully"]] * 4
    assert seen == [
        ("json", "no topic", [], None),
        ("json", text, ["sensors/kitchen"], None),
        ("json", "two topics", ["one", "two"], None),
        ("sms", "Hello, línea!", [], "+15551234567"),
    ]


def test_refusals_are_understood(sdk: Path, tmp_path: Path) -> None:
    """The SDK understands each refusal: a wrong key, data that is no text, a topic with a space."""
    with cloud_process(tmp_path / "log") as cloud:
        wrong_key = call(
            sdk,
            cloud.port,
            ("sendMessage", {"message": "x"}),
            ("sendSMS", {"destination_number": "+15551234567", "message": "x"}),
            key="wrong123",
        )
        wrong = call(
            sdk,
            cloud.port,
            ("sendMessage", {"message": ["x"]}),
            ("sendMessage", {"message": "x", "topics": ["TOPIC 1"]}),
        )
        eventually(lambda: len(cloud.log()) == 4)
        assert not any(path["accepted"] for path in cloud.log())
    assert [code for code, _words in wrong_key] == [3, 3]
    assert wrong == [[4, "Payload type was invalid"], [8, "Topic was formatted incorrectly"]]


def test_answers_in_pieces_and_every_code_are_read(sdk: Path, tmp_path: Path) -> None:
    """The SDK reads an answer that comes byte by byte, and every ordered code."""
    faults = [option for code in range(2, 9) for option in ("--fault", f"code{code}:{11 + 2 * code}")]
    with cloud_process(tmp_path / "log", "--delay", "0.1", "--fault", "split:2", *faults) as cloud:
        results = call(sdk, cloud.port, *[("sendMessage", {"message": str(n)}) for n in range(27)])
    codes = {15: 2, 17: 3, 19: 4, 21: 5, 23: 6, 25: 7, 27: 8}
    assert [code for code, _words in results] == [codes.get(n, 0) for n in range(1, 28)]


def test_the_bridge_and_the_sdk_are_read_alike(
    sdk: Path, tmp_path: Path, bridge: BridgeProcess, client: Client, cloud: Cloud
) -> None:
    """The same messages and the same SMS, once by the SDK and once by the bridge, are one to the cloud."""
    messages = [("plain", ["a"]), ('{"q":"\\"é\\n\\n"}', ["a/b", "c"])]
    cloud.start()
    bridge.start()
    call(
        sdk,
        cloud.port,
        *(("sendMessage", {"message": text, "topics": topics}) for text, topics in messages),
        ("sendSMS", {"destination_number": "+15551234567", "message": "Hello, línea!"}),
    )
    eventually(lambda: len(cloud.arrived) == 3)
    for text, topics in messages:
        client.send({"data": text, "topics": topics, "id": text})
        client.wait_result(text)
    client.publish("hologram/sms/15551234567", "Hello, línea!", user={"id": "sms"})
    client.wait_result("sms")
    eventually(lambda: len(cloud.arrived) == 6)
    seen = [(each.payload, each.topics, each.to, each.code) for each in cloud.arrived]
    assert seen[:3] == seen[3:]
