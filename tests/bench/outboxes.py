"""Filled outboxes, made through the bridge's own store by a process of their own."""

import subprocess
import sys
from itertools import islice
from pathlib import Path

from bridge.adapters.system.loop_time import read_clock
from bridge.core.messages import CLOUD, Lane, Message, Priority
from bridge.store.database import Database, boot_id
from bridge.store.outbox import Limits, Outbox
from tests.bench.rig import PAYLOAD

BATCH = 10_000
"""Messages in one transaction."""


def filled(folder: Path, messages: int, topics: int) -> Path:
    """Return an outbox that holds so many messages over so many topics."""
    path = folder / f"{messages}-{topics}.db"
    if not path.exists():
        command = [sys.executable, "-m", "tests.bench.outboxes", str(path), str(messages), str(topics)]
        subprocess.run(command, check=True)
    return path


def fill(path: Path, messages: int, topics: int) -> None:
    """Put the messages in as intake would, many in one transaction."""
    database = Database(path)
    outbox = Outbox(database, boot_id(), read_clock, Limits())
    lanes = [Lane(CLOUD, (f"bench/{number:05}",), Priority.NORMAL) for number in range(topics)]
    coming = (
        Message(f"filled-{number:x}", False, lanes[number % topics], PAYLOAD) for number in range(messages)
    )
    while batch := list(islice(coming, BATCH)):
        database.begin()
        for message in batch:
            outbox.accept(message)
        outbox.flush()
        database.commit()
    database.close()


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
