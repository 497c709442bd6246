"""The command-line tools."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Process, eventually, free_port
from tests.harness.process import ROOT, Keeper
from tests.sim.harness import Running, running

FINE = "RESPONSE MESSAGE: The message has been sent successfully.\n"

FILE = """{
  // Hologram cloud id (4 characters long)
  "cloud_id": "1d3g",
  // Hologram cloud key (4 characters long)
  "cloud_key": "5a7b"
}
"""


class Done(NamedTuple):
    """How a tool ended."""

    returncode: int
    stdout: str
    stderr: str


def tool(name: str, *words: str, folder: Path | None = None) -> Done:
    """Run a tool's entry point to its end, in ``folder``."""
    out, err = io.StringIO(), io.StringIO()
    main = import_module(f"bridge.cli.tools.{name}").main
    with contextlib.chdir(folder or Path.cwd()), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(list(words))
        except SystemExit as end:  # argparse
            code = end.code
    return Done(code, out.getvalue(), err.getvalue())


def process(name: str, *words: str, folder: Path) -> Done:
    """Run a tool as users do, as a process."""
    command = [sys.executable, "-m", f"bridge.cli.tools.{name}", *words]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=60, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def there(sim: Running) -> list[str]:
    return ["--host", "127.0.0.1", "-p", str(sim.cloud.port)]


def arrived(sim: Running) -> list[tuple[str, bytes | None, tuple[str, ...], str | None]]:
    requests = (record.request for record in sim.records)
    return [(each.form, each.data, each.topics, each.to) for each in requests]


def one_line(done: Done, code: int, *words: str) -> None:
    """The tool ended with ``code`` and one line on stderr that holds ``words``."""
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in last


def test_the_documents_call_of_hologram_send(sim: Running, tmp_path: Path) -> None:
    """A message, credentials from a file with comments, and a topic."""
    (tmp_path / "credentials.json").write_text(FILE)
    done = process(
        "send",
        "message",
        "--file",
        "credentials.json",
        "--topic",
        "topic-example",
        *there(sim),
        folder=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, FINE, "")
    assert arrived(sim) == [("json", b"message", ("topic-example",), None)]
    assert [path.name for path in tmp_path.iterdir()] == ["credentials.json"], "a tool leaves nothing behind"


def test_several_messages_and_topics(sim: Running) -> None:
    """Each message is a request of its own, in order; topics belong to all; options beat the file."""
    words = ["message message", "one more message", "--devicekey", "abcd1234", *there(sim), "-t", "a", "b"]
    done = tool("send", *words, "-t", "c")
    assert (done.returncode, done.stdout) == (0, FINE * 2)
    assert arrived(sim) == [
        ("json", b"message message", ("a", "b", "c"), None),
        ("json", b"one more message", ("a", "b", "c"), None),
    ]


def test_totp(sim: Running) -> None:
    """A device id and a private key sign the time."""
    words = ["--device_id", "8944500000000000001", "--private_key", "234500000000001", *there(sim)]
    assert tool("send", "hi", *words).stdout == FINE
    assert arrived(sim)[0][0] == "totp"


def test_a_refused_message_ends_with_1_and_the_clouds_words() -> None:
    """The others are sent all the same."""
    with running() as sim:
        done = tool("send", "a", "b", "--devicekey", "wrong123", *there(sim))
        assert len(sim.records) == 2
    assert done.returncode == 1
    assert done.stdout == "RESPONSE MESSAGE: Auth section of the message was invalid.\n" * 2
    assert done.stderr == ""


def test_no_connection_ends_with_1_and_the_reason() -> None:
    """On one line, and the message is not kept: the tool sends at once or not at all."""
    one_line(
        tool("send", "a", "--devicekey", "abcd1234", "--host", "127.0.0.1", "-p", str(free_port())),
        1,
        "hologram_send: not sent",
        "Connection refused",
    )


def test_no_answer_within_the_timeout() -> None:
    """Is said with the seconds; the message may have been read, which "not sent" would deny."""
    with running("silent:1") as sim:
        done = tool("send", "a", "--devicekey", "abcd1234", "--timeout", "0.3", *there(sim))
    one_line(done, 1, "no answer: it may or may not have arrived", "silence for 0.3 s")
    assert "not sent" not in done.stderr


