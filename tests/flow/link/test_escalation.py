"""The recovery ladder of one modem, and the events about its rungs."""

from typing import Any

import pytest

from bridge.core.modem import Place, Registration, Sim
from bridge.core.recovery import Evidence, Limits, Rung
from bridge.flow.link.escalation import KEEPS_LINK, Escalation
from tests.doubles.notices import Told
from tests.doubles.time import MovableTime

PLACE = Place("cellular-ec21", "/dev/ttyUSB2", "/dev/ttyUSB3", "/sys/usb/1-1")
SILENT = Evidence(port=True, answers=False)
WELL = Evidence(port=True, answers=True, sim=Sim.READY, registration=Registration.HOME)


class Modem:
    """A modem in trouble: `climb` climbs the ladder as the supervisor does."""

    def __init__(self) -> None:
        self.time = MovableTime()
        self.notices = Told()
        self.can_power = True
        self.link_up = False
        self.escalation = Escalation(
            can_power=lambda _: self.can_power,
            link_up=lambda: self.link_up,
            time=self.time,
            notices=self.notices,
            limits=Limits(),
        )

    def climb(self, evidence: Evidence, steps: int) -> list[Rung]:
        """Look ``steps`` times, each when the step before says; return the rungs."""
        rungs: list[Rung] = []
        for _ in range(steps):
            step = self.escalation.look(evidence, PLACE)
            if step.rung:
                rungs.append(step.rung)
                self.escalation.begins(step.rung)
            self.time.pass_(max(0.0, step.until - self.time.now().mono) + 0.1)
        return rungs

    def said(self) -> list[dict[str, Any]]:
        assert {event for event, _ in self.notices.events} <= {"modem.recovery"}
        return [fields for _, fields in self.notices.events]


@pytest.fixture
def modem() -> Modem:
    return Modem()


def test_a_silent_modem_is_tried_from_the_mildest_rung_on(modem: Modem) -> None:
    """Each rung is an event when it begins and when it ends."""
    rungs = modem.climb(SILENT, 5)
    assert rungs[0] is Rung.PROBE
    assert rungs[-1] is Rung.POWER
    assert modem.said()[:2] == [
        {"rung": "probe", "trouble": "silent", "worked": None},
        {"rung": "probe", "trouble": "silent", "worked": False},
    ]


def test_a_rung_that_helped_says_so(modem: Modem) -> None:
    """The ladder begins at its foot the next time."""
    modem.climb(SILENT, 2)
    modem.climb(WELL, 1)
    assert modem.said()[-1]["worked"] is True
    assert modem.climb(SILENT, 1) == [Rung.PROBE]


def test_a_modem_that_is_well_is_left_alone(modem: Modem) -> None:
    """There is no event either."""
    assert (modem.climb(WELL, 10), modem.said()) == ([], [])


def test_while_a_link_is_up_nothing_is_done_that_would_end_it(modem: Modem) -> None:
    """A silent port for commands is no reason to lose a link that works."""
    modem.link_up = True
    assert set(modem.climb(SILENT, 20)) == KEEPS_LINK


def test_power_is_switched_only_where_it_can_be(modem: Modem) -> None:
    """Some USB ports cannot switch their power."""
    modem.can_power = False
    rungs = modem.climb(SILENT, 20)
    assert Rung.REOPEN in rungs
    assert Rung.POWER not in rungs
