"""A disk that fails: the bridge ends at once, says which disk and what of, and is started again."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import BridgeProcess, Client, eventually
from tests.harness.bridge import PROGRAM
from tests.harness.hung_disk import FailingDisk
from tests.harness.process import ROOT

WORDS = {
    errno.EIO: "Input/output error",
    errno.EROFS: "Read-only file system",
    errno.EPERM: "Operation not permitted",
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FailingDisk]:
    found = FailingDisk(tmp_path)
    yield found
    found.close()


def ended(bridge: BridgeProcess, client: Client) -> str:
    """Wait for the bridge to end by a failure of the disk; return the line that says so."""
    assert bridge.wait(20) == 1
    said = bridge.said(since_start=True)
    assert "Traceback" not in said
    (line,) = [each for each in said.splitlines() if "CRITICAL" in each or "stopping because" in each]
    client.wait_for(
        lambda: (last := client.last("hologram/bridge/state")) and last.payload == b"offline",
        what="its state is offline",
    )
    assert client.health()["state"] == "failed"
    assert client.health()["last_error"]["description"] in line
    return line


@pytest.mark.parametrize("error", WORDS)
def test_a_disk_that_takes_no_write(
    bridge: BridgeProcess, client: Client, disk: FailingDisk, error: int
) -> None:
    """An error of the card, or a file system that was made read-only, is not "the disk is full"."""
    bridge.wrap = disk.wrap
    bridge.start()
    client.publish("hologram/out/a", "before", user={"id": "before"})
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 1, what="it is taken")
    disk.fail_writes(error)
    client.publish("hologram/out/a", "meanwhile", user={"id": "meanwhile"}, wait=False)
    line = ended(bridge, client)
    assert WORDS[error] in line
    assert str(bridge.store) in line
    assert "full" not in line
    disk.mend()
    bridge.start()
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 2, what="both are there")


def test_a_quota_is_a_disk_that_is_full(bridge: BridgeProcess, client: Client, disk: FailingDisk) -> None:
    """It does not end, and takes up what waits when there is room."""
    bridge.wrap = disk.wrap
    bridge.start()
    disk.fail_writes(errno.EDQUOT)
    client.publish("hologram/out/a", "meanwhile", user={"id": "meanwhile"}, wait=False)
    client.wait_health("store_full", 20)
    disk.mend()
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 1, 20, what="it is taken")
    assert bridge.stop() == 0


def test_a_disk_that_cannot_be_read(bridge: BridgeProcess, client: Client, disk: FailingDisk) -> None:
    """It ends as well; the next start finds the disk well, and the outbox whole."""
    bridge.wrap = disk.wrap
    bridge.start()
    client.flood((f"hologram/out/t{each}", "x" * 5000) for each in range(1000))  # more than its cache holds
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 1000, 30, what="all are taken")
    disk.fail_reads(errno.EIO)
    client.publish("hologram/queue/set", "purge", wait=False)
    assert f"{bridge.store} is damaged, or the disk " in ended(bridge, client)
    disk.mend()
    bridge.start()
    assert "1000 messages are queued" in bridge.said(since_start=True)
    assert "DAMAGED" not in bridge.said()


def test_a_disk_that_fails_at_the_start(bridge: BridgeProcess, client: Client, disk: FailingDisk) -> None:
    """One line on stderr names disk and error, and the exit code is 1."""
    bridge.start()
    assert bridge.stop() == 0
    bridge.wrap = disk.wrap
    disk.fail_writes(errno.EIO)
    bridge.start(wait=False)
    assert bridge.wait(20) == 1
    said = bridge.said(since_start=True).splitlines()
    assert [each for each in said if "Input/output error" in each and str(bridge.store) in each], said
    assert not [each for each in said if "Traceback" in each]


@pytest.mark.parametrize("part", ["folder", "file", "log", "other"])
def test_a_file_that_is_gone(bridge: BridgeProcess, client: Client, part: str) -> None:
    """Nothing is acknowledged that would go into a file that nobody finds any more."""
    bridge.configure(control={"path": str(bridge.folder / "control.sock")})
    bridge.start()
    client.publish("hologram/out/a", "before", user={"id": "before"})
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 1, what="it is taken")
    if part == "folder":
        shutil.rmtree(bridge.store.parent)
    elif part == "file":
        bridge.store.unlink()
    elif part == "log":
        Path(f"{bridge.store}-wal").unlink()
    else:
        shutil.copyfile(bridge.store, bridge.folder / "other.db")
        (bridge.folder / "other.db").rename(bridge.store)
    client.publish("hologram/out/a", "meanwhile", user={"id": "meanwhile"}, wait=False)
    assert "removed or replaced" in ended(bridge, client)
    bridge.start()
    assert "meanwhile" in str(bridge.queue("list")), "the broker sends again what was not acknowledged"


def test_a_queue_command_says_it_too(bridge: BridgeProcess, client: Client, disk: FailingDisk) -> None:
    """Without a daemon, on the file: one line on stderr names disk and error."""
    bridge.start()
    client.publish("hologram/out/a", "before")
    assert bridge.stop() == 0
    disk.fail_writes(errno.EIO)
    command = [*disk.wrap, *PROGRAM, "queue", "purge", "-c", str(bridge.config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Input/output error" in line
    assert str(bridge.store) in line


def test_the_sdk_says_it_too(tmp_path: Path, disk: FailingDisk) -> None:
    """A script gets an error of the SDK's, and one line in the log."""
    script = (
        "from bridge.sdk import HologramCloud\n"
        "from bridge.sdk.engine.errors import HologramError\n"
        "cloud = HologramCloud({'devicekey': 'abcd1234'})\n"
        "try: print(cloud.sendMessage('x'))\n"
        "except HologramError as error: print('error', error)\n"
    )
    disk.fail_writes(errno.EIO)
    done = subprocess.run(
        [*disk.wrap, sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "HOLOGRAM_SDK_OUTBOX": str(tmp_path / "sdk.db")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Input/output error" in done.stdout, done
    assert "Traceback" not in done.stderr
