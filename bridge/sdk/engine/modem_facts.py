"""A modem's facts: signal, SIM, network, location [hologram-python 0.10, ``Modem``]."""

import logging
from typing import Any

from bridge.core.modem import Facts
from bridge.errors import AtRefused, BridgeError
from bridge.protocol.modems import by_interface
from bridge.sdk.engine.at import AtCommands
from bridge.sdk.engine.errors import ModemError, of_bridge
from bridge.sdk.engine.runtime import runtime
from bridge.sdk.engine.values import Location

log = logging.getLogger("Modem")


class ModemFacts(AtCommands):
    """Queries the modem of a `session`; each raises `ModemError` if the modem cannot take a command."""

    interface = "cellular"
    """The modem's name in ``network.interface``."""

    @property
    def signal_strength(self) -> str:
        """RSSI and bit error class as the modem writes them, ``17,99``; ``99,99`` if they are unknown.

        [3GPP TS 27.007, section 8.5].
        """
        try:
            lines = self._ask("AT+CSQ").lines
        except AtRefused:
            return "99,99"
        except BridgeError as exc:
            raise of_bridge(exc) from exc
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("+CSQ")), "99,99")

    @property
    def imsi(self) -> str | None:
        """The SIM's IMSI."""
        return runtime().ask(self.session.identify()).imsi

    @property
    def iccid(self) -> str | None:
        """The SIM's number."""
        return runtime().ask(self.session.identify()).iccid

    @property
    def imei(self) -> str | None:
        """The modem's IMEI."""
        return runtime().ask(self.session.identify()).imei

    @property
    def modem_id(self) -> str | None:
        """The modem's model."""
        return runtime().ask(self.session.identify()).model

    @property
    def version(self) -> str | None:
        """The modem's firmware."""
        return runtime().ask(self.session.identify()).firmware

    @property
    def operator(self) -> str | None:
        """The network in which the modem is registered."""
        return self._facts().operator

    @property
    def location(self) -> Location | None:
        """The modem's location; None without a fix.

        Raises:
            ModemError: the modem has no receiver for it.

        """
        session = self.session

        async def ask() -> dict[str, Any]:
            return await session.modem_to_ask().location()

        try:
            place = runtime().wait(ask())
        except ModemError:
            raise
        except BridgeError as exc:
            if (
                by_interface(session.supervisor.place.interface if session.supervisor.place else "").location
                is None
            ):
                raise ModemError(str(exc)) from exc
            log.error("no location: %s", exc)
            return None
        return location_of(place)

    @property
    def description(self) -> str:
        """The modem's name for a person."""
        place = self.session.supervisor.place
        return by_interface(place.interface if place else self.interface).label

    @property
    def details(self) -> str:
        """The modem's name for a person, and its port."""
        place = self.session.supervisor.place
        return f"{self.description} at port: {place.at if place else None}"

    @property
    def active_modem_interface(self) -> str:
        """The class of the modem."""
        return repr(self)

    def is_registered(self) -> bool:
        """Return whether the modem is registered in a network."""
        return self._facts().registration.registered

    def _facts(self) -> Facts:
        """Ask the modem for its state now."""
        session = self.session

        async def ask() -> Facts:
            await session.modem_to_ask().poll()
            return session.supervisor.facts

        return runtime().ask(ask())


def location_of(place: dict[str, Any]) -> Location:
    """Return a location in the form of ``+UULOC``, as the released SDK does.

    The date is as 30/11/2026, the time as 12:34:56.000.
    """
    day, _, clock = str(place["at"] or "").removesuffix("Z").partition("T")
    date = "/".join(reversed(day.split("-")))
    degrees = (f"{place[name]:.7f}" for name in ("latitude", "longitude"))
    metres = (place[name] for name in ("altitude_m", "uncertainty_m"))
    return Location(
        date or None,
        f"{clock}.000" if clock else None,
        *degrees,
        *(None if each is None else f"{each:g}" for each in metres),
    )
