"""Watchdog: systemd is told that we live only while every part has got on, or rightly rests.

::

    part        its progress is counted in              it owes progress while
    ------------------------------------------------------------------------------------------------------
    broker      turns of a session with the broker; or  always: a broker that is away is tried again
                bursts read, while reading is paused
    intake      deliveries that ended                   one waits, and the disk has room
    writer      commits that ended, well or not         anything waits to be durable
    looks       the uplink's looks for what is due      it is not being stopped
    uplink      exchanges begun and ended, for each     one is out; or one is over, recorded, and holds its
                destination                             lane still; or one could begin and does not
    modem       steps of its keeper                     it is not waiting for something to happen
    network     turns of the link's driver              it dials or hangs up
    texts       lists read, texts stored and deleted    it is not waiting for a reason to look, and the disk
                                                        has room
    wifi        looks at the signal                     it looks

A part shows a `Pulse` for each of its works. One that owes and has not moved for as long as `PATIENCE` gives
it is stuck, whatever the others do; then nothing is fed, and systemd restarts us. An absent broker, a dead
cloud, a full disk and a modem that is gone are no reason: each is tried again, which is progress, or waited
for, which is rest. A loop that hangs feeds nothing either, since feeding is one of its callbacks.
"""

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bridge.core.progress import Part, Progress

log = logging.getLogger("watchdog")

PATIENCE = {
    # seconds; a name that does not resolve and a TLS handshake that hangs are part of a session's turn
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
    # its commands wait for those of others on the same port
    "texts": 900.0,
    # a question to another program on this machine
    "wifi": 120.0,
}
"""How long a part may owe without moving, by the first word of its pulse's name."""


class _Seen(NamedTuple):
    steps: int
    since: float
    """When the part last moved, or last owed nothing."""


class Watchdog:
    """Looks at the parts and feeds; lives in the event loop's thread."""

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
        """``within`` is the seconds in which systemd wants to be fed; half of it passes between feedings.

        ``time`` gives seconds that do not count while the machine is suspended, as systemd's do not;
        ``on_stuck`` gets a line for a person when parts are stuck.
        """
        self._parts = tuple(parts)
        self._feed = feed
        self._every = within / 2  # [sd_watchdog_enabled(3)]
        self._call_later = call_later
        self._time = time
        self._on_stuck = on_stuck
        self._seen: dict[str, _Seen] = {}
        self._told: tuple[str, ...] = ()

    def start(self) -> None:
        """Look and feed, from now on until the loop ends."""
        self._call_later(self._every, self.start)
        stuck = self.look()
        if not stuck:
            self._feed()
        elif stuck != self._told:
            text = f"no progress of: {', '.join(stuck)}; the watchdog is not fed, so that systemd restarts us"
            log.critical("%s", text)
            self._on_stuck(text)
        self._told = stuck

    def look(self) -> tuple[str, ...]:
        """Return the names of what is stuck now."""
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
