"""What a session's connections tell a person: each reason when it is new, and then seldom.

A broker that cannot be reached is said once until it is back. One that takes us and ends the connection again
and again is said at the first, 2nd, 4th, 8th … time, so that the log of a box that stands like this for weeks
holds what was before it.
"""

from collections import Counter
from typing import Any

from bridge.core.reconnects import ALONE
from bridge.core.time import Time

REASONS = 16
"""Different reasons that are counted; the broker words them, so there could be any number."""


class Connections:
    """Counts how the connections of one session end; belongs to the loop's thread."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._since: float | None = None
        """When the connection came up; None: it is down."""
        self._ends: Counter[str] = Counter()
        """Ends of connections that were up, by reason, since one lasted."""
        self.reason = ""
        """Why the last connection ended, or could not be made."""

    @property
    def up(self) -> bool:
        """Whether the connection stands."""
        return self._since is not None

    def began(self) -> bool:
        """Note a connection; return whether that is worth a line."""
        self._since = self._time.now().mono
        return _log_interval(max(self._ends.values(), default=0))

    def ended(self, reason: str) -> str | None:
        """Note the end of a connection, or a try in vain; return the line to say, if it is worth one."""
        was_up, known = self.up, reason == self.reason
        self._forget()
        self._since, self.reason = None, reason
        if not was_up:
            return None if known else reason
        if len(self._ends) >= REASONS:
            self._ends.clear()
        self._ends[reason] += 1
        times = self._ends[reason]
        if not _log_interval(times):
            return None
        return reason if times == 1 else f"{reason} ({times} times)"

    def _forget(self) -> None:
        if self._since is not None and self._time.now().mono - self._since >= ALONE:
            self._ends.clear()

    def ended_as(self, line: str) -> bool:
        """Return whether it ended of late for what ``line`` says, whatever is to be done about it."""
        self._forget()
        return bool(self._ends) and self.reason.partition("; ")[0] in line

    def figures(self) -> dict[str, Any]:
        """Return whether it stands, how many connections ended of late, and why the last one did."""
        self._forget()
        times = self._ends.total()
        return {"connected": self.up, "ended": times, "reason": self.reason if times or not self.up else None}


def _log_interval(times: int) -> bool:
    """Return whether ``times`` is 0 or a power of two."""
    return times & (times - 1) == 0