def test_each_message_has_one_try_and_its_own_outcome() -> None:
    """What is told to have failed is not sent later after all: nobody pays twice for repeating it."""
    with running("close:2") as sim:
        done = tool("send", "x", "a", "b", "c", "--devicekey", "abcd1234", *there(sim))
        assert [data for _, data, _, _ in arrived(sim)] == [b"x", b"a", b"b", b"c"]
        outcomes = [record.accepted for record in sim.records]
    assert (done.returncode, done.stdout) == (1, FINE * 2)
    assert outcomes == [True, False, True, False]
    lines = done.stderr.splitlines()
    assert [path.split(":")[1] for path in lines] == [" 'a'", " 'c'"]
    assert all("it may or may not have arrived" in path for path in lines)


def test_a_host_of_ones_own_that_is_away() -> None:
    """Is told for each message, which none of the others brings along."""
    done = tool("send", "a", "b", "--host", "127.0.0.1", "-p", str(free_port()))
    assert done.returncode == 1
    assert [path.split(":")[1:3] for path in done.stderr.splitlines()] == [
        [f" {name!r}", " not sent"] for name in "ab"
    ]


def test_without_credentials_it_goes_to_a_host_of_ones_own(sim: Running) -> None:
    """As it is, and the host's answer is printed."""
    done = tool("send", '{"k":"abcd1234","d":"x"}\n\n', *there(sim))
    assert (done.returncode, done.stdout) == (0, "RESPONSE FROM CLOUD: [0,0]\n")


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("send", [], "Message body cannot be empty"),
        ("send", ["hi"], "--devicekey"),
        ("send", ["hi", "--host", "127.0.0.1"], "--port"),
        ("send", ["hi", "-f", "nowhere.json"], "nowhere.json"),
        ("send", ["hi", "--port", "70000"], "70000"),
        ("send", ["hi", "--timeout", "0"], "0"),
        ("send", ["hi", "--unknown"], "--unknown"),
        ("send", ["hi", "--repeat", "1", "--via-bridge"], "--repeat"),
        ("send", ["hi", "--repeat", "1", "--host", "127.0.0.1", "-p", "9"], "--repeat"),
        ("send", ["hi", "--host", "127.0.0.1", "-p", "9", "-t", "a"], "--topic"),
        ("receive", ["--port", "70000"], "70000"),
        ("sms", [], "message body"),
        ("sms", ["hi"], "--destination"),
        ("sms", ["hi", "--destination", "+15551234567"], "--devicekey"),
    ],
)
def test_wrong_usage_ends_with_2(name: str, words: list[str], says: str) -> None:
    """And one line that says what is missing or allowed."""
    one_line(tool(name, *words), 2, f"hologram_{name}: ", says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "must hold an object"),
        ("{", "is not HJSON"),
        ("{cloud_id: 12345678}", "quotes"),
        (b"\xff", "UTF-8"),
    ],
)
def test_a_credentials_file_that_cannot_be_read(tmp_path: Path, text: str | bytes, says: str) -> None:
    """Says what is wrong with it, and shows no secret."""
    (tmp_path / "file").write_bytes(text if isinstance(text, bytes) else text.encode())
    one_line(tool("send", "hi", "-f", "file", folder=tmp_path), 2, says)


def test_malformed_credentials_end_with_1() -> None:
    """In one line."""
    one_line(tool("send", "hi", "--devicekey", "short"), 1, "8 characters")


def test_repeated_messages_end_after_the_duration(sim: Running) -> None:
    """The first goes at once, the next after the interval; on a busy machine it may come too late."""
    done = tool("send", "x", "--devicekey", "abcd1234", "--repeat", "1", "--duration", "1.5", *there(sim))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "A message has been sent\n" * len(sim.records)
    assert len(sim.records) in (1, 2)


def test_repeated_messages_that_are_never_delivered_are_told() -> None:
    """Each with its reason, how many they are at the end, and the exit code is 1."""
    where = ["--host", "127.0.0.1", "-p", str(free_port())]
    done = tool("send", "x", "--devicekey", "abcd1234", "--repeat", "1", "--duration", "1.5", *where)
    assert (done.returncode, done.stdout) == (1, "")
    *each, last = done.stderr.splitlines()
    assert len(each) in (1, 2)  # a busy machine may have no time for the second
    assert all("not delivered yet" in line and "Connection refused" in line for line in each)
    assert last == f"hologram_send: never delivered: {len(each)}"


