"""Escalation: keeps the recovery ladder of one modem, and reports each rung and its outcome.

Which rung is next is decided here, by `bridge.core.recovery`; the keeper, who has the modem, carries it out.
"""

import logging
from collections.abc import Callable

from bridge.core.messages import Now
from bridge.core.modem import Place
from bridge.core.recovery import ALL_RUNGS, Diagnosis, Evidence, Ladder, Limits, Outcome, Rung, Step

log = logging.getLogger("modem")

KEEPS_LINK = frozenset({Rung.PROBE, Rung.REOPEN})
"""The rungs that leave a link alone which stands while the modem's other port is silent."""


class Escalation:
    """Lives in the event loop's thread."""

    def __init__(
        self,
        *,
        can_power: Callable[[Place], bool],
        link_up: Callable[[], bool],
        clock: Callable[[], Now],
        on_event: Callable[..., None],
        limits: Limits | None = None,
    ) -> None:
        """``can_power`` tells whether the modem there can be switched off and on.

        ``link_up`` tells whether a link stands.
        """
        self._can_power = can_power
        self._link_up = link_up
        self._clock = clock
        self._on_event = on_event
        self._ladder = Ladder(limits or Limits())
        self._climbed_for = Diagnosis.NONE
        """What the last rung was to cure."""

    def look(self, evidence: Evidence, place: Place | None) -> Step:
        """Return what to do now with the modem at ``place``; not to be asked while a rung is carried out."""
        self._ladder = self._ladder._replace(available=self._rungs(place))
        self._ladder, step = self._ladder.next(evidence, self._clock().mono)
        if step.ended:
            self._ended(step.ended)
        return step

    def _rungs(self, place: Place | None) -> frozenset[Rung]:
        if self._link_up():
            return KEEPS_LINK
        if place is not None and self._can_power(place):
            return ALL_RUNGS
        return ALL_RUNGS - {Rung.POWER}

    def begins(self, rung: Rung) -> None:
        """Tell that ``rung`` is climbed now."""
        self._climbed_for = self._ladder.diagnosis
        log.warning("recovery of the modem: %s (%s)", rung, self._climbed_for)
        self._tell(rung, None)

    def gave_up(self) -> None:
        """Learn that it could not be climbed."""
        self._ladder = self._ladder.gave_up(self._clock().mono)

    def _ended(self, outcome: Outcome) -> None:
        rung, worked = outcome
        log.warning("recovery of the modem: %s %s", rung, "worked" if worked else "did not work")
        self._tell(rung, worked)

    def _tell(self, rung: Rung, worked: bool | None) -> None:
        self._on_event("modem.recovery", rung=rung.value, trouble=self._climbed_for.value, worked=worked)
