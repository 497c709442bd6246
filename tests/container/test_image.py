"""The image as users run it: read-only, as an ordinary user, on a volume, between a broker and a cloud."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.conftest import Container
from tests.container.engine import IMAGE, LIMITS, USER, Podman
from tests.harness import Client, Cloud, eventually, hung_disk
from tests.harness.hung_disk import HungDisk

pytestmark = [pytest.mark.root, pytest.mark.slow]

STOPPED_WITHIN = 10.0
"""Seconds after which engines kill."""


def test_it_takes_delivers_and_survives(
    container: Container, between: tuple[str, ...], cloud: Cloud, client: Client
) -> None:
    """What it acknowledged outlives kill -9 and the container; it stops in order, in time."""
    container.start(*between)
    container.wait_for("connected to the broker")
    for number in range(20):
        client.publish(f"hologram/out/a{number}", str(number), user={"id": f"m{number}"})
    eventually(lambda: "20 queued" in container.check(), what="all are taken")
    os.kill(container.state["Pid"], signal.SIGKILL)
    eventually(lambda: container.state["Status"] == "exited", what="it is gone")
    cloud.start()
    container.start(*between, "--init")  # under an init this time
    for number in range(20):
        assert client.wait_result(f"m{number}", 40)["state"] == "delivered"
    assert sorted(cloud.payloads(), key=int) == [str(number).encode() for number in range(20)]
    assert container.stop() < STOPPED_WITHIN
    assert container.state["ExitCode"] == 0
    container.start(*between)
    container.wait_for("0 messages are queued")
    assert container.stop() < STOPPED_WITHIN
    assert container.state["ExitCode"] == 0


def test_it_is_an_ordinary_user_and_its_log_is_standard_output(
    podman: Podman, container: Container, between: tuple[str, ...]
) -> None:
    """Nothing but the volume is written to; what fails is told on standard output too."""
    container.start(*between)
    container.wait_for("started")
    status = Path(f"/proc/{container.state['Pid']}/status").read_text()
    assert f"Uid:\t{USER}\t{USER}" in status
    assert "CapEff:\t0000000000000000" in status
    code, said = podman.once(*LIMITS)
    assert code == 78
    assert "HOLOGRAM_BRIDGE__CREDENTIALS__DEVICEKEY" in said
    code, said = podman.once(*LIMITS, "--env=HOLOGRAM_BRIDGE__MQTT__HOTS=x")
    assert code == 78
    assert "did you mean 'HOLOGRAM_BRIDGE__MQTT__HOST'" in said


def test_its_health_is_what_the_bridge_says(container: Container, between: tuple[str, ...]) -> None:
    """The engine knows the check; it passes, fails for one that hangs, and passes again."""
    container.start(*between)
    container.wait_for("connected to the broker")
    config = container.podman.inspect(IMAGE, "image")
    assert config["HealthCheck" if "HealthCheck" in config else "Healthcheck"]["Test"][-1] == "healthcheck"
    container.podman("healthcheck", "run", container.name)
    pid = container.state["Pid"]
    os.kill(pid, signal.SIGSTOP)
    assert "does not answer" in container.check("--timeout=2")
    os.kill(pid, signal.SIGCONT)
    container.podman("healthcheck", "run", container.name)


def test_a_start_is_not_cut_short(container: Container, between: tuple[str, ...], disk: HungDisk) -> None:
    """Healthy is what has the outbox and does not listen yet: an engine would begin it again and again."""
    folder = disk.path.parent
    folder.chmod(0o755)
    disk.path.chmod(0o777)
    disk.hang()
    mounts = (f"--volume={folder}:/disk", f"--volume={hung_disk.__file__}:/hung_disk.py:ro")
    program = ("/hung_disk.py", f"/disk/{disk.path.name}", str(disk.calls), "/usr/bin/hologram-bridge", "run")
    container.start(*between, *mounts, "--entrypoint=/usr/bin/python3", words=program)
    eventually(lambda: disk.waiting, 30, what="the start waits for the disk")
    assert "has the outbox and does not listen yet: it is starting" in container.check()
    container.podman("healthcheck", "run", container.name)
    disk.go_on()
    container.wait_for("connected to the broker")
    container.podman("healthcheck", "run", container.name)


def test_a_volume_of_somebody_else_is_told(podman: Podman, between: tuple[str, ...], tmp_path: Path) -> None:
    """With the folder, and who has to own it."""
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    code, said = podman.once(*between, f"--volume={folder}:/var/lib/hologram-bridge")
    assert code == 1
    assert "cannot use /var/lib/hologram-bridge/outbox.db.lock: Permission denied" in said
    assert f"user {USER}" in said
    os.chown(folder, USER, USER)
    code, said = podman.once(
        *between, f"--volume={folder}:/var/lib/hologram-bridge", words=["queue", "stats"]
    )
    assert "there is no outbox at /var/lib/hologram-bridge/outbox.db yet" in said


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[HungDisk]:
    """A disk whose syncs can be held."""
    folder = tmp_path / "disk"
    folder.mkdir()
    held = hung_disk.HungDisk(folder)
    yield held
    held.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB that belongs to the image's user."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = f"size=24m,uid={USER},gid={USER},mode=0750"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_volume_takes_nothing_and_recovers(
    container: Container, between: tuple[str, ...], cloud: Cloud, client: Client, small: Path
) -> None:
    """It goes on running, and healthy; with room it delivers what the broker kept."""
    cloud.start()
    container.volume = str(small)
    container.start(*between)
    container.wait_for("connected to the broker")
    others = small / "others"
    with others.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))
    client.publish("hologram/out/a", "x" * 100_000, user={"id": "m"}, wait=False)
    container.wait_for("full", 60)
    container.podman("healthcheck", "run", container.name)
    others.unlink()
    assert client.wait_result("m", 60)["state"] == "delivered"