def test_repeated_messages_that_are_delivered_later(cloud: Cloud, keeper: Keeper, tmp_path: Path) -> None:
    """What fails for a moment goes with the next message, while the tool runs: nothing is left then."""
    running_tool = Process("send", tmp_path / "log")
    keeper.keep(running_tool)
    where = ["--host", "127.0.0.1", "-p", str(cloud.port)]
    command = [sys.executable, "-m", "bridge.cli.tools.send", "x", "--devicekey", "abcd1234"]
    running_tool.launch([*command, "--repeat", "1", *where])
    eventually(lambda: "not delivered yet" in running_tool.said())
    cloud.start()
    eventually(lambda: "A message has been sent" in running_tool.said())
    os.kill(running_tool.pid, signal.SIGINT)
    assert running_tool.wait(30) == 130
    assert "never delivered" not in running_tool.said()
    assert len(cloud.accepted) >= 2


def test_repeated_messages_that_are_refused_end_at_once(sim: Running) -> None:
    """With the cloud's words; malformed credentials with theirs."""
    done = tool("send", "x", "--devicekey", "wrong123", "--repeat", "1", *there(sim))
    assert (done.returncode, done.stdout) == (
        1,
        "RESPONSE MESSAGE: Auth section of the message was invalid.\n",
    )
    one_line(tool("send", "x", "--devicekey", "short", "--repeat", "1", *there(sim)), 1, "8 characters")


def test_the_documents_call_of_hologram_sms(sim: Running, tmp_path: Path) -> None:
    """A number, a text, credentials from a file."""
    (tmp_path / "credentials.json").write_text(FILE)
    words = ["-f", "credentials.json", "--destination", "+11234567890", "hey there!", *there(sim)]
    done = process("sms", *words, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, FINE, "")
    assert arrived(sim) == [("sms", b"hey there!", (), "+11234567890")]


def test_an_sms_that_is_not_allowed() -> None:
    """Ends with 1 and the reason, before anything is sent."""
    words = ["--devicekey", "abcd1234", "--destination"]
    one_line(tool("sms", "hi", *words, "11234567890"), 1, "'+' sign")
    one_line(tool("sms", "x" * 161, *words, "+11234567890"), 1, "160")


def test_an_sms_waits_as_long_as_it_is_told() -> None:
    """And what is still not clear then is told as that: another would be paid for."""
    words = ["hi", "--devicekey", "abcd1234", "--destination", "+11234567890"]
    with running(delay=5.5) as sim:
        assert tool("sms", *words, "--timeout", "30", *there(sim)).stdout == FINE
    with running("silent:1") as sim:
        done = tool("sms", *words, "--timeout", "0.3", *there(sim))
        assert len(sim.records) == 1
    one_line(done, 1, "it may have been sent; it is not sent again", "silence for 0.3 s")
    one_line(tool("sms", *words, "--host", "127.0.0.1", "-p", str(free_port())), 1, "not sent", "refused")


LATIN = "caf\udce9"
"""How Python has an argument that is Latin-1, where UTF-8 is expected [PEP 383]."""


def test_arguments_that_are_not_utf8(sim: Running) -> None:
    """A message goes as the bytes that it is; whatever can only be text ends with 1 and one line."""
    key = ["--devicekey", "abcd1234"]
    assert tool("send", LATIN, *key, *there(sim)).stdout == FINE
    assert arrived(sim)[0][:3] == ("json", b"Y2Fm6Q==", ("base64",))
    one_line(tool("sms", LATIN, "--destination", "+11234567890", *key, *there(sim)), 1, "UTF-8")
    one_line(tool("send", "x", "--devicekey", f"abc{LATIN}e", *there(sim)), 1, "devicekey", "UTF-8")
    done = tool("send", "x", *key, "-t", LATIN, *there(sim))
    assert (done.returncode, done.stdout) == (1, "RESPONSE MESSAGE: Topic was formatted incorrectly.\n")
    assert len(sim.records) == 1


def test_an_address_that_cannot_be_one() -> None:
    """Ends with 1 and names it."""
    one_line(tool("receive", "--host", "a..b", "-p", str(free_port())), 1, "a..b")
    one_line(tool("send", "x", "--host", "a..b", "-p", "9"), 1, "a..b")


