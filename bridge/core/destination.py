"""A destination's condition: whether messages may start towards it, all of them, one, or none.

::

    condition   may start       leaves it
    -------------------------------------------------------------------------------------------
    UP          all slots       no connection -> DOWN; SUSPECTS lanes unanswered in a row -> DOWN;
                                code 3 -> HELD
    DOWN        one probe, when any answer -> UP; code 3 -> HELD; a failed probe waits longer
                the wait is over
    HELD        one probe every accepted or rejected -> UP; any other failure -> DOWN
                HOLD seconds    (new credentials release it at once)

Only different lanes count as evidence that the peer is down, because a single message that the peer never
answers must not stop the others. One failed connection is enough evidence.
"""

from enum import Enum

from bridge.core.retry import Kind, backoff

HOLD = 300.0
"""Seconds between tries while the credentials are refused."""

SUSPECTS = 3
"""Number of different lanes without an answer, and with none in between, that mark the peer as down."""


class Condition(Enum):
    """The known condition of a destination."""

    UP = "up"
    DOWN = "down"
    HELD = "held"


class Destination:
    """The condition of one destination, a circuit breaker; owned by the uplink, which passes the time in."""

    def __init__(self, slots: int) -> None:
        """``slots`` is how many messages may be in flight at once."""
        self.slots = slots
        self.condition = Condition.UP
        self.failures = 0
        self.not_before = 0.0
        self.reason = ""
        self.down_since: float | None = None
        """Monotonic seconds of the first failure while the destination is down."""
        self.heard_at: float | None = None
        """Monotonic seconds of the last answer."""
        self._unanswered: set[int] = set()

    def may_start(self, mono: float, in_flight: int) -> int:
        """Return how many more messages may start now; ``mono`` is monotonic seconds."""
        if self.condition is Condition.UP:
            return max(0, self.slots - in_flight)
        return 1 if in_flight == 0 and mono >= self.not_before else 0

    def wakes_at(self) -> float | None:
        """Return when the next probe may start, in monotonic seconds; None while all slots are open."""
        return None if self.condition is Condition.UP else self.not_before

    def learn(self, kind: Kind, lane_id: int, mono: float, reason: str) -> bool:
        """Record how an exchange on ``lane_id`` ended; return whether the condition changed."""
        before = self.condition
        if kind in (Kind.ACCEPTED, Kind.REFUSED, Kind.HELD):
            self.heard_at = mono
        if kind in (Kind.ACCEPTED, Kind.REFUSED):
            self._answered()
        elif kind is Kind.HELD:
            self._stop(Condition.HELD, mono + HOLD, reason)
            self.down_since = None
        elif kind is Kind.UNREACHED:
            self._fail(mono, reason)
        else:
            self._unanswered.add(lane_id)
            if self.condition is not Condition.UP or len(self._unanswered) >= SUSPECTS:
                self._fail(mono, reason)
        return self.condition is not before

    def release(self) -> bool:
        """Let a try start at once: new credentials, a flush, or a link that came back.

        Return whether the condition changed: a held destination counts as up until the next answer.
        """
        self.not_before = 0.0
        held = self.condition is Condition.HELD
        if held:
            self._answered()
        return held

    def renew(self) -> None:
        """Forget that it is down: it was over another network. What it said of the credentials stays."""
        if self.condition is Condition.DOWN:
            self._answered()
        self._unanswered.clear()

    def _answered(self) -> None:
        self.condition, self.failures, self.reason = Condition.UP, 0, ""
        self.down_since = None
        self._unanswered.clear()

    def _fail(self, mono: float, reason: str) -> None:
        if self.condition is Condition.UP or mono >= self.not_before:
            # Exchanges that were in flight together fail together: they count as one failure.
            self.failures += 1
            if self.down_since is None:
                self.down_since = mono
            self._stop(Condition.DOWN, mono + backoff(self.failures), reason)

    def _stop(self, condition: Condition, not_before: float, reason: str) -> None:
        self.condition, self.not_before, self.reason = condition, not_before, reason
        self._unanswered.clear()
