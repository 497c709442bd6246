"""When to connect to the broker again: judged by how the last connections ended, not by CONNACK.

A broker that takes a connection and cuts it at once has not taken it. A connection counts as a success only
when it has lasted; until then the delay grows. The first few tries come quickly: the owner may be finding out
which of its publications the broker cuts the connection for.

A connection that another client took over needs more, because the two would take it from each other for ever.
Each comes back seldom, at moments that differ. Only a connection that lasts much longer shows that the other
is gone.
"""

from collections.abc import Callable

LASTED = 30.0
"""Seconds after which a connection counts as a success."""

ALONE = 600.0
"""Seconds after which a client that took the connection over counts as gone: several times `RIVAL_DELAY`."""

DELAY = 15.0
"""Seconds between two tries at most: the broker is on the same box, and everything waits for it."""

RIVAL_DELAY = 120.0
"""The same while another client takes the session over."""

SUSPICIOUS = 3
"""Connections that were cut soon, one after the other, from which on it is no chance."""


class Reconnects:
    """Counts failures in a row, and says how long to wait; belongs to the loop's thread."""

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        """``uniform`` draws a number between two."""
        self._uniform = uniform
        self._refused = 0
        self._taken_over = False
        """How the last connection ended."""
        self.cut = 0
        """Connections in a row that the broker took and that ended soon."""
        self.rivals = 0
        """Those of late that another client took over."""

    def lasts(self, seconds: float) -> None:
        """Note that the connection stands, since ``seconds``."""
        if seconds >= LASTED:
            self._refused = self.cut = 0
        if seconds >= ALONE:
            self.rivals = 0

    def ended(self, seconds: float | None, *, taken_over: bool = False) -> None:
        """Note the end of a connection that stood for ``seconds``; None: the broker had not taken it."""
        if seconds is None:
            self._refused += 1
            self._taken_over = False
            return
        self.lasts(seconds)
        self._refused = 0
        self.cut += seconds < LASTED
        self.rivals += taken_over
        self._taken_over = taken_over

    @property
    def suspicious(self) -> bool:
        """Whether the broker takes each connection and ends it soon."""
        return self.cut >= SUSPICIOUS

    def delay(self) -> float:
        """Return the seconds until the next try."""
        if self._taken_over:
            bound = min(RIVAL_DELAY, 2.0 ** min(self.rivals, 10))
            return self._uniform(bound / 2, bound)
        if self._refused:
            return self._uniform(0, min(DELAY, 0.25 * 2.0 ** min(self._refused, 10)))
        # By half as fast: a broker that crashes again and again looks like this too, and what is published
        # until we are back it may lose.
        return self._uniform(0, min(DELAY, 0.125 * 2.0 ** min(self.cut / 2, 10)))
