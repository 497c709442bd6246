"""Fills a small disk again and again, each time otherwise: ``python -m tests.store.filling FOLDER TIMES``.

Prints one line for each time that the outbox could not record a result on the full disk.
"""

import contextlib
import os
import random
import sys
from functools import partial
from pathlib import Path

from bridge.store.reserve import SIZE
from tests.store.test_writer import Rig

RESULTS = 600
"""More than the log takes before it is copied into the file."""


def fill(rig: Rig, chance: random.Random, others: Path) -> None:
    """Bring messages until there is no room; in half of the cases others take what is left before that."""
    payload = chance.choice([200, 20_000, 100_000, 900_000, 3_000_000])
    burst = chance.choice([1, 5, 50])
    left = chance.randrange(16_000_000) if chance.random() < 0.5 else 0
    while not rig.writer.full:
        for _ in range(burst):
            rig.put(chance.randbytes(8).hex(), [], chance.randbytes(chance.randrange(1, 2 * payload)))
        rig.turns.turn()
        if 0 < free(others) < left and not others.exists():
            take_all(others)


def take_all(others: Path) -> None:
    """Have others take what is free, to the last byte."""
    taken = others.stat().st_size if others.exists() else 0
    with others.open("r+b" if others.exists() else "wb") as file, contextlib.suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, taken + free(others))


def free(place: Path) -> int:
    """Return the bytes that are free on the disk of ``place``."""
    disk = os.statvfs(place.parent)
    return disk.f_bavail * disk.f_frsize


def drains(folder: Path, seed: int) -> bool:
    """Fill the disk; return whether results are recorded then, as many as come."""
    for file in folder.iterdir():
        file.unlink()
    rig = Rig(folder / "outbox.db", reserve=SIZE)
    fill(rig, random.Random(seed), folder / "others")
    greedy = random.Random(seed).random() < 0.5
    done: list[object] = []
    for number in range(RESULTS):
        if greedy:
            take_all(folder / "others")
        if number % (RESULTS // 5) == 0:
            rig.turns.tick()
        rig.writer.settle(partial(rig.box.outbox.set_meta, "paused", number), done.append)
        rig.turns.turn()
    rig.box.database.close()
    return len(done) == RESULTS


def main(folder: str, times: str) -> None:
    """Do it so many times."""
    for seed in range(int(times)):
        if not drains(Path(folder), seed):
            print(f"nothing can be recorded: seed {seed}")
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
