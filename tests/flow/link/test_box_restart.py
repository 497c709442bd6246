"""The restart of the box: when it is due, and that it happens once a day at most."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.core.modem import Facts
from bridge.core.recovery import Diagnosis
from bridge.errors import OperationError
from bridge.flow.link.box_restart import DAY, FIRST_PAUSE, BoxRestart
from bridge.flow.link.hardware import Hardware
from bridge.flow.link.supervisor import ModemSupervisor
from bridge.store.journal import Journal
from bridge.store.outbox import Limits
from tests.doubles.notices import Told
from tests.doubles.time import Clock, MovableTime

AFTER = 7200.0


class Box:
    """A box in trouble."""

    def __init__(self, path: Path, after: float | None = AFTER) -> None:
        self.path, self.after = path, after
        self.clock = Clock()
        self.waits = True
        self.refuses = ""
        self.restarts = 0
        self.open()

    def open(self) -> None:
        """Start the bridge."""
        self.time = MovableTime(self.clock)
        self.journal = Journal.open(self.path, Limits(), self.time)
        self.box = BoxRestart(self.journal, self.after, lambda: self.waits, self._restart)

    def reopen(self) -> None:
        """Have the bridge killed and started."""
        self.journal.close()
        self.open()

    async def _restart(self) -> None:
        assert self.journal.outbox.meta("box_restarted"), "the note of it is durable"
        assert not self.journal.writer.waiting
        if self.refuses:
            raise OperationError(self.refuses)
        self.restarts += 1

    def trouble(
        self, seconds: float, diagnosis: Diagnosis = Diagnosis.SILENT, *, exhausted: bool = True
    ) -> int:
        """Let the trouble last for ``seconds``, looked at each minute; return how often the box restarted."""

        async def carry_out() -> None:
            task = asyncio.ensure_future(self.box.carry_out())
            while not task.done():
                self.time.pass_(0.01)
                await asyncio.sleep(0)
            if not self.refuses:
                task.result()

        before = self.restarts
        for _ in range(int(seconds / 60.0) + 1):
            if self.box.due(diagnosis, exhausted=exhausted):
                asyncio.run(carry_out())
            self.time.pass_(60.0)
        return self.restarts - before


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path / "outbox.db")
    yield box
    box.journal.close()


def test_it_is_restarted_after_the_time_and_once_a_day(box: Box) -> None:
    """However long the trouble lasts, and over restarts of the bridge."""
    assert box.trouble(AFTER - 120) == 0
    assert box.trouble(600) == 1
    box.reopen()
    assert box.trouble(DAY - AFTER) == 0
    box.reopen()
    assert box.trouble(2 * AFTER) == 1


def test_a_step_of_the_clock_is_no_day(box: Box) -> None:
    """The time that is learned late neither hastens a restart nor puts one off."""
    assert box.trouble(AFTER + 600) == 1
    box.clock.step(10 * DAY)
    assert box.trouble(DAY / 2) == 0
    box.clock.step(-30 * DAY)
    assert box.trouble(DAY / 2) == 1


@pytest.mark.parametrize(
    "diagnosis", [Diagnosis.GONE, Diagnosis.NO_LINK, Diagnosis.DENIED, Diagnosis.NO_NETWORK]
)
def test_any_trouble_that_the_ladder_does_not_help_counts(box: Box, diagnosis: Diagnosis) -> None:
    """A modem that is gone from the bus too."""
    assert box.trouble(AFTER + 600, diagnosis) == 1


def test_nothing_that_a_restart_cannot_help_restarts_it(box: Box) -> None:
    """A SIM that needs a person, a ladder that is still climbed, nothing that waits, no such setting."""
    assert box.trouble(2 * AFTER, Diagnosis.SIM) == 0
    assert box.trouble(2 * AFTER, exhausted=False) == 0
    box.waits = False
    assert box.trouble(2 * AFTER) == 0
    box.waits = True
    assert box.trouble(60) == 1, "the trouble has lasted long enough"
    box.after = None
    box.reopen()
    assert box.trouble(3 * DAY) == 0


def test_trouble_that_ended_begins_anew(box: Box) -> None:
    """What helped for a moment has helped."""
    assert box.trouble(AFTER - 120) == 0
    assert box.trouble(60, Diagnosis.NONE) == 0
    assert box.trouble(AFTER - 120) == 0
    assert box.trouble(600) == 1


def test_a_refusal_uses_up_no_day_and_is_asked_for_ever_more_rarely(box: Box) -> None:
    """As while packages are being installed."""
    box.refuses = "apt is at work"
    assert box.trouble(AFTER + 3 * FIRST_PAUSE) == 0
    assert box.journal.outbox.meta("box_restarted") is None
    box.refuses = ""
    assert box.trouble(7 * FIRST_PAUSE) == 1


def test_the_supervisor_reports_the_rung(box: Box) -> None:
    """A modem that is gone for long, with the reason where it is refused."""
    told = Told()

    def never(*_: object) -> Any:
        raise AssertionError

    hardware = Hardware(
        find=lambda: None,
        missing="no modem",
        make=never,
        power=never,
        can_power=lambda _: False,
    )
    supervisor = ModemSupervisor(
        hardware, box.time, told, on_change=lambda: None, link_up=lambda: False, box=box.box
    )

    async def until(condition: Callable[[], object]) -> None:
        task = asyncio.ensure_future(supervisor.run())
        async with asyncio.timeout(60):
            while not condition():
                box.time.pass_(30.0)
                supervisor.doubt()
                await asyncio.sleep(0.001)
        task.cancel()

    box.refuses = "apt is at work"
    asyncio.run(until(lambda: len(told.events) >= 2))
    rungs = [(event, fields["rung"], fields["trouble"], fields["worked"]) for event, fields in told.events]
    assert rungs[:2] == [
        ("modem.recovery", "restart_box", "gone", None),
        ("modem.recovery", "restart_box", "gone", False),
    ]
    assert supervisor.facts == Facts()
