"""The facts known of a modem: `Facts` that change with its answers and announcements."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from bridge.adapters.system.odd_lines import OddLines
from bridge.core.modem import Facts, Registration, Signal, Sim
from bridge.protocol.at.answers import Cell, is_registration, merged, registration
from bridge.protocol.modems import Profile

log = logging.getLogger("modem")

_NO_SIM = (Sim.ABSENT, Sim.UNKNOWN, Sim.FAILED)


class RegistrationChange(NamedTuple):
    """The queries that a registration line calls for."""

    registered: bool = False
    """Whether the modem has just come into a network, so that its operator is unknown."""
    forgetful: bool = False
    """Whether the modem has stopped announcing, which means that it restarted."""


class ModemState:
    """Holds the facts of one modem and reports each change."""

    def __init__(self, profile: Profile, on_facts: Callable[[Facts], None]) -> None:
        self.facts = Facts()
        self._profile = profile
        self._on_facts = on_facts
        self._cells: dict[str, Cell] = {}
        self._odd = OddLines(log)

    def update(self, **changes: Any) -> None:
        """Set fields of `Facts`; a change is reported."""
        facts = self.facts._replace(**changes)
        if facts != self.facts:
            self.facts = facts
            self._on_facts(facts)

    def identity(self, **known: str | None) -> None:
        """Set the fields that were answered; the others keep their values."""
        given = {key: value for key, value in known.items() if value is not None}
        self.update(identity=self.facts.identity._replace(**given))

    def sim(self, state: Sim) -> None:
        """Set the state of the SIM; without a SIM its identity is cleared."""
        if state in _NO_SIM:
            self.update(sim=state, identity=self.facts.identity._replace(imsi=None, iccid=None))
        else:
            self.update(sim=state)

    def lines(self, lines: Iterable[str]) -> RegistrationChange:
        """Apply what answers and unsolicited codes say of the registration."""
        cells = [cell for line in lines if (cell := self._cell(line)) is not None]
        self._cells.update((cell.command, cell) for cell in cells)
        was = self.facts.registration
        if cells and (cell := merged(self._cells)) is not None:
            self._registered(cell)
        return RegistrationChange(
            registered=self.facts.registration.registered and not was.registered,
            forgetful=any(cell.urcs == 0 for cell in cells),
        )

    def _cell(self, line: str) -> Cell | None:
        cell = registration(line)
        if cell is None and is_registration(line):
            self._odd.say(line)
        return cell

    def _registered(self, cell: Cell) -> None:
        if cell.registration.registered:
            technology = self._profile.technology(cell.access) or self.facts.technology
            self.update(registration=cell.registration, technology=technology)
        else:
            self.update(registration=cell.registration, technology=None, operator=None)

    def operator(self, name: str | None, access: int | None) -> None:
        """Set the operator, which only counts in a network."""
        if self.facts.registration.registered:
            technology = self.facts.technology or self._profile.technology(access)
            self.update(operator=name, technology=technology)

    def radio_off(self) -> None:
        """Clear the registration, because without the radio there is no network."""
        self.forget_cells()
        self.update(registration=Registration.NONE, technology=None, operator=None, signal=Signal())

    def forget_cells(self) -> None:
        """Forget the cells, because the modem stopped announcing; the facts stay until the next query."""
        self._cells.clear()

    def lost(self) -> None:
        """Clear all facts but the modem's identity."""
        self.forget_cells()
        self.update(**Facts(identity=self.facts.identity)._asdict())
