"""A store on a real file, with a clock that tests set."""

import itertools
from pathlib import Path
from typing import Self

from bridge.core.messages import CLOUD, Endpoint, Lane, Message, Priority, Queued, Traffic
from bridge.store.database import Database
from bridge.store.files import open_outbox
from bridge.store.outbox import Acceptance, Limits
from bridge.store.receipts import Receipt
from bridge.store.reserve import Reserve
from tests.doubles.time import NOON, Clock

__all__ = ["DAY", "NOON", "Box", "Clock", "message"]

DAY = 86400.0
_numbers = itertools.count(1)


class Box:
    """An outbox that can be closed and opened again, in the same boot or a later one."""

    def __init__(
        self, path: Path, *, limits: Limits | None = None, clock: Clock | None = None, boot: str = "boot-1"
    ) -> None:
        self.path = path
        self.clock = clock or Clock()
        self.limits = limits or Limits()
        self.boot = boot
        self.open()

    def open(self) -> None:
        self.database: Database
        self.database, self.outbox = open_outbox(
            self.path, Reserve(self.path), self.boot, self.clock, self.limits
        )

    def reopen(self, *, boot: str | None = None, clock: Clock | None = None) -> None:
        self.database.close()
        self.boot = boot or self.boot
        self.clock = clock or self.clock
        self.open()

    def __enter__(self) -> Self:
        self.database.begin()
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        """Commit as the writer does, or roll back where the block raised."""
        if kind is None:
            self.outbox.flush()
            self.database.commit()
        else:
            self.database.rollback()
            self.outbox.reset()

    def put(self, message: Message, receipt: Receipt | None = None) -> Acceptance:
        with self:
            return self.outbox.accept(message, receipt)

    def sweep(self) -> float:
        with self:
            return self.outbox.sweep()

    def finish(self, message_id: str) -> None:
        """End the message called ``message_id`` as the uplink does."""
        queued = next(item for item in self.all() if item.id == message_id)
        with self:
            self.outbox.remove(queued)

    def defer(self, message_id: str, delay: float) -> None:
        queued = next(item for item in self.all() if item.id == message_id)
        with self:
            self.outbox.defer(queued, queued.attempts + 1, Traffic(10, 5), delay)

    def all(self) -> list[Queued]:
        return self.outbox.page(0, 1 << 60, 1_000_000)

    def ids(self) -> list[str]:
        return [queued.id for queued in self.all()]

    def heads(self, endpoint: Endpoint = CLOUD, limit: int = 100) -> list[str]:
        return [queued.id for queued in self.outbox.heads(endpoint, limit, ())]

    def due(self) -> list[str]:
        return [queued.id for queued in self.outbox.due(100)]

    def lanes(self) -> int:
        count: int = self.database.execute("lane_count").fetchone()[0]
        return count


def message(
    name: str | None = None,
    *,
    topic: str = "t",
    payload: bytes = b"x",
    priority: Priority = Priority.NORMAL,
    endpoint: Endpoint = CLOUD,
    lifetime: float | None = None,
    idempotent: bool = False,
    max_attempts: int | None = None,
) -> Message:
    lane = Lane(endpoint, (topic,) if topic else (), priority)
    return Message(name or f"m{next(_numbers)}", idempotent, lane, payload, lifetime, max_attempts)
