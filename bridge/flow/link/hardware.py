"""Hardware: what the keeper needs of a modem, and of the place where it is."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from bridge.core.modem import Facts, Place


class Modem(Protocol):
    """What is needed of a modem."""

    @property
    def facts(self) -> Facts:
        """All that is known now."""

    @property
    def sim_problem(self) -> str | None:
        """What somebody must do about the SIM."""

    async def start(self, path: str, *, radio: bool = True) -> None:
        """Open the port and set the modem up; raises `ModemGone` and `ModemSilent`."""

    def close(self) -> None:
        """Let go of the port."""

    async def poll(self) -> None:
        """Ask for signal and state; raises `ModemGone` and `ModemSilent`."""

    async def probe(self, timeout: float = 3.0) -> bool:
        """Whether it answers."""

    async def radio(self, on: bool) -> None:
        """Switch the radio."""

    async def soft_reset(self) -> None:
        """Switch the radio off and on."""

    async def reset(self) -> None:
        """Restart the modem."""

    async def prepare_data(self, apn: str) -> None:
        """Set the APN."""


class Hardware(NamedTuple):
    """Where modems come from, and what can be done to one from outside."""

    find: Callable[[], Place | None]
    """Returns where the modem is."""
    missing: str
    """The text of the trouble when there is none."""
    make: Callable[[Place, Callable[[Facts], None], Callable[[str], None]], Modem]
    """Returns the modem at a place; it gets whom to tell facts, and whom to tell a lost port."""
    power: Callable[[Place], Awaitable[None]]
    """Switches the modem at a place off and on."""
    can_power: Callable[[Place], bool]
    """Whether ``power`` can do so there."""
