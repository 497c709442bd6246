"""Trials: the broker is asked before a cut counts against a publication."""

from collections.abc import Callable

import pytest

from bridge.core.suspects import OPEN, PAUSE, PROVEN, Key
from bridge.flow.message.trials import CUT, WITNESS_WAIT, Flight, Trials
from tests.doubles.time import MovableTime


class Connection:
    """A session with the broker that answers when a test has it do so."""

    def __init__(self) -> None:
        self.connection: int | None = 1
        self.echoes: list[Callable[[int], None]] = []
        self.explanations = 0

    def echo(self, then: Callable[[int], None]) -> None:
        self.echoes.append(then)

    def explained(self) -> None:
        self.explanations += 1

    def answer(self) -> None:
        echoes, self.echoes = self.echoes, []
        for then in echoes:
            assert self.connection is not None
            then(self.connection)


class Rig:
    """Trials between two sessions, and what they say."""

    def __init__(self) -> None:
        self.time = MovableTime()
        self.link, self.witness = Connection(), Connection()
        self.dropped: list[tuple[Key, str]] = []
        self.skipped: list[Key] = []
        self.woken = 0
        self.trials = Trials(
            self.time, control="state", wake=self.wake, drop=self.drop, skip=self.skipped.append
        )
        self.trials.attach(self.link, self.witness)

    def wake(self) -> None:
        self.woken += 1

    def drop(self, key: Key, reason: str) -> None:
        self.dropped.append((key, reason))

    def cut(self, *keys: Key) -> None:
        """The broker cuts the connection with these in flight; another one stands."""
        self.trials.down([Flight(key, 10, 0.0) for key in keys], cut=True)
        self.trials.up()

    def cut_alone(self, key: Key, *, witnessed: bool = True) -> None:
        """Cut for a suspect that is in flight alone; the witness survives it, or not."""
        self.trials.suspects.suspect([key])
        self.trials.down([Flight(key, 10, 0.0)], cut=True)
        if not witnessed:
            assert self.witness.connection is not None
            self.witness.connection += 1
        self.trials.up()
        self.link.answer()
        self.witness.answer()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_what_was_in_flight_at_a_cut_is_tried_alone(rig: Rig) -> None:
    """Nothing is published until the broker has answered."""
    rig.cut(1, 2)
    assert (rig.trials.checking, rig.woken) == (True, 0)
    rig.link.answer()
    assert (rig.trials.checking, rig.woken, rig.trials.suspects.first) == (False, 1, 1)


def test_a_connection_that_we_end_suspects_nothing(rig: Rig) -> None:
    """The bridge itself ends the connection at a stop."""
    rig.trials.down([Flight(1, 10, 0.0)], cut=False)
    rig.trials.up()
    assert (bool(rig.trials.suspects), rig.trials.checking, rig.link.echoes) == (False, False, [])


def test_what_alone_explains_the_cuts_is_given_up(rig: Rig) -> None:
    """The broker goes on answering on the other connection."""
    for _ in range(PROVEN):
        assert rig.dropped == []
        rig.cut_alone(7)
    assert rig.dropped == [(7, CUT)]
    assert rig.link.explanations == PROVEN, "the next connection need not wait longer for that"


def test_a_broker_that_goes_down_with_both_connections_proves_nothing(rig: Rig) -> None:
    """The smallest publication is tried before the suspect after that."""
    for _ in range(PROVEN + 1):
        rig.cut_alone(7, witnessed=False)
    assert (rig.dropped, rig.link.explanations) == ([], 0)
    assert rig.trials.suspects.first == "state"


def test_a_suspect_that_is_never_cleared_lets_the_others_go_first(rig: Rig) -> None:
    """Something else was acknowledged in between; the suspect is tried again after a pause."""
    for _ in range(OPEN):
        rig.trials.suspects.acknowledged("other")
        rig.cut_alone(7, witnessed=False)
    rig.trials.suspects.acknowledged("other")
    rig.cut_alone(7, witnessed=False)
    assert rig.skipped
    assert 7 not in rig.trials.suspects
    rig.time.pass_(4 * PAUSE)
    assert 7 in rig.trials.suspects


def test_a_broker_that_does_not_answer_is_not_waited_for(rig: Rig) -> None:
    """The publisher goes on without an answer."""
    rig.cut(1)
    rig.time.pass_(WITNESS_WAIT + 0.1)
    assert (rig.trials.checking, rig.woken) == (False, 1)
    rig.link.answer()
    assert rig.woken == 1, "a late answer changes nothing"


def test_without_suspects_nothing_is_asked(rig: Rig) -> None:
    """Two answers for each connection would be waste."""
    rig.trials.up()
    assert (rig.link.echoes, rig.trials.checking) == ([], False)
