"""Pacing: when a link may be tried again, and when one that stands is given up."""

import random
from collections.abc import Callable

from bridge.core.messages import Now

LONGEST_PAUSE = {"cellular": 300.0, "wifi": 30.0}
"""Seconds between attempts at most: mobile networks bar those who knock all the time. Wi-Fi is looked at."""

FIRST_PAUSE = 5.0
"""Seconds after the first failure; doubled at each further one."""

STEADY = 30.0
"""Seconds after which a link has proved itself. One that breaks sooner, for the second time in a row, is made
anew after a pause as if it had not come up; of so many seconds at most."""

STALE = 600.0
"""Seconds after which a link over which nothing is reached is made anew: a network can forget a context that
both ends believe in. Doubled each time in vain, as the far end itself may be what is down."""

LONGEST_STALE = 4 * 3600.0


class Attempts:
    """Attempts at a link, and the pauses between them."""

    def __init__(self, kind: str, clock: Callable[[], Now]) -> None:
        """``kind`` is ``cellular`` or ``wifi``."""
        self.failures = 0
        """Attempts in a row that failed."""
        self._kind = kind
        self._clock = clock
        self._breaks = 0
        """Links in a row that did not stand for long."""
        self._up_at = 0.0
        self._not_before = 0.0

    @property
    def wait(self) -> float:
        """Seconds until the next may be made."""
        return max(self._not_before - self._clock().mono, 0.0)

    def at_once(self) -> None:
        """Let the next be made now: something has changed."""
        self._not_before = 0.0

    def forget(self) -> None:
        """Let the next be made now, as if it were the first."""
        self.failures = self._breaks = 0
        self.at_once()

    def failed(self, *, waited: bool) -> float:
        """Count one that failed; return the seconds until the next.

        Who only ``waited`` for a network in vain has not knocked, and goes on waiting.
        """
        self.failures += 1
        return self._pause(1 if waited else self.failures)

    def came_up(self) -> None:
        """Learn that it worked."""
        self.failures = 0
        self._up_at = self._clock().mono

    def broke(self) -> None:
        """Learn that the link went down by itself."""
        self._breaks = self._breaks + 1 if self._clock().mono - self._up_at < STEADY else 0
        if self._breaks > 1:
            self._pause(self._breaks - 1, STEADY)

    def _pause(self, failures: int, most: float = LONGEST_STALE) -> float:
        pause = min(LONGEST_PAUSE[self._kind], FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
        pause = min(pause * random.uniform(0.75, 1.0), most)  # noqa: S311 no secret
        self._not_before = self._clock().mono + pause
        return pause


class Staleness:
    """Whether a link that stands reaches nothing any more."""

    def __init__(self, clock: Callable[[], Now], unreached_since: Callable[[], float | None]) -> None:
        """``unreached_since`` returns since when, in monotonic seconds, nothing was reached over it."""
        self._clock = clock
        self._unreached_since = unreached_since
        self._patience = STALE
        self._up_at = 0.0

    def came_up(self) -> None:
        """Learn that it is a new link."""
        self._up_at = self._clock().mono

    def look(self) -> bool:
        """Whether it is to be made anew; each time in vain makes for more patience."""
        since = self._unreached_since()
        if since is None:
            self._patience = STALE
            return False
        if self._clock().mono - max(since, self._up_at) < self._patience:
            return False
        self._patience = min(2 * self._patience, LONGEST_STALE)
        return True
