"""Reports on the bridge's own topics that the broker refuses with a reason, such as by its access list.

They stay on disk. One report of each topic is tried again after a pause that doubles. When the broker takes
it, the other reports of its topic follow at once.
"""

from collections.abc import Callable
from typing import NamedTuple

from bridge.core.time import Time

PAUSE, LONGEST_PAUSE = 5.0, 600.0
"""Seconds until the next attempt at first and at most. The pause doubles, because a person has to correct the
access list first."""

REFUSED_FOR = 86400.0
"""Seconds after which a refused report is set aside."""


class _Refusal(NamedTuple):
    topic: str
    since: float
    """Time of the first refusal, in monotonic seconds."""


class Refused:
    """The refused reports; lives in the event loop's thread."""

    def __init__(self, publish: Callable[[list[int]], None], time: Time) -> None:
        """``publish`` takes the numbers of reports to publish again."""
        self._publish = publish
        self._time = time
        self._reports: dict[int, _Refusal] = {}
        self._pause = PAUSE
        self._waiting = False

    def __contains__(self, topic: str) -> bool:
        """Whether a report on ``topic`` is refused."""
        return any(refusal.topic == topic for refusal in self._reports.values())

    def add(self, seq: int, topic: str, mono: float) -> list[int]:
        """Note a refusal of the report ``seq``.

        Return the reports of its topic that were refused for too long.
        """
        # A refused repetition does not start the day again.
        self._reports.setdefault(seq, _Refusal(topic, mono))
        if not self._waiting:
            self._waiting = True
            self._time.call_later(self._pause, self._try)
        if mono - self._reports[seq].since < REFUSED_FOR:
            return []
        late = [
            each
            for each, refusal in self._reports.items()
            if refusal.topic == topic and mono - refusal.since >= REFUSED_FOR
        ]
        for each in late:
            del self._reports[each]
        return late

    def taken(self, seq: int) -> None:
        """Note that the broker took the report ``seq``; publish the others of its topic."""
        if not self._reports or (refusal := self._reports.pop(seq, None)) is None:
            return
        self._pause = PAUSE
        others = [each for each, other in self._reports.items() if other.topic == refusal.topic]
        for each in others:
            del self._reports[each]
        self._publish(others)

    def _try(self) -> None:
        """Publish the oldest refused report of each topic."""
        self._waiting = False
        if not self._reports:
            self._pause = PAUSE
            return
        self._waiting = True
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)
        self._time.call_later(self._pause, self._try)
        oldest: dict[str, int] = {}
        for seq, refusal in self._reports.items():
            oldest.setdefault(refusal.topic, seq)
        self._publish(list(oldest.values()))
