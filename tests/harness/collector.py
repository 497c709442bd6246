"""The collector as users run it, and the cloud's webhooks to it."""

import base64
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bridge.batch import Reading, encode
from tests.harness.process import ROOT, Keeper, Process, eventually, free_port

SECRET = "the-secret-of-tests"
RECEIVED = "2026-09-27T18:53:09.302915"
"""When the cloud received a message; in Unix seconds it is `RECEIVED_AT`."""
RECEIVED_AT = 1790535189


class Reply(NamedTuple):
    """The answer to a request."""

    status: int
    text: str

    def json(self) -> Any:
        """Return it, read as JSON."""
        return json.loads(self.text)


class CollectorProcess(Process):
    """A collector; ``settings`` is its configuration as it will be written at `start`."""

    def __init__(self, keeper: Keeper, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("collector", folder / "collector.log")
        self.port = free_port()
        self.config = folder / "collect.hjson"
        self.settings: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "secret": {"value": SECRET},
            **settings,
        }
        keeper.keep(self)

    def start(self, *, wait: bool = True) -> None:
        """Start it; with ``wait`` until it is connected."""
        self.write_config()
        self.launch([sys.executable, "-m", "bridge", "collect", "-c", str(self.config)])
        eventually(self.listens, 15, what="the collector listens")
        if wait:
            self.wait_connected()

    def write_config(self) -> None:
        """Write the configuration, readable by its owner alone."""
        self.config.touch(mode=0o600)
        self.config.write_text(json.dumps(self.settings))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the program on this configuration, to its end."""
        self.write_config()
        command = [sys.executable, "-m", "bridge", *arguments, "-c", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)

    def listens(self) -> bool:
        """Whether it answers."""
        assert self.running, f"the collector ended: {self.said(since_start=True)}"
        try:
            self.get("/metrics")
        except OSError:
            return False
        return True

    def wait_connected(self, timeout: float = 15.0) -> None:
        """Wait until it is connected to its broker or stream."""
        eventually(lambda: self.get("/health").status == 200, timeout, what="the collector is connected")

    def get(self, path: str) -> Reply:
        """Ask for a page."""
        return self.ask("GET", path)

    def post(self, body: bytes | Mapping[str, Any], path: str = "/", **headers: str) -> Reply:
        """Send a body, or the JSON of a webhook; ``headers`` have underscores for hyphens."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"X-Secret": SECRET} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, raw, given)

    def timed(self, body: bytes | Mapping[str, Any]) -> tuple[Reply, float]:
        """Send a body as `post` does; return the seconds that the answer took too."""
        begun = time.monotonic()
        return self.post(body), time.monotonic() - begun

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Make one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, answer.read().decode())
        finally:
            connection.close()


def webhook(
    data: bytes, /, *topics: str, device: object = 5678, received: str = RECEIVED, **changes: object
) -> dict[str, Any]:
    """Return the JSON of a webhook as it is documented, with the cloud's own topics."""
    return {
        "received": received,
        "authtype": "psk",
        "tags": [*topics, f"_DEVICE_{device}_", "_SOCKETAPI_"],
        "device": {"id": device, "name": "pump house"},
        "errorcode": 0,
        "source": "abcd",
        "timestamp": "0",
        "data": base64.b64encode(data).decode(),
        **changes,
    }


def batch(batch_id: str, number: int, topic: str = "sensors/kitchen", at: float | None = 1.79e9) -> bytes:
    """Return a batch of ``number`` readings, a second apart."""
    return encode(
        batch_id,
        [Reading((topic,), None if at is None else at + each, b"%d" % each, each) for each in range(number)],
    )
