"""Silence: when a network that connects counts as one over which the cloud does not answer.

A message without an answer may itself be to blame, so it takes several lanes, or several attempts of one::

    without an answer, and no answer between                   the network counts as silent
    ------------------------------------------------------------------------------------------
    `SUSPECTS` lanes                                           from now on
    one lane, `SUSPECTS` times                                 since its first attempt
    a lane that had no answer over the backup either           not for `VAIN` seconds

A network may let connections through and swallow what follows: a firewall, a portal that wants a login, a
path that drops large packets. A value; the time is monotonic seconds.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

SUSPECTS = 3
"""Number of lanes, or of attempts of one, without an answer and with none between, that are evidence."""

TOGETHER = 600.0
"""Seconds within which two attempts belong together; twice the longest delay between them."""

VAIN = 3600.0
"""Seconds for which a lane that neither network helped says nothing of the own network."""


class Attempts(NamedTuple):
    """Attempts of a lane without an answer: when the first and the last of them ended, and their number."""

    first: float
    last: float
    number: int = 1


class Silence(NamedTuple):
    """The lanes without an answer; each method returns the next value."""

    lanes: Mapping[int, Attempts] = MappingProxyType({})
    """Lanes without an answer over the present network, with no answer to any in between."""
    vain: Mapping[int, float] = MappingProxyType({})
    """When lanes had no answer over the backup; one that is answered is taken out."""

    def answered(self, lane: int) -> "Silence":
        """Learn that ``lane`` was answered."""
        if not self.lanes and lane not in self.vain:  # as with nearly every message
            return self
        return Silence(vain={each: at for each, at in self.vain.items() if each != lane})

    def unanswered(self, lane: int, now: float) -> "Silence":
        """Learn that ``lane`` got no answer over the present network."""
        lanes = {each: found for each, found in self.lanes.items() if now - found.last < TOGETHER}
        before = lanes.get(lane)
        again = Attempts(before.first, now, before.number + 1) if before else Attempts(now, now)
        return self._replace(lanes=lanes | {lane: again})

    def in_vain(self, lane: int, now: float) -> "Silence":
        """Learn that ``lane`` got no answer over the backup."""
        vain = {each: at for each, at in self.vain.items() if now - at < VAIN}
        return self._replace(vain=vain | {lane: now})

    def is_vain(self, lane: int, now: float) -> bool:
        """Whether neither network helps ``lane``."""
        return lane in self.vain and now - self.vain[lane] < VAIN

    def network_changed(self) -> "Silence":
        """Learn that messages take another network."""
        return self._replace(lanes=MappingProxyType({}))

    def since(self, lane: int, now: float, enough: int = SUSPECTS) -> float | None:
        """Return since when the network is silent, now that ``lane`` got no answer; None: it is not.

        ``enough`` is the number of lanes, or of attempts, that are evidence.
        """
        attempts = self.lanes[lane]
        if attempts.number >= enough:
            return attempts.first
        return now if len(self.lanes) >= enough else None
