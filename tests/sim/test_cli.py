"""``hologram-bridge simulate`` as a real process."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.sim.command import SIMULATE, cloud_process, simulate
from tests.sim.harness import GOOD, eventually, read_all


def ask(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(data)
        return read_all(connection)


def test_it_shows_and_logs_what_arrives(tmp_path: Path) -> None:
    """The first line tells the address; each request is a line on the terminal and a JSON line in the log."""
    with cloud_process(tmp_path / "log", "--fault", "code6:2") as cloud:
        assert cloud.first_line == f"simulated cloud on 127.0.0.1:{cloud.port}\n"
        assert ask(cloud.port, GOOD) == b"[0,0]"
        assert ask(cloud.port, b"Sabcd1234+15551234567 \x1b[2Jhi\n\n") == b"60"
        eventually(lambda: len(cloud.log()) == 2)
        assert [(line["data"], line["code"], line["accepted"]) for line in cloud.log()] == [
            ("hi", 0, True),
            ("\x1b[2Jhi", 6, False),
        ]
        first, second = cloud.out.readline(), cloud.out.readline()
        assert first.endswith(" #1 json [a/b] 37 B 'hi' -> code 0, accepted\n")
        assert "#2 sms to +15551234567 " in second
        assert r"'\x1b[2Jhi' -> code 6, not accepted, fault code6" in second


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end it with 0 and without a word, also while a client waits for its answer."""
    with cloud_process(tmp_path / "log", "--quiet", "--fault", "silent:1") as cloud:
        with socket.create_connection(("127.0.0.1", cloud.port), 10) as connection:
            connection.sendall(GOOD)
            eventually(lambda: len(cloud.log()) == 1)
            cloud.process.send_signal(number)
            assert cloud.process.wait(10) == 0
        assert cloud.process.communicate() == ("", "")


def test_every_credential_can_be_set(tmp_path: Path) -> None:
    """Its own key and the older pair are accepted, the default key is not."""
    options = ("--devicekey", "12345678", "--cloud-id", "idid", "--cloud-key", "keys", "--delay", "0.01")
    with cloud_process(tmp_path / "log", *options) as cloud:
        assert ask(cloud.port, b'{"k":"12345678","d":"x"}\n\n') == b"[0,0]"
        assert ask(cloud.port, b'{"s":"idid","c":"keys","d":"x"}\n\n') == b"[0,0]"
        assert ask(cloud.port, GOOD) == b"[3,0]"


def test_a_reader_that_goes_away_does_not_stop_it(tmp_path: Path) -> None:
    """With its output piped to something that ends, it goes on serving and ends with 0."""
    with cloud_process(tmp_path / "log") as cloud:
        cloud.out.close()
        cloud.process.stdout = None
        for _ in range(3):
            assert ask(cloud.port, GOOD) == b"[0,0]"
        cloud.process.send_signal(signal.SIGTERM)
        assert cloud.process.wait(10) == 0
        assert cloud.process.stderr is not None
        assert "Traceback" not in cloud.process.stderr.read()


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    """A port in use ends with 1 and one line that says what to do."""
    with cloud_process(tmp_path / "log") as cloud:
        ended = simulate("cloud", "--port", str(cloud.port))
    assert ended.returncode == 1
    assert ended.stderr.count(b"\n") == 1
    assert b"choose another with --port" in ended.stderr


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--fault", "explode:3"], b"explode:3"),
        (["--fault", "close"], b"close:5"),
        (["--devicekey", "short"], b"--devicekey"),
        (["--port", "70000"], b"--port"),
        (["--delay", "-1"], b"--delay"),
        (["--delay", "nan"], b"--delay"),
        (["--cloud-id", "idid"], b"--cloud-key"),
        (["--private-key", "1"], b"--device-id"),
        (["--cloud-id", "id", "--cloud-key", "keys"], b"--cloud-id"),
    ],
)
def test_wrong_options_are_usage_errors(options: list[str], word: bytes) -> None:
    """A wrong option ends with 2 and one line that names it."""
    ended = simulate("cloud", *options)
    assert ended.returncode == 2
    assert ended.stderr.count(b"\n") == 1
    assert word in ended.stderr
    assert b"short" not in ended.stderr  # a key is never repeated


def test_push_sends_over_tcp_as_the_cloud_does() -> None:
    """Each message is a connection of its own: the bytes, then the close."""
    with socket.create_server(("127.0.0.1", 0)) as device:
        device.settimeout(10)
        port = str(device.getsockname()[1])
        process = subprocess.Popen(
            [*SIMULATE, "push", "--port", port, "--count", "2", "héllo"], stdout=subprocess.PIPE
        )
        for _ in range(2):
            with device.accept()[0] as connection:
                assert read_all(connection) == "héllo".encode()
        assert process.communicate(timeout=10)[0].endswith(b"over TCP, 2 times\n")
        assert process.returncode == 0


def test_push_sends_a_datagram_of_any_bytes() -> None:
    """With --udp the message is one datagram; - takes any bytes from standard input."""
    data = os.urandom(200)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.bind(("127.0.0.1", 0))
        device.settimeout(10)
        ended = simulate("push", "--udp", "--port", str(device.getsockname()[1]), "-", stdin=data)
        assert ended.returncode == 0
        assert device.recv(1000) == data


def test_push_to_nobody_is_one_line() -> None:
    """A device that does not listen ends with 1 and one line."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ended = simulate("push", "--port", str(free.getsockname()[1]), "x")
    assert ended.returncode == 1
    assert ended.stderr.count(b"\n") == 1
    assert b"Connection refused" in ended.stderr
