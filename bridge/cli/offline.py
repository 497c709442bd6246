"""The ``queue`` commands without a daemon: the store's lock is held meanwhile, so that none can start."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.compose import limits
from bridge.core.messages import Result
from bridge.errors import StoreInUse
from bridge.flow.controls import PAUSED, PURGE_BATCH, drop
from bridge.flow.health import Health
from bridge.flow.names import Names
from bridge.flow.publisher import Publisher
from bridge.flow.results import Results
from bridge.flow.switch import Switch
from bridge.flow.uplink import Uplink
from bridge.settings import Settings
from bridge.store.clock import read_clock
from bridge.store.database import Lock, boot_id
from bridge.store.files import open_store
from bridge.store.outbox import Outbox
from bridge.store.reserve import Reserve
from bridge.store.writer import Writer


class _NoLoop:
    """Runs what is to run soon at once; nothing waits here."""

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        callback(*args)

    def call_later(self, _delay: float, _callback: Callable[..., object], *_args: object) -> None:
        """Never: the command ends first."""


def act(settings: Settings, store: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Carry ``request`` out on the file; raises `StoreError`."""
    try:
        lock = Lock(store)
    except StoreInUse:
        raise StoreInUse(
            f"a daemon runs on {store} but does not listen where it is looked for; is control.path the same, "
            "and RUNTIME_DIRECTORY (under systemd it is /run/hologram-bridge)?"
        ) from None
    database = open_store(store)
    try:
        return _Offline(settings, database).answer(request)
    finally:
        database.close()
        lock.release()


class _Offline:
    def __init__(self, settings: Settings, database: Any) -> None:
        loop, names = _NoLoop(), Names(settings.mqtt.prefix)
        self.outbox = Outbox(database, boot_id(), read_clock, limits(settings))
        self.writer = Writer(
            database, self.outbox, Reserve(settings.store.path),
            call_soon=loop.call_soon, call_later=loop.call_later, on_full=lambda _: None,
        )  # fmt: skip
        publisher = Publisher(
            self.outbox, self.writer, names, read_clock, call_soon=loop.call_soon, call_later=loop.call_later
        )
        self.results = Results(self.outbox, publisher, names, read_clock)
        self.uplink = Uplink(
            self.outbox, self.writer, self.results, Switch({}, {}, identified=lambda: False),
            slots=0, clock=read_clock, timer=loop, on_condition=lambda *_: None,
            on_event=lambda *_, **__: None,
        )  # fmt: skip
        self.uplink.paused = bool(self.outbox.meta(PAUSED))

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        command = request["command"]
        if command == "stats":
            figures = Health(self.outbox, self.writer, self.uplink, read_clock).figures()
            return {**figures, "state": "stopped", "uptime": None, "memory": None}
        if command == "list":
            return {"messages": self.outbox.listing(0, request["limit"])}
        if command == "retry":
            self.writer.settle(self.outbox.wake_all)
            return {"description": "everything is tried when the daemon starts"}
        return {"purged": self._purge()}

    def _purge(self) -> int:
        number, last = 0, self.outbox.last_seq()
        while page := self.outbox.page(0, last, PURGE_BATCH):

            def operation(victims: Any = page) -> list[Result]:
                return [drop(self.outbox, self.results, queued) for queued in victims]

            self.writer.settle(operation)
            number += len(page)
        return number
