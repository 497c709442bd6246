"""Watchdog: systemd is fed only while every part makes progress or has nothing to do.

::

    part        its progress counts                     it is busy
    ------------------------------------------------------------------------------------------------------
    broker      turns of a session with the broker; or  always: an absent broker is tried again
                bursts read, while reading is paused
    intake      deliveries with a durable outcome       while a delivery waits and the disk has room
    writer      commits that ended, well or not         while an operation waits to be durable
    looks       the uplink's regular checks             until the uplink is stopped
    uplink      exchanges begun and ended, for each     while an exchange is in progress; or it is over and
                destination                             recorded and still holds its lane; or one could
                                                        begin and does not
    modem       steps of its supervisor                 unless it waits for something to happen
    network     turns of the link's driver              while it dials or hangs up
    texts       listings, SMS stored and deleted        unless it waits for a reason to check, or the disk
                                                        is full
    wifi        samples of the signal                   while it takes one

A part shows a `Progress` for each of its works. A work that is busy and makes no step for its `PATIENCE` is
stuck, whatever the others do. Then systemd is not fed, and restarts the bridge; for containers
``hologram-bridge healthcheck`` fails. An absent broker, a dead cloud, a full disk and a missing modem are not
stuck: the part tries again, which is progress, or waits for a change, which is rest. A loop that hangs feeds
nothing either, because feeding is one of its callbacks.
"""

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bridge.core.progress import Part, Progress

log = logging.getLogger("watchdog")

PATIENCE = {
    # seconds; resolving a name and a TLS handshake are part of a session's turn
    "broker": 300.0,
    "intake": 120.0,
    # a worn SD card is known to stop for tens of seconds
    "writer": 90.0,
    "looks": 60.0,
    # beyond the limit of the exchanges themselves
    "uplink": 60.0,
    # a start with its SIM, a reset with its pause; a command about the radio alone may take minutes
    "modem": 900.0,
    # beyond the limit of the attempt itself
    "network": 120.0,
    # its AT commands wait for those of other parts on the same port
    "texts": 900.0,
    # one request to another program on this machine
    "wifi": 120.0,
}
"""Seconds that a busy part may take without a step, by the first word of its progress's name."""


class _Seen(NamedTuple):
    steps: int
    since: float
    """Time of the last step, or of the last check at which it was not busy."""


class Watchdog:
    """Checks the parts and feeds systemd; lives in the event loop's thread."""

    def __init__(
        self,
        parts: Iterable[Part],
        feed: Callable[[], None],
        *,
        within: float,
        call_later: Callable[[float, Callable[[], None]], object],
        time: Callable[[], float],
        on_stuck: Callable[[str], None],
    ) -> None:
        """``within`` is the seconds within which systemd expects to be fed.

        Half of it passes between feedings.

        ``time`` returns seconds that do not count while the machine is suspended, as systemd's do not.
        ``on_stuck`` takes a line of text about stuck parts.
        """
        self._parts = tuple(parts)
        self._feed = feed
        self._every = within / 2  # [sd_watchdog_enabled(3)]
        self._call_later = call_later
        self._time = time
        self._on_stuck = on_stuck
        self._seen: dict[str, _Seen] = {}
        self._stuck: tuple[str, ...] = ()

    def start(self) -> None:
        """Check and feed, from now on until the loop ends."""
        self._call_later(self._every, self.start)
        stuck = self.look()
        if not stuck:
            self._feed()
        elif stuck != self._stuck:
            text = f"no progress of: {', '.join(stuck)}; the watchdog asks for a restart of the bridge"
            log.critical("%s", text)
            self._on_stuck(text)
        self._stuck = stuck

    def look(self) -> tuple[str, ...]:
        """Return the names of the stuck works."""
        now = self._time()
        progress = [progress for part in self._parts for progress in part.progress()]
        self._seen = {progress.name: self._compare(progress, now) for progress in progress}
        return tuple(
            progress.name
            for progress in progress
            if now - self._seen[progress.name].since > _patience(progress)
        )

    def _compare(self, progress: Progress, now: float) -> _Seen:
        before = self._seen.get(progress.name)
        if before is None or not progress.busy or before.steps != progress.steps:
            return _Seen(progress.steps, now)
        return before


def _patience(progress: Progress) -> float:
    return PATIENCE[progress.name.split(" ", 1)[0]] + progress.extra
