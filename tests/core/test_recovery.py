"""The recovery ladder: what is done for a modem in trouble, and when."""

from itertools import pairwise
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.modem import Registration, Sim
from bridge.core.recovery import ALL_RUNGS, LADDER, Diagnosis, Evidence, Ladder, Limits, Outcome, Rung, Step

LIMITS = Limits()

WELL = Evidence(port=True, answers=True, sim=Sim.READY, registration=Registration.HOME)
SILENT = Evidence(port=True, answers=False)
GONE = Evidence(port=False)
SEARCHING = WELL._replace(registration=Registration.SEARCHING)
DENIED = WELL._replace(registration=Registration.DENIED)


class Taken(NamedTuple):
    """A step that was taken, and when."""

    at: float
    step: Step


class Story:
    """A ladder in use: time passes as its steps say."""

    def __init__(self, available: frozenset[Rung] = ALL_RUNGS) -> None:
        self.ladder = Ladder(LIMITS, available)
        self.now = 1000.0
        self.taken: list[Taken] = []

    def step(self, evidence: Evidence) -> Step:
        """Ask once, and let the time pass until the next look."""
        self.ladder, step = self.ladder.next(evidence, self.now)
        self.taken.append(Taken(self.now, step))
        self.now = max(self.now, step.until)
        return step

    def during(self, evidence: Evidence, seconds: float) -> None:
        """Go on with the same evidence for some time."""
        end = self.now + seconds
        while self.now < end:
            before = self.now
            step = self.step(evidence)
            assert step.rung or self.now > before, "a wait takes time, or its owner spins"

    @property
    def rungs(self) -> list[Rung]:
        return [taken.step.rung for taken in self.taken if taken.step.rung]

    @property
    def outcomes(self) -> list[Outcome]:
        return [taken.step.ended for taken in self.taken if taken.step.ended]


def test_a_well_modem_is_left_alone() -> None:
    """Nothing is done while there is no trouble."""
    story = Story()
    story.during(WELL, 10_000)
    assert story.rungs == []
    assert {taken.step.diagnosis for taken in story.taken} == {Diagnosis.NONE}


def test_a_silent_modem_climbs_every_rung_at_once() -> None:
    """From the mildest means to the strongest, each with its time; each outcome is told."""
    story = Story()
    story.during(SILENT, 150)
    assert tuple(story.rungs) == LADDER
    assert story.outcomes == [Outcome(rung, worked=False) for rung in LADDER]
    starts = [taken.at for taken in story.taken if taken.step.rung]
    assert starts[0] == 1000.0
    assert starts[-1] - starts[0] < 120, "a hung modem is without power within two minutes"


def test_a_probe_that_was_answered_ends_it() -> None:
    """A modem that was only slow is not reset."""
    story = Story()
    assert story.step(SILENT).rung is Rung.PROBE
    step = story.step(WELL)
    assert step.ended == Outcome(Rung.PROBE, worked=True)
    assert story.ladder == Ladder(LIMITS)


def test_a_probe_that_was_not_answered_need_not_take_its_time() -> None:
    """The next rung follows on the evidence."""
    story = Story()
    story.step(SILENT)
    story.ladder, step = story.ladder.next(SILENT, 1003.0)
    assert step.rung is Rung.SOFT_RESET
    assert step.ended == Outcome(Rung.PROBE, worked=False)


def test_the_pauses_grow_and_have_a_bound() -> None:
    """After every whole round it takes longer until the next, up to an hour; it never ends."""
    story = Story()
    story.during(SILENT, 100_000)
    begun = [taken.at for taken in story.taken if taken.step.rung is Rung.PROBE]
    gaps = [after - before for before, after in pairwise(begun)]
    assert gaps == sorted(gaps)
    assert gaps[0] < 300
    assert 3600 <= gaps[-1] < 4000


def test_a_port_that_is_gone_is_waited_for() -> None:
    """However long it takes, nothing is reset; when it is back and well all is forgotten."""
    story = Story()
    story.during(GONE, 100_000)
    assert story.rungs == []
    assert story.step(WELL).diagnosis is Diagnosis.NONE


def test_a_port_that_comes_back_has_time_to_register() -> None:
    """The patience begins anew, as a modem that was plugged in needs some minutes."""
    story = Story()
    story.during(GONE, 5_000)
    back = story.now
    story.during(SEARCHING, LIMITS.no_network - LIMITS.look)
    assert story.rungs == []
    story.during(SEARCHING, 2 * LIMITS.look)
    assert story.rungs == [Rung.SOFT_RESET]
    assert [taken.at for taken in story.taken if taken.step.rung] == [back + LIMITS.no_network]


