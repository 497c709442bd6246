"""Hardware: what the supervisor needs of a modem and of its place."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from bridge.core.modem import Facts, Place


class Modem(Protocol):
    """The interface of a modem that the supervisor needs."""

    @property
    def facts(self) -> Facts:
        """The modem's facts as known now."""

    @property
    def sim_problem(self) -> str | None:
        """What a person must do about the SIM; None if nothing."""

    async def start(self, path: str, *, radio: bool = True) -> None:
        """Open the port and set the modem up; raises `ModemGone` and `ModemSilent`."""

    def close(self) -> None:
        """Release the port."""

    async def poll(self) -> None:
        """Query signal and state; raises `ModemGone` and `ModemSilent`."""

    async def probe(self, timeout: float = 3.0) -> bool:
        """Return whether the modem answers within ``timeout`` seconds."""

    async def radio(self, on: bool) -> None:
        """Switch the radio on or off."""

    async def soft_reset(self) -> None:
        """Switch the radio off and on."""

    async def reset(self) -> None:
        """Restart the modem."""

    async def prepare_data(self, apn: str) -> None:
        """Set the APN."""


class Hardware(NamedTuple):
    """Where modems are found, and what can be done to a modem from outside."""

    find: Callable[[], Place | None]
    """Returns the modem's place, or None."""
    missing: str
    """The text of the fault if no modem is found."""
    make: Callable[[Place, Callable[[Facts], None], Callable[[str], None]], Modem]
    """Creates the modem at a place; takes the callbacks for new facts and for a lost port."""
    power: Callable[[Place], Awaitable[None]]
    """Switches the modem at a place off and on."""
    can_power: Callable[[Place], bool]
    """Returns whether ``power`` works at a place."""
    poll: float = 60.0
    """Seconds between queries of the modem's state."""
