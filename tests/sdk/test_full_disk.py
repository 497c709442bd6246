"""Scripts on a disk that others have filled: the store starts and sends as the daemon's does."""

from pathlib import Path

from bridge.store.reserve import SIZE
from tests.harness import Keeper, free_port
from tests.harness.small_disk import KeptDisk
from tests.sdk.scripts import Scripts
from tests.sim.harness import running

OPENS = """
import sys
from bridge.sdk import HologramCloud, HologramError
cloud = HologramCloud({"devicekey": "abcd1234"}, enable_inbound=False, outbox=sys.argv[1])
"""

KEEPS = f"""{OPENS}
for number in range(10):
    assert cloud.sendMessage(f"{{number}}", timeout=0.2).kept
"""

SENDS = f"""{OPENS}
print(cloud._post().drain(30))
try:
    cloud.sendMessage("new", timeout=5)
except HologramError as exc:
    print(exc)
"""


def test_a_script_starts_and_sends_on_a_full_disk(scripts: Scripts, keeper: Keeper, tmp_path: Path) -> None:
    """What an earlier run kept is sent though others took the last byte; nothing new is taken meanwhile."""
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = KeptDisk(keeper, folder)
    scripts.wrap = disk.wrap
    outbox = str(folder / "outbox.db")
    scripts.cloud(free_port())
    scripts.run(KEEPS, outbox)
    for _ in range(2):
        disk.fill()
        assert "opened with the room of its reserve" in scripts.run(OPENS, outbox).stderr
    disk.fill()
    with running() as sim:
        scripts.cloud(sim.cloud.port)
        said = scripts.run(SENDS, outbox).stdout
        assert said.startswith("True\nthe disk is full: the message is not taken"), said
        assert sorted(record.request.data or b"" for record in sim.records) == [b"%d" % n for n in range(10)]


def test_a_script_leaves_room_for_the_next_one(scripts: Scripts, tmp_path: Path) -> None:
    """As with the daemon: what is held back stays held at the end, or the next start finds none."""
    outbox = tmp_path / "outbox.db"
    scripts.cloud(free_port())
    scripts.run(KEEPS, str(outbox))
    assert Path(f"{outbox}.reserve").stat().st_size == SIZE