def test_the_documents_call_of_hologram_receive(keeper: Keeper, tmp_path: Path) -> None:
    """It prints each message as it comes, and ends after the timeout."""
    port = free_port()
    running_tool = Process("receive", tmp_path / "log")
    keeper.keep(running_tool)
    command = [sys.executable, "-m", "bridge.cli.tools.receive"]
    running_tool.launch([*command, "--host", "127.0.0.1", "--port", str(port), "--timeout", "1.5"])
    eventually(lambda: "Ready to receive" in running_tool.said())
    for text in (b"one", b"two"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
    eventually(lambda: "two" in running_tool.said())
    assert running_tool.wait() == 0
    ready = f"Ready to receive data on port {port}\n"
    assert running_tool.said() == ready + "Received message: one\nReceived message: two\n"


def test_a_port_that_is_taken() -> None:
    """Ends with 1 and names who has it."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        one_line(tool("receive", "--host", "127.0.0.1", "-p", port), 1, f"port 127.0.0.1:{port} is held by")


def test_help_is_there() -> None:
    """For each tool, with every option."""
    for name in ("send", "sms", "receive"):
        done = tool(name, "--help")
        assert done.returncode == 0
        assert f"usage: hologram_{name}" in done.stdout
        assert "--via-bridge" in done.stdout


# -- through a running bridge ----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
def test_through_the_bridge(bridge: BridgeProcess, cloud: Cloud, protocol: object) -> None:
    """Message and SMS go by the bridge, and its result is what the tool says."""
    cloud.start()
    bridge.configure(mqtt={"protocol": protocol})
    bridge.start()
    config = ["--via-bridge", "-c", str(bridge.config)]
    done = tool("send", "by the bridge", "and another", *config, "-t", "a", "b")
    assert (done.returncode, done.stdout, done.stderr) == (0, FINE * 2, "")
    done = tool("sms", "hello", "--destination", "+15551234567", *config)
    assert (done.returncode, done.stdout) == (0, FINE)
    assert [(each.payload, each.topics, each.to) for each in cloud.accepted] == [
        (b"by the bridge", ("a", "b"), None),
        (b"and another", ("a", "b"), None),
        (b"hello", (), "+15551234567"),
    ]


def test_what_the_bridge_refuses_and_what_it_keeps(bridge: BridgeProcess, client: Client) -> None:
    """A topic that can never serve is told at once; without the cloud there is no result in time."""
    bridge.start()
    config = ["--via-bridge", "-c", str(bridge.config)]
    done = tool("send", "x", *config, "-t", "TOPIC 1")
    one_line(done, 1, "rejected", "topic")
    done = tool("send", "x", *config, "--timeout", "0.5")
    one_line(done, 1, "no result within 0.5 s", "the bridge keeps the message")
    bridge.stop()
    done = tool("send", "x", *config, "--timeout", "0.5")
    one_line(done, 1, "the bridge is not running")
    bridge.broker.stop()
    one_line(tool("send", "x", *config), 1, "cannot reach the broker")


def test_receiving_through_the_bridge(bridge: BridgeProcess, keeper: Keeper, tmp_path: Path) -> None:
    """What the bridge gets is printed."""
    port = free_port()
    bridge.configure(inbound={"enabled": True, "host": "127.0.0.1", "port": port})
    bridge.start()
    running_tool = Process("receive", tmp_path / "log")
    keeper.keep(running_tool)
    command = [sys.executable, "-m", "bridge.cli.tools.receive", "--via-bridge", "-c", str(bridge.config)]
    running_tool.launch(command)
    eventually(lambda: "Ready to receive" in running_tool.said())
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"hello")
    eventually(lambda: "Received message: hello\n" in running_tool.said())


def test_receiving_through_the_bridge_ends_with_its_reader(
    bridge: BridgeProcess, client: Client, keeper: Keeper
) -> None:
    """As with ``| head -2``: without a word of what Python makes of that."""
    bridge.start()
    command = [sys.executable, "-m", "bridge.cli.tools.receive", "--via-bridge", "-c", str(bridge.config)]
    reading = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True)
    keeper.finally_(reading.kill)
    assert reading.stdout is not None
    assert reading.stderr is not None
    assert reading.stdout.readline() == "Ready to receive data from hologram/in\n"
    client.publish("hologram/in", b"one")
    assert reading.stdout.readline() == "Received message: one\n"
    reading.stdout.close()

    def ended() -> bool:
        client.publish("hologram/in", b"more")
        return reading.poll() is not None

    eventually(ended, what="the tool has ended")
    assert (reading.returncode, reading.stderr.read()) == (0, "")


def test_a_bad_configuration_ends_with_78(tmp_path: Path) -> None:
    """As everywhere."""
    (tmp_path / "bad.hjson").write_text("{credentials: {devicekey: 1}}")
    done = tool("send", "x", "--via-bridge", "-c", "bad.hjson", folder=tmp_path)
    assert done.returncode == 78
    assert "credentials.devicekey" in done.stderr
