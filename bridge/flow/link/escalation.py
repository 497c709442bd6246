"""Escalation: keeps the recovery ladder of one modem, and reports each rung and its outcome.

`bridge.core.recovery` decides the next rung here; the supervisor, which owns the modem, climbs it.
"""

import logging
from collections.abc import Callable

from bridge.core.modem import Place
from bridge.core.recovery import ALL_RUNGS, Diagnosis, Evidence, Ladder, Limits, Outcome, Rung, Step
from bridge.core.time import Time
from bridge.flow.notices import Notices

log = logging.getLogger("modem")

KEEPS_LINK = frozenset({Rung.PROBE, Rung.REOPEN})
"""The rungs that leave an existing link alone while the modem's other port is silent."""


class Escalation:
    """The recovery state of one modem; lives in the event loop's thread."""

    def __init__(
        self,
        *,
        can_power: Callable[[Place], bool],
        link_up: Callable[[], bool],
        time: Time,
        notices: Notices,
        limits: Limits | None = None,
    ) -> None:
        """``can_power`` returns whether the modem at a place can be switched off and on.

        ``link_up`` returns whether a link is up.
        """
        self._can_power = can_power
        self._link_up = link_up
        self._time = time
        self._notices = notices
        self._ladder = Ladder(limits or Limits())
        self._climbed_for = Diagnosis.NONE
        """The diagnosis that the last rung was climbed for."""

    def look(self, evidence: Evidence, place: Place | None) -> Step:
        """Return the next step for the modem at ``place``; must not be called while a rung is carried out."""
        self._ladder = self._ladder._replace(available=self._rungs(place))
        self._ladder, step = self._ladder.next(evidence, self._time.now().mono)
        if step.ended:
            self._ended(step.ended)
        return step

    def _rungs(self, place: Place | None) -> frozenset[Rung]:
        if self._link_up():
            return KEEPS_LINK
        if place is not None and self._can_power(place):
            return ALL_RUNGS
        return ALL_RUNGS - {Rung.POWER}

    @property
    def exhausted(self) -> bool:
        """Whether no rung has helped, or none could, and no link is up."""
        return self._ladder.exhausted and not self._link_up()

    def refused(self, rung: Rung) -> None:
        """Report that a rung outside of the ladder was not climbed."""
        self._ended(Outcome(rung, worked=False))

    def begins(self, rung: Rung) -> None:
        """Report that ``rung`` is climbed now."""
        self._climbed_for = self._ladder.diagnosis
        log.warning("recovery of the modem: %s (%s)", rung, self._climbed_for)
        self._report(rung, None)

    def gave_up(self) -> None:
        """Record that the rung could not be climbed."""
        self._ladder = self._ladder.gave_up(self._time.now().mono)

    def _ended(self, outcome: Outcome) -> None:
        rung, worked = outcome
        log.warning("recovery of the modem: %s %s", rung, "worked" if worked else "did not work")
        self._report(rung, worked)

    def _report(self, rung: Rung, worked: bool | None) -> None:
        trouble = self._climbed_for.value
        self._notices.event("modem.recovery", rung=rung.value, trouble=trouble, worked=worked)
