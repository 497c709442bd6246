"""The bridge as systemd sees it: ready, reloading, stopping, how it stands, and whether it lives."""

import asyncio
from collections.abc import Callable, Iterable

from bridge.adapters.system.loop_time import LoopTime
from bridge.adapters.system.systemd import Notifier
from bridge.core.progress import Part
from bridge.core.visible import visible
from bridge.flow.health.status_line import StatusLine
from bridge.flow.health.watchdog import Watchdog


class Service:
    """Does nothing where systemd did not start us."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        notifier: Notifier,
        line: Callable[[], str],
        parts: Iterable[Part],
        on_stuck: Callable[[str], None],
    ) -> None:
        """``line`` returns how the bridge stands, ``parts`` are watched, ``on_stuck`` hears what is stuck."""
        self._notifier = notifier
        # a line end in what others told would begin a notice of its own [sd_notify(3)]
        self._status_line = StatusLine(lambda: visible(line()), notifier.status, LoopTime(loop))
        self._on_stuck = on_stuck
        self._watchdog: Watchdog | None = None
        if notifier.watchdog is not None:
            self._watchdog = Watchdog(
                parts,
                notifier.alive,
                within=notifier.watchdog,
                call_later=loop.call_later,
                time=loop.time,
                on_stuck=self._stuck,
            )

    def ready(self) -> None:
        """Outbox, listener and workers run; an absent broker or cloud is told, and waited for."""
        if not self._notifier.wanted:
            return
        self._notifier.ready()
        self._status_line.start()
        if self._watchdog:
            self._watchdog.start()

    def reload(self, work: Callable[[], None]) -> None:
        """Do ``work``, which reads the configuration again."""
        self._notifier.reloading()
        try:
            work()
        finally:
            self._notifier.ready()

    def stopping(self) -> None:
        """The end has begun."""
        self._notifier.stopping()

    def _stuck(self, text: str) -> None:
        self._status_line.fault = text
        self._on_stuck(text)
