"""Pacing: when a link may be tried again, and when an existing one is given up."""

import random
from collections.abc import Callable

from bridge.core.messages import Now

LONGEST_PAUSE = {"cellular": 300.0, "wifi": 30.0}
"""Longest pause between attempts, in seconds. Mobile networks bar a modem that calls all the time; Wi-Fi does
not."""

FIRST_PAUSE = 5.0
"""Seconds after the first failure; doubled at each further failure."""

STEADY = 30.0
"""Seconds after which a link has proved itself, and the longest pause after one that has not: a link that
breaks sooner, for the second time in a row, is dialled again only after the pause of a failed attempt."""

STALE = 600.0
"""Seconds after which a link over which nothing is reached is dialled again, because a network can lose a
context that both ends believe in. Doubled after each redial without effect, because the far end itself may be
down."""

LONGEST_STALE = 4 * 3600.0


class Attempts:
    """Attempts at a link, and the pauses between them."""

    def __init__(self, kind: str, clock: Callable[[], Now]) -> None:
        """``kind`` is ``cellular`` or ``wifi``."""
        self.failures = 0
        """Number of failed attempts in a row."""
        self._kind = kind
        self._clock = clock
        self._breaks = 0
        """Number of links in a row that broke within `STEADY` seconds."""
        self._up_at = 0.0
        self._not_before = 0.0

    @property
    def wait(self) -> float:
        """Seconds until the next attempt may start."""
        return max(self._not_before - self._clock().mono, 0.0)

    def at_once(self) -> None:
        """Allow the next attempt now, because something has changed."""
        self._not_before = 0.0

    def forget(self) -> None:
        """Allow the next attempt now, as if it were the first."""
        self.failures = self._breaks = 0
        self.at_once()

    def failed(self, *, waited: bool) -> float:
        """Count a failed attempt; return the seconds until the next.

        An attempt that only ``waited`` for registration does not increase the backoff, because it did not
        call.
        """
        self.failures += 1
        return self._pause(1 if waited else self.failures)

    def came_up(self) -> None:
        """Record that the attempt succeeded."""
        self.failures = 0
        self._up_at = self._clock().mono

    def broke(self) -> None:
        """Record that the link went down by itself."""
        self._breaks = self._breaks + 1 if self._clock().mono - self._up_at < STEADY else 0
        if self._breaks > 1:
            self._pause(self._breaks - 1, STEADY)

    def _pause(self, failures: int, most: float = LONGEST_STALE) -> float:
        pause = min(LONGEST_PAUSE[self._kind], FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
        pause = min(pause * random.uniform(0.75, 1.0), most)  # noqa: S311 no secret
        self._not_before = self._clock().mono + pause
        return pause


class Staleness:
    """Whether a link that is up has stopped reaching anything."""

    def __init__(self, clock: Callable[[], Now], unreached_since: Callable[[], float | None]) -> None:
        """``unreached_since`` returns since when, in monotonic seconds, nothing was reached over the link."""
        self._clock = clock
        self._unreached_since = unreached_since
        self._patience = STALE
        self._up_at = 0.0

    def came_up(self) -> None:
        """Record that the link is new."""
        self._up_at = self._clock().mono

    def look(self) -> bool:
        """Return whether to dial again; each redial without effect doubles the patience."""
        since = self._unreached_since()
        if since is None:
            self._patience = STALE
            return False
        if self._clock().mono - max(since, self._up_at) < self._patience:
            return False
        self._patience = min(2 * self._patience, LONGEST_STALE)
        return True
