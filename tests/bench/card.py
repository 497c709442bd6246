"""Bytes that reach the card: ext4 on a block device of our own, as the kernel counts them. Needs root."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.figures import Row
from tests.bench.peers import Publishers
from tests.bench.rig import PAYLOAD, Bridge, Mosquitto, Rig
from tests.bench.throughput import shipped_settings

SIZE = 256 * 1024 * 1024
WARM = 60
"""Messages before the counting: the log has its size then, and is written again from its start."""

IDLE = 900.0
"""Seconds of an idle hour that are measured."""


def card(quick: bool) -> list[Row]:
    """Kilobytes (10^3) that the outbox writes a message, and with the broker in an idle hour."""
    if os.geteuid() != 0:
        return [Row("card", "bytes to a block device", note="needs root for a loop device")]
    rows = []
    for rate, seconds, aim in ((1, 40 if quick else 180, 25), (50, 10 if quick else 60, 15)):
        with Rig() as rig, _device(rig.folder) as (device, folder):
            broker, cloud = rig.broker(), rig.cloud()
            with Bridge(folder, broker.port, cloud.port, parallel=4).wait_online():
                written, syncs = _messages(broker, device, rate, seconds)
        what = f"outbox, {rate} a second, a message"
        rows.append(Row("card", what, written, "kB", aim=f"<= {aim} kB", met=written <= aim))
        rows.append(Row("card", what, syncs, "syncs"))
    with Rig() as rig, _device(rig.folder) as (device, folder):
        settings = (*shipped_settings(), f"persistence_location {folder}/")
        with Mosquitto(folder, settings) as broker, Bridge(folder, broker.port, rig.dead_cloud()) as bridge:
            bridge.wait_online()
            time.sleep(10)
            idle = _idle(device, 60.0 if quick else IDLE)
    return [*rows, Row("card", "outbox and broker, idle", idle, "MB/h", aim="< 0.3 MB/h", met=idle < 0.3)]


def _messages(broker: Mosquitto, device: str, rate: int, seconds: int) -> tuple[float, float]:
    """Return the kilobytes and the syncs a message."""
    publishers = Publishers(broker, "card", ["hologram/out/sensors/kitchen"])
    for _ in range(WARM):
        publishers.feed(1, PAYLOAD[:24])
        time.sleep(0.05)
    time.sleep(3)
    before, synced, started = _written(device), _syncs(device), time.monotonic()
    for number in range(rate * seconds):
        publishers.feed(1, PAYLOAD[:24])
        time.sleep(max(0.0, started + (number + 1) / rate - time.monotonic()))
    written, syncs = _written(device) - before, _syncs(device) - synced
    publishers.finish()
    return written / (rate * seconds) / 1e3, syncs / (rate * seconds)


def _idle(device: str, seconds: float) -> float:
    before = _written(device)
    time.sleep(seconds)
    return (_written(device) - before) / seconds * 3600 / 1e6


def _written(device: str) -> int:
    """Return the bytes written to ``device`` so far [kernel, block/stat: field 7, sectors of 512 bytes]."""
    return int(Path("/sys/block", Path(device).name, "stat").read_text().split()[6]) * 512


def _syncs(device: str) -> int:
    """Return the flushes of ``device`` so far [kernel, block/stat: field 16, since 5.5]."""
    return int(Path("/sys/block", Path(device).name, "stat").read_text().split()[15])


@contextmanager
def _device(folder: Path) -> Iterator[tuple[str, Path]]:
    """Make a block device with ext4; yield its name and where it is mounted."""
    image, place = folder / "card.img", folder / "card"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    shown = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=True)
    device = shown.stdout.strip()
    try:
        options = "lazy_itable_init=0,lazy_journal_init=0"  # nothing is written later by the kernel itself
        subprocess.run(["mkfs.ext4", "-q", "-E", options, device], check=True)
        subprocess.run(["mount", device, place], check=True)
        try:
            yield device, place
        finally:
            subprocess.run(["umount", place], check=True)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
