"""When to connect to the broker again: judged by how the last connections ended, not by CONNACK.

A broker that accepts a connection and cuts it at once has not accepted it. A connection counts as a success
only when it has lasted; until then the delay grows. The first few tries come quickly, because the owner may
be finding out which of its publications the broker cuts the connection for.

A connection that another client took over needs more care, because the two clients would take it from each
other for ever. Each waits long, and for a random time. Only a connection that lasts much longer shows that
the other client is gone.
"""

from collections.abc import Callable

LASTED = 30.0
"""Seconds after which a connection counts as a success."""

ALONE = 600.0
"""Seconds after which the client that took the connection over counts as gone: several `RIVAL_DELAY`."""

DELAY = 15.0
"""Longest delay in seconds: the broker is on the same box, and everything waits for it."""

RIVAL_DELAY = 120.0
"""Longest delay in seconds while another client takes the session over."""

CRASHES = 10
"""Number of lost sessions in a row after which a broker that loses each session is paced like any other."""

SUSPICIOUS = 3
"""Number of short connections in a row that are no coincidence."""


class Reconnects:
    """Counts failures in a row, and computes the delay; belongs to the loop's thread."""

    def __init__(self, uniform: Callable[[float, float], float], longest: float = DELAY) -> None:
        """``uniform`` draws a number between two bounds; ``longest`` is the longest delay in seconds."""
        self._uniform = uniform
        self._longest = longest
        self._refused = 0
        self._taken_over = False
        """Whether another client took the last connection over."""
        self.cut = 0
        """Number of connections in a row that the broker accepted and that ended soon."""
        self.rivals = 0
        """Number of recent connections that another client took over."""
        self._crashes = 0
        """Number of sessions that the broker lost since a connection lasted."""

    def lasts(self, seconds: float) -> None:
        """Note that the connection has lasted for ``seconds`` so far."""
        if seconds >= LASTED:
            self._refused = self.cut = self._crashes = 0
        if seconds >= ALONE:
            self.rivals = 0

    def crashed(self) -> None:
        """Note that the broker lost the session, as in a crash: the next tries come quickly.

        What is published before we are back is lost. A broker that keeps no session at all looks the same, so
        that holds for `CRASHES` of them.
        """
        self._crashes += 1
        if self._crashes <= CRASHES:
            self.cut = 0

    def ended(self, seconds: float | None, *, taken_over: bool = False) -> None:
        """Note the end of a connection that lasted ``seconds``; None: the broker had not accepted it."""
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
        """Whether the broker accepts each connection and ends it soon."""
        return self.cut >= SUSPICIOUS

    def delay(self) -> float:
        """Return the seconds until the next try."""
        if self._taken_over:
            bound = min(RIVAL_DELAY, 2.0 ** min(self.rivals, 10))
            return self._uniform(bound / 2, bound)
        if self._refused:
            return self._uniform(0, min(self._longest, 0.25 * 2.0 ** min(self._refused, 10)))
        # Growth at half the rate: a broker that crashes repeatedly looks the same, and it may lose what is
        # published until we are connected again.
        return self._uniform(0, min(self._longest, 0.125 * 2.0 ** min(self.cut / 2, 10)))
