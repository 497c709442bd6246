"""``hologram-bridge healthcheck``, by which whoever runs a container restarts a bridge that hangs."""

import json
import os
import signal
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.harness import BridgeProcess, Client, Cloud, eventually
from tests.harness.hung_disk import HungDisk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[HungDisk]:
    found = HungDisk(tmp_path)
    yield found
    found.close()


def check(bridge: BridgeProcess) -> CompletedProcess[str]:
    """Run it with the patience that a test has."""
    return bridge.run("healthcheck", "--timeout", "2")


def test_it_tells_a_bridge_that_works_from_one_that_hangs_or_is_gone(
    bridge: BridgeProcess, cloud: Cloud, disk: HungDisk
) -> None:
    """A start is not cut short, an idle bridge is healthy; one that hangs and one that is gone are not."""
    assert (gone := check(bridge)).returncode == 1
    assert gone.stderr == f"hologram-bridge: no hologram-bridge runs on {bridge.store}; look into its log\n"
    bridge.wrap = disk.wrap
    disk.hang()
    bridge.start(wait=False)
    eventually(lambda: disk.waiting, 20, what="the start waits for the disk")
    assert (starting := check(bridge)).returncode == 0
    assert "has the outbox and does not listen yet: it is starting, or stopping" in starting.stdout
    disk.go_on()
    bridge.wait_online()
    assert (idle := check(bridge)).returncode == 0
    assert idle.stdout == "online; 0 queued\n"
    os.kill(bridge.pid, signal.SIGSTOP)
    assert (hung := check(bridge)).returncode == 1
    assert hung.stderr.startswith("hologram-bridge: the daemon at ")
    assert "does not answer: timed out" in hung.stderr
    os.kill(bridge.pid, signal.SIGCONT)
    eventually(lambda: check(bridge).returncode == 0, what="it is healthy again")
    bridge.kill()
    assert check(bridge).returncode == 1


@pytest.mark.slow
def test_a_part_without_progress_fails_it(bridge: BridgeProcess, client: Client, disk: HungDisk) -> None:
    """A disk that hangs for longer than the watchdog's patience, while the bridge answers as ever."""
    bridge.wrap = disk.wrap
    bridge.start()
    disk.hang()
    client.publish("hologram/out/a", "x", wait=False)
    eventually(lambda: check(bridge).returncode == 1, 150, what="it is not healthy")
    assert "no progress of: writer" in check(bridge).stderr
    disk.go_on()
    eventually(lambda: check(bridge).returncode == 0, what="it is healthy again")


class _Stuck(socketserver.StreamRequestHandler):
    """A daemon whose commits hang."""

    def handle(self) -> None:
        assert json.loads(self.rfile.readline()) == {"command": "healthcheck"}
        self.wfile.write(json.dumps({"stuck": ["writer"], "status": "online"}).encode() + b"\n")


def test_with_the_socket_in_the_environment_it_reads_no_configuration(
    bridge: BridgeProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs every minute: of its time most would go into that. What the daemon names as stuck is told."""
    control = tmp_path / "control.sock"
    monkeypatch.setenv("HOLOGRAM_BRIDGE__CONTROL__PATH", str(control))
    bridge.settings = {"none": "of this is a configuration"}
    with socketserver.UnixStreamServer(str(control), _Stuck) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        found = check(bridge)
        server.shutdown()
        thread.join()
    assert found.returncode == 1
    assert found.stderr == "hologram-bridge: no progress of: writer; restart the bridge\n"


@pytest.mark.parametrize("timeout", ["0", "soon"])
def test_a_timeout_that_is_none_is_refused(bridge: BridgeProcess, timeout: str) -> None:
    """With what is allowed."""
    found = bridge.run("healthcheck", "--timeout", timeout)
    assert found.returncode == 2
    assert f"'{timeout}' is not allowed; allowed is a number of seconds from 0.1 to 600" in found.stderr
