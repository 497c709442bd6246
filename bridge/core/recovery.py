"""Recovery of a modem without a person: a ladder of ever stronger measures, climbed on evidence only.

The rules:

* A port that is gone is waited for, however long, and never reset: it was pulled, or the modem is restarting.
* A SIM that needs a person (PIN, PUK) is waited for, because no reset helps.
* A modem that does not answer climbs the ladder at once. A modem that answers but has no network, or whose
  link does not come up, climbs after some patience. The mildest measure comes first. A reset is worth a try
  on a silent modem too, because many modems act on commands that they do not answer. A network that denies
  gets long patience: the denial may be meant, but many modems do not ask again by themselves.
* A rung has its time; while that runs, nothing else is done. The next step reports its outcome.
* After the last rung comes a pause, longer after each round; then the ladder begins again.
* When all is well the ladder returns to its foot.

The ladder is a value: `Ladder.next` returns the next ladder beside the step. Times are in seconds, of any
clock that only runs forward.
"""

from enum import StrEnum
from typing import NamedTuple

from bridge.core.modem import Registration, Sim


class Rung(StrEnum):
    """The measures, from the mildest on."""

    PROBE = "probe"
    SOFT_RESET = "soft_reset"
    RESET = "reset"
    REOPEN = "reopen"
    POWER = "usb_power"
    RESTART_BOX = "restart_box"


class Diagnosis(StrEnum):
    """What is wrong, as far as the evidence shows."""

    NONE = "none"
    GONE = "gone"
    SIM = "sim"
    DENIED = "denied"
    SILENT = "silent"
    NO_NETWORK = "no_network"
    NO_LINK = "no_link"


class Evidence(NamedTuple):
    """The evidence for the next step."""

    port: bool
    """Whether the modem's port is there."""
    answers: bool | None = None
    """Whether the modem answered the last command; None: not asked."""
    sim: Sim = Sim.UNKNOWN
    registration: Registration = Registration.UNKNOWN
    link_failures: int = 0
    """Number of times in a row that the link did not come up although the modem was in a network."""


class Outcome(NamedTuple):
    """The outcome of a rung."""

    rung: Rung
    worked: bool


class Step(NamedTuple):
    """The next thing to do."""

    rung: Rung | None
    """The rung to climb; None: only look again."""
    until: float
    """The latest time for the next look; a rung has until then to work."""
    diagnosis: Diagnosis
    ended: Outcome | None = None
    """The outcome of the rung before this step, if one was in flight."""


LADDER = (Rung.PROBE, Rung.SOFT_RESET, Rung.RESET, Rung.REOPEN, Rung.POWER)
"""The rungs from the mildest on; a modem that has just answered needs no probe. The restart of the box is not
among them, because it has conditions of its own [bridge.flow.link.box_restart]."""

ALL_RUNGS = frozenset(LADDER)


class Limits(NamedTuple):
    """Limits of patience, in seconds."""

    look: float = 2.0
    """Seconds between two looks during a wait."""
    no_network: float = 180.0
    """Seconds without a network before the ladder is climbed: a search through all bands takes minutes."""
    denied: float = 900.0
    """The same while the network denies the registration."""
    link_failures: int = 3
    """Number of link failures in a row before the ladder is climbed."""
    probe: float = 10.0
    soft_reset: float = 90.0
    reset: float = 120.0
    reopen: float = 30.0
    power: float = 120.0
    answer: float = 30.0
    """Upper bound of any rung's seconds for a silent modem, which only has to answer again."""
    first_pause: float = 60.0
    longest_pause: float = 3600.0

    def patience(self, diagnosis: Diagnosis) -> float:
        """Return the seconds that a diagnosis may last before the ladder is climbed."""
        return {Diagnosis.NO_NETWORK: self.no_network, Diagnosis.DENIED: self.denied}.get(diagnosis, 0.0)

    def time_for(self, rung: Rung, diagnosis: Diagnosis) -> float:
        """Return the seconds that a rung may take to work."""
        seconds = {
            Rung.PROBE: self.probe,
            Rung.SOFT_RESET: self.soft_reset,
            Rung.RESET: self.reset,
            Rung.REOPEN: self.reopen,
            Rung.POWER: self.power,
        }[rung]
        return min(seconds, self.answer) if diagnosis is Diagnosis.SILENT else seconds

    def pause(self, rounds: int) -> float:
        """Return the seconds of the pause after ``rounds`` complete rounds."""
        return min(self.longest_pause, self.first_pause * 2.0 ** min(rounds, 32))


_WAIT_ONLY = (Diagnosis.GONE, Diagnosis.SIM)


def diagnose(evidence: Evidence, limits: Limits) -> Diagnosis:
    """Return what is wrong."""
    if not evidence.port:
        return Diagnosis.GONE
    if evidence.answers is False:
        return Diagnosis.SILENT
    if evidence.sim in (Sim.PIN, Sim.PUK):
        return Diagnosis.SIM
    if not evidence.registration.registered:
        return Diagnosis.DENIED if evidence.registration is Registration.DENIED else Diagnosis.NO_NETWORK
    return Diagnosis.NO_LINK if evidence.link_failures >= limits.link_failures else Diagnosis.NONE


