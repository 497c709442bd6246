"""The connections of one session with the broker: which of their ends are worth a log line.

An unreachable broker is logged once until it is back. A broker that accepts connections and ends them is
logged the first, 2nd, 4th, 8th … time. So the log of a box that stays like this for weeks still holds what
was before.
"""

from collections import Counter
from typing import Any

from bridge.core.reconnects import ALONE
from bridge.core.time import Time

REASONS = 16
"""Different reasons that are counted at most. The broker words them, so their number has no bound."""


class Connections:
    """Counts the ends of one session's connections; lives in the event loop's thread."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._since: float | None = None
        """Time at which the connection came up, in monotonic seconds; None: it is down."""
        self._ends: Counter[str] = Counter()
        """Ends of established connections by reason, since the last connection that lasted."""
        self.reason = ""
        """Reason why the last connection ended, or could not be made."""

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._since is not None

    def began(self) -> bool:
        """Note a connection; return whether it is worth a log line."""
        self._since = self._time.now().mono
        return _is_notable(max(self._ends.values(), default=0))

    def ended(self, reason: str) -> str | None:
        """Note the end of a connection, or a failed attempt; return its log line, None for none."""
        was_up, known = self.up, reason == self.reason
        self._forget()
        self._since, self.reason = None, reason
        if not was_up:
            return None if known else reason
        # Counting from the start again logs more than necessary, but memory stays bounded.
        if len(self._ends) >= REASONS:
            self._ends.clear()
        self._ends[reason] += 1
        times = self._ends[reason]
        if not _is_notable(times):
            return None
        return reason if times == 1 else f"{reason} ({times} times)"

    def _forget(self) -> None:
        if self._since is not None and self._time.now().mono - self._since >= ALONE:
            self._ends.clear()

    def ended_as(self, line: str) -> bool:
        """Return whether a recent connection ended for the reason in ``line``, whatever advice follows it."""
        self._forget()
        return bool(self._ends) and self.reason.partition("; ")[0] in line

    def figures(self) -> dict[str, Any]:
        """Return whether there is a connection, how many ended recently, and why the last one did."""
        self._forget()
        times = self._ends.total()
        return {"connected": self.up, "ended": times, "reason": self.reason if times or not self.up else None}


def _is_notable(times: int) -> bool:
    """Return whether ``times`` is 0 or a power of two."""
    return times & (times - 1) == 0
