"""The bridge's notifications to systemd: ready, reloading, stopping, the status line; and the watchdog."""

import asyncio
from collections.abc import Callable, Iterable

from bridge.adapters.system.loop_time import LoopTime
from bridge.adapters.system.systemd import Notifier
from bridge.core.progress import Part
from bridge.core.visible import visible
from bridge.flow.health.status_line import StatusLine
from bridge.flow.health.watchdog import Watchdog

UNWATCHED = 120.0
"""Seconds in place of systemd's `WatchdogSec=` where it does not watch; the parts are checked twice in it."""


class Service:
    """Notifies systemd, where it runs, and watches the parts."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        notifier: Notifier,
        line: Callable[[], str],
        parts: Iterable[Part],
        on_stuck: Callable[[str], None],
    ) -> None:
        """``line`` returns the status, ``parts`` are watched, ``on_stuck`` gets the fault of a stuck part."""
        self._notifier = notifier
        # A line end in text from outside would begin another notification [sd_notify(3)].
        self._status_line = StatusLine(lambda: visible(line()), notifier.status, LoopTime(loop))
        self._on_stuck = on_stuck
        self._watchdog = Watchdog(
            parts,
            self._feed,
            within=notifier.watchdog or UNWATCHED,
            call_later=loop.call_later,
            time=loop.time,
            on_stuck=self._stuck,
        )

    def _feed(self) -> None:
        if self._notifier.watchdog:  # its parts are looked at without one too, for the health check
            self._notifier.alive()

    def ready(self) -> None:
        """Notify that outbox, listener and workers run; an absent broker or cloud does not delay this."""
        self._watchdog.start()
        if self._notifier.wanted:
            self._notifier.ready()
            self._status_line.start()

    def stuck(self) -> tuple[str, ...]:
        """Return the names of the stuck works, for which the watchdog would not be fed."""
        return self._watchdog.look()

    def reload(self, work: Callable[[], None]) -> None:
        """Run ``work``, which reads the configuration again, between the notifications of a reload."""
        self._notifier.reloading()
        try:
            work()
        finally:
            self._notifier.ready()

    def stopping(self) -> None:
        """Notify that the daemon is stopping."""
        self._notifier.stopping()

    def restarting(self) -> None:
        """Notify that the daemon will be ready again. Systemd would end one that says it is stopping."""
        self._feed()
        self._notifier.reloading()
        self._notifier.status("restarting")

    def _stuck(self, text: str) -> None:
        self._status_line.fault = text
        self._on_stuck(text)