class Ladder(NamedTuple):
    """A modem's position on the ladder."""

    limits: Limits = Limits()
    available: frozenset[Rung] = ALL_RUNGS
    """The rungs that can be climbed here; USB power needs root."""
    diagnosis: Diagnosis = Diagnosis.NONE
    since: float = 0.0
    """The time at which the diagnosis was first made."""
    tried: frozenset[Rung] = frozenset()
    """The rungs already climbed in this round."""
    rung: Rung | None = None
    """The rung in flight."""
    until: float = 0.0
    """The time at which the rung in flight, or the pause, ends."""
    failures: int = 0
    """The link's failures at the start of the rung."""
    rounds: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether no rung has helped, or none could."""
        return self.rung is None and (self.rounds > 0 or self.diagnosis is Diagnosis.GONE)

    def next(self, evidence: Evidence, now: float) -> tuple["Ladder", Step]:
        """Return the new ladder and the next step; must not be called while a rung is carried out."""
        diagnosis = diagnose(evidence, self.limits)
        if diagnosis is Diagnosis.NONE:
            return _well(self, now)
        ladder, ended = _turn(self, diagnosis, now)
        if diagnosis in _WAIT_ONLY:
            return _wait(ladder, now, ended)
        if _in_flight(ladder, evidence, now):
            look = now + self.limits.look
            until = min(ladder.until, look) if ladder.until > now else look
            return ladder, Step(None, until, diagnosis, ended)
        return _climb(ladder, evidence, now, ended)

    def gave_up(self, now: float) -> "Ladder":
        """Return the ladder after a rung that could not be climbed, such as power without a switch."""
        return self if self.rung is None else self._replace(until=now, failures=-1)


def _well(ladder: Ladder, now: float) -> tuple[Ladder, Step]:
    ended = None if ladder.rung is None else Outcome(ladder.rung, worked=True)
    foot = Ladder(ladder.limits, ladder.available)
    return foot, Step(None, now + ladder.limits.look, Diagnosis.NONE, ended)


def _turn(ladder: Ladder, diagnosis: Diagnosis, now: float) -> tuple[Ladder, Outcome | None]:
    """Apply a changed diagnosis: a solved problem begins a new round with new patience."""
    if diagnosis is ladder.diagnosis:
        return ladder, None
    turned = ladder._replace(diagnosis=diagnosis, since=now)
    if ladder.diagnosis is Diagnosis.SILENT and diagnosis is not Diagnosis.GONE:
        ended = None if ladder.rung is None else Outcome(ladder.rung, worked=True)
        return turned._replace(tried=frozenset(), rung=None, until=now), ended
    if ladder.diagnosis in _WAIT_ONLY and ladder.rung is None:
        return turned._replace(tried=frozenset(), until=now), None
    return turned, None


def _wait(ladder: Ladder, now: float, ended: Outcome | None) -> tuple[Ladder, Step]:
    """Only wait. A rung in flight keeps its time: a port that goes at a reset is on its way back."""
    if ladder.rung is not None and ladder.until <= now:
        ended = Outcome(ladder.rung, worked=False)
        ladder = ladder._replace(rung=None)
    return ladder, Step(None, now + ladder.limits.look, ladder.diagnosis, ended)


def _in_flight(ladder: Ladder, evidence: Evidence, now: float) -> bool:
    """Return whether a rung, or the pause, still has time left."""
    if ladder.rung is Rung.PROBE and evidence.answers is not None:
        return False
    if ladder.until > now:
        return True
    # A measure for the link shows its effect only at the next attempt.
    failed_again = evidence.link_failures > ladder.failures
    return ladder.rung is not None and ladder.diagnosis is Diagnosis.NO_LINK and not failed_again


def _climb(ladder: Ladder, evidence: Evidence, now: float, ended: Outcome | None) -> tuple[Ladder, Step]:
    limits, diagnosis = ladder.limits, ladder.diagnosis
    if ladder.rung is not None:
        ended = Outcome(ladder.rung, worked=ladder.rung is Rung.PROBE and diagnosis is not Diagnosis.SILENT)
    calm = ladder._replace(rung=None)
    patience = ladder.since + limits.patience(diagnosis)
    if not ladder.tried and now < patience:
        return calm, Step(None, min(patience, now + limits.look), diagnosis, ended)
    rung = _next_rung(ladder, evidence)
    if rung is None:
        until = now + limits.pause(ladder.rounds)
        rested = calm._replace(tried=frozenset(), until=until, rounds=ladder.rounds + 1)
        return rested, Step(None, min(until, now + limits.look), diagnosis, ended)
    until = now + limits.time_for(rung, diagnosis)
    tried = ladder.tried | {rung}
    climbing = calm._replace(rung=rung, until=until, tried=tried, failures=evidence.link_failures)
    return climbing, Step(rung, until, diagnosis, ended)


def _next_rung(ladder: Ladder, evidence: Evidence) -> Rung | None:
    """Return the mildest measure that is left."""
    known = {Rung.PROBE} if evidence.answers else set()
    left = (rung for rung in LADDER if rung in ladder.available and rung not in ladder.tried | known)
    return next(left, None)
