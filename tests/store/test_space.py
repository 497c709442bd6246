"""What there is room for, measured on a small disk of its own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.store.reserve import SIZE, Reserve
from bridge.store.space import SHARE, WATERMARK, Disk
from tests.store.box import Box

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system of its own needs root"),
]

DISK = 32 * 1024 * 1024
MARK = DISK // SHARE


class Place:
    """A store on a disk of 32 MB, of which others can take a part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.box = Box(folder / "outbox.db")
        self.reserve = Reserve(self.box.path, SIZE)
        self.disk = Disk(self.box.database, self.reserve)

    def leave(self, room: int) -> None:
        """Have others take all but ``room`` bytes, beside what the log still has to add to the file."""
        others = self.folder / "others"
        others.unlink(missing_ok=True)
        with others.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.disk.room() - room)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", tmp_path], check=True)
    found = Place(tmp_path)
    yield found
    found.box.database.close()
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_the_watermark_is_a_share_of_a_small_disk(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A quarter of it, and never more than what a large disk keeps; the reserve is an eighth at most."""
    assert place.disk.watermark == MARK < WATERMARK
    assert place.reserve.size == SIZE == DISK // 8
    with Box(tmp_path_factory.mktemp("large") / "outbox.db") as large:
        assert Disk(large.database, Reserve(large.path)).watermark == WATERMARK


def test_a_start_holds_the_reserve_only_above_the_watermark(place: Place) -> None:
    """It never takes the room that results need."""
    place.leave(MARK - 4096)
    assert not place.disk.hold()
    assert not place.reserve.held
    place.leave(MARK + SIZE)
    assert place.disk.hold()
    assert place.reserve.held


def test_results_have_room_down_to_a_quarter_of_the_watermark(place: Place) -> None:
    """The reserve counts for them; after there was none, there has to be twice as much."""
    for free, first, again in ((MARK // 2 + 65536, True, True), (MARK // 4 + 65536, True, False)):
        place.leave(free)
        assert place.disk.has_room_for_results() is first
        assert place.disk.has_room_for_results(again=True) is again
    place.leave(SIZE)
    assert place.reserve.hold()
    place.leave(0)
    assert place.disk.has_room_for_results(again=True), "the reserve is there for that"
    assert place.disk.release()
    assert not place.disk.release(), "once"


def test_it_recovers_with_room_for_the_message_that_waits(place: Place) -> None:
    """The message needs its size twice; the reserve and a distance to the watermark are needed too."""
    size = 1_000_000
    place.leave(MARK + SIZE + MARK // 4 + 2 * size - 65536)
    assert not place.disk.recovers(size)
    assert place.disk.recovers(0)
    assert place.reserve.held


def test_deleted_pages_are_room(place: Place) -> None:
    """What was sent leaves free pages in the file, which the next results use."""
    before = place.disk.room()
    with place.box as box:
        box.outbox.reports.add("topic", bytes(3_000_000))
    with_report = place.disk.room()
    assert with_report < before - 2_900_000
    with place.box as box:
        box.outbox.reports.sent([box.outbox.reports.after(0, 1)[0].seq])
    assert place.disk.room() > with_report + 2_900_000