def test_a_port_that_goes_at_a_reset_is_on_its_way_back() -> None:
    """The reset keeps its time while the port is gone, and has worked when the modem is well."""
    story = Story()
    while story.step(SILENT).rung is not Rung.RESET:
        pass
    begun = story.taken[-1].at
    story.now = begun + 1
    story.during(GONE, 20)
    assert story.rungs[-1] is Rung.RESET
    assert story.step(WELL).ended == Outcome(Rung.RESET, worked=True)


def test_a_port_that_stays_away_after_a_reset_is_waited_for() -> None:
    """Once its time is over the reset has not worked, and nothing more is done."""
    story = Story()
    while story.step(SILENT).rung is not Rung.RESET:
        pass
    story.now = story.taken[-1].at + 1
    story.during(GONE, 10_000)
    assert story.rungs[-1] is Rung.RESET
    assert story.outcomes[-1] == Outcome(Rung.RESET, worked=False)


def test_answering_again_is_success_for_a_silent_modem() -> None:
    """It then has the patience of any modem without a network, not the next rung."""
    story = Story()
    while story.step(SILENT).rung is not Rung.REOPEN:
        pass
    story.now = story.taken[-1].at + 1
    step = story.step(SEARCHING)
    assert step.ended == Outcome(Rung.REOPEN, worked=True)
    story.during(SEARCHING, LIMITS.no_network - 2 * LIMITS.look)
    assert story.rungs[-1] is Rung.REOPEN
    assert story.step(WELL).ended is None


def test_a_modem_without_a_network_is_given_patience() -> None:
    """A search takes minutes; then the means grow stronger, without a probe of what has just answered."""
    story = Story()
    story.during(SEARCHING, LIMITS.no_network)
    assert story.rungs == []
    story.during(SEARCHING, 380)
    assert tuple(story.rungs) == LADDER[1:]


def test_a_denial_is_given_more_patience() -> None:
    """The network may mean it: it is asked anew after a quarter of an hour, and ever more seldom."""
    story = Story()
    story.during(DENIED, LIMITS.denied)
    assert story.rungs == []
    story.during(DENIED, 2 * LIMITS.look)
    assert story.rungs == [Rung.SOFT_RESET]


def test_a_sim_that_wants_somebody_is_waited_for() -> None:
    """No reset enters a PIN."""
    for state in (Sim.PIN, Sim.PUK):
        story = Story()
        story.during(WELL._replace(sim=state, registration=Registration.NONE), 100_000)
        assert story.rungs == []


def test_a_link_that_does_not_come_up_climbs_by_its_failures() -> None:
    """Three failures begin it; each rung gets a try of the link before the next."""
    story = Story()
    story.during(WELL._replace(link_failures=2), 1000)
    assert story.rungs == []
    failing = WELL._replace(link_failures=3)
    assert story.step(failing).rung is Rung.SOFT_RESET
    story.during(failing, 1000)
    assert story.rungs == [Rung.SOFT_RESET], "the link has not been tried since"
    assert story.step(failing._replace(link_failures=4)).rung is Rung.RESET
    assert story.step(WELL).ended == Outcome(Rung.RESET, worked=True)


def test_what_cannot_be_done_here_is_left_out() -> None:
    """Without root there is no power switch: the round ends before it."""
    story = Story(ALL_RUNGS - {Rung.POWER})
    story.during(SILENT, 150)
    assert tuple(story.rungs) == LADDER[:-1]


def test_a_rung_that_failed_at_once_is_not_waited_for() -> None:
    """The next step comes without its time."""
    story = Story()
    story.step(SILENT)
    story.step(SILENT)
    ladder = story.ladder.gave_up(1011.0)
    _, step = ladder.next(SILENT, 1011.0)
    assert step.rung is Rung.RESET
    assert step.ended == Outcome(Rung.SOFT_RESET, worked=False)


EVIDENCE = st.builds(
    Evidence,
    port=st.booleans(),
    answers=st.sampled_from([None, True, False]),
    sim=st.sampled_from(Sim),
    registration=st.sampled_from(Registration),
    link_failures=st.integers(0, 6),
)


@given(st.lists(st.tuples(EVIDENCE, st.floats(0, 5000)), max_size=60))
def test_whatever_happens_the_rules_hold(events: list[tuple[Evidence, float]]) -> None:
    """Nothing is done for a port that is gone; a step is never in the past; every rung is ended once."""
    ladder, now = Ladder(LIMITS), 0.0
    begun = ended = 0
    for evidence, later in events:
        now += later
        ladder, step = ladder.next(evidence, now)
        assert step.until > now
        assert evidence.port or step.rung is None
        ended += step.ended is not None
        begun += step.rung is not None
        assert begun - ended in (0, 1)
        assert (begun - ended == 1) == (ladder.rung is not None)
