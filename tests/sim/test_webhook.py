"""The simulated cloud's webhook: the documented JSON, posted again until it is answered 200."""

import base64
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import eventually
from tests.sim.command import cloud_process, simulate

REQUEST = b'{"k":"abcd1234","d":"21.5","t":["sensors/kitchen","x"]}\n\n'


class Receiver(http.server.ThreadingHTTPServer):
    """Answers with ``statuses``, the last of them for ever, and keeps headers and bodies."""

    statuses: list[int]
    got: list[tuple[dict[str, str], Any]]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), json.loads(body)))
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver that refuses twice."""
    found = Receiver(("127.0.0.1", 0), _Handler)
    found.statuses, found.got = [503, 500, 200], []
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def test_a_message_is_posted_until_it_is_answered_200(tmp_path: Path, receiver: Receiver) -> None:
    """Each try is the same; an SMS and what the cloud refuses are not posted."""
    hook = ("--webhook", f"http://127.0.0.1:{receiver.server_port}/x", "--webhook-header", "X-Secret: abc")
    with cloud_process(tmp_path / "log", "--quiet", "--device", "77", *hook) as cloud:
        for request in (REQUEST.replace(b"abcd", b"nobo"), b"Sabcd1234+15551234567 hi\n\n", REQUEST):
            with socket.create_connection(("127.0.0.1", cloud.port)) as sock:
                sock.sendall(request)
                assert sock.recv(10)
        eventually(lambda: len(receiver.got) == 3)
    headers, told = receiver.got[0]
    assert [each for _, each in receiver.got] == [told] * 3
    assert headers["X-Secret"] == "abc"
    assert told["tags"] == ["sensors/kitchen", "x", "_DEVICE_77_", "_SOCKETAPI_"]
    assert (told["device"]["id"], base64.b64decode(told["data"])) == (77, b"21.5")
    assert len(told["received"]) == len("2016-09-27T18:53:09.302915")


def test_a_wrong_option_is_named() -> None:
    """No URL, and no header."""
    for options, named in (
        (("--webhook", "ftp://x"), b"--webhook: 'ftp://x' is not allowed"),
        (("--webhook", "http://x", "--webhook-header", "abc"), b"--webhook-header: 'abc' is not allowed"),
    ):
        done = simulate("cloud", *options)
        assert (done.returncode, named in done.stderr) == (2, True)
