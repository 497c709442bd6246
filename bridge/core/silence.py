"""Silence: when a network that connects counts as one over which the cloud does not answer.

A message without an answer may itself be to blame, so it takes several lanes, or one for a long time::

    lanes without an answer, and none answered between         the network counts as silent
    ------------------------------------------------------------------------------------------
    `SUSPECTS` lanes                                           at once
    one lane, again and again for the caller's patience        since its first attempt
    one lane that had no answer over the backup either         not for `VAIN` seconds

A network may let connections through and swallow what follows: a firewall, a portal that wants a login, a
path that drops large packets. A value; the time is monotonic seconds.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

SUSPECTS = 3
"""Number of lanes without an answer, and with none between, after which the cloud counts as not reached."""

TOGETHER = 600.0
"""Seconds within which two attempts belong together; twice the longest delay between them."""

VAIN = 3600.0
"""Seconds for which a lane that neither network helped says nothing of the own network."""


class Attempts(NamedTuple):
    """When a lane was first without an answer, and last."""

    first: float
    last: float


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
        first = lanes[lane].first if lane in lanes else now
        return self._replace(lanes=lanes | {lane: Attempts(first, now)})

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

    def since(self, lane: int, now: float, patience: float) -> float | None:
        """Return since when the network is silent, now that ``lane`` got no answer; None: it is not."""
        if len(self.lanes) >= SUSPECTS:
            return now
        first = self.lanes[lane].first
        return first if now - first >= patience else None
