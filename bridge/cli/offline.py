"""The ``queue`` commands without a daemon; they hold the store's lock, so no daemon can start meanwhile."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.adapters.system.loop_time import read_clock
from bridge.core.messages import Result
from bridge.core.time import Timer
from bridge.daemon.configure import limits
from bridge.errors import OperationError, StoreFull, StoreInUse
from bridge.flow.health.figures import Health, NotSending
from bridge.flow.message import set_aside
from bridge.flow.message.controls import PAUSED, WHILE_PAUSED, drop, purge_batch
from bridge.flow.message.results import Results
from bridge.flow.message.topics import Names
from bridge.flow.notices import SILENT
from bridge.settings import Settings
from bridge.store.database import translate
from bridge.store.journal import Journal
from bridge.store.writer import PACE


class _NoTime:
    """A `Time` that runs scheduled calls at once, and does not wait."""

    def __init__(self) -> None:
        self.now = read_clock

    def knows(self) -> bool:
        """Return False: nothing is sent here that would need the time."""
        return False

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        callback(*args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Run a pause between transactions at once; drop later calls: the command ends before them."""
        if delay <= PACE:
            callback(*args)
        return self

    def cancel(self) -> None:
        """Do nothing: the call has run, or never runs."""

    async def sleep(self, seconds: float) -> None:
        """Return at once."""


def act(settings: Settings, store: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Carry ``request`` out on the file; raises `StoreError`."""
    try:
        with Journal.open(store, limits(settings), _NoTime()) as journal:
            return _Offline(settings, journal).answer(request)
    except StoreInUse:
        raise StoreInUse(
            f"a daemon runs on {store} but does not listen where it is looked for; is control.path the same, "
            "and RUNTIME_DIRECTORY (under systemd it is /run/hologram-bridge)?"
        ) from None
    except sqlite3.Error as exc:
        raise translate(exc, store) from exc


class _Offline:
    def __init__(self, settings: Settings, journal: Journal) -> None:
        names = Names(settings.mqtt.prefix)
        self._journal = journal
        self.outbox, self.writer = journal.outbox, journal.writer
        self.results = Results(journal, names, SILENT)
        self.paused = bool(self.outbox.meta(PAUSED))

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        command = request["command"]
        if command == "stats":
            health = Health(self._journal)
            health.sending = NotSending(self.paused)
            return {**health.figures(), "state": "stopped", "uptime": None, "memory": None}
        if command == "list":
            return {"messages": self.outbox.listing(0, request["limit"])}
        if command == "retry":
            if self.paused:
                raise OperationError(WHILE_PAUSED)
            if not self._recorded(self.outbox.wake_all):
                raise StoreFull("the disk is full, too full to note that: make room, or start the daemon")
            return {"description": "everything is tried when the daemon starts"}
        if command == "set-aside":
            return self._set_aside(request["action"], request["number"], request["limit"])
        return {"purged": self._purge()}

    def _set_aside(self, action: str, number: int | None, limit: int) -> dict[str, Any]:
        if action in ("drop", "retry"):
            times: list[int] = []
            self.writer.write(set_aside.change(self.outbox, action, number), times.append, frees=True)
            if not times:
                raise StoreFull("the disk is full, too full for that: make room, or start the daemon")
            return set_aside.changed(action, number, times[0])
        if number is None:
            return set_aside.listing(self.outbox, limit)
        return set_aside.shown(self.outbox, number)

    def _purge(self) -> int:
        number, last = 0, self.outbox.last_seq()
        while page := self.outbox.page(0, last, purge_batch(self.writer)):

            def operation(victims: Any = page) -> list[Result]:
                return [drop(self.outbox, self.results, queued) for queued in victims]

            if not self._recorded(operation):
                raise StoreFull(
                    f"the disk is full: {number} messages are purged, and the results of more have no room; "
                    "make some, or start the daemon, which sends results away"
                )
            number += len(page)
        return number

    def _recorded(self, operation: Callable[[], object]) -> bool:
        """Return whether there was room for ``operation``; one that waits for room is never executed."""
        done: list[object] = []
        self.writer.write(operation, done.append)
        return bool(done)
