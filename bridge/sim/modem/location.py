"""A modem's location [Quectel BG96 GNSS AT Commands Manual; u-blox AT commands manuals, +ULOC]."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from bridge.sim.modem.port.interpreter import Call, Handler
from bridge.sim.modem.port.line import Kind
from bridge.sim.modem.port.results import OK, Reply, cme, told
from bridge.sim.modem.profiles import Profile


class Location(Protocol):
    """One make's location commands."""

    def reset(self) -> None:
        """Drop a pending request."""

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handler of each command."""


def location_of(
    profile: Profile, loop: asyncio.AbstractEventLoop, code: Callable[[str], None]
) -> Location | None:
    """Return this model's location commands, None without any; ``code`` sends unsolicited codes."""
    if profile.location == "quectel":
        return _Quectel(loop)
    return _Ublox(loop, code) if profile.location else None


class _Quectel:
    """A GNSS receiver that has a fix half a second after it is switched on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fix_at: float | None = None

    def reset(self) -> None:
        self._fix_at = None

    def handlers(self) -> Mapping[str, Handler]:
        return {"+QGPS": self._switch_on, "+QGPSEND": self._switch_off, "+QGPSLOC": self._locate}

    def _switch_on(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            return told(f"+QGPS: {int(self._fix_at is not None)}")
        if self._fix_at is not None:
            raise cme(504)
        self._fix_at = self._loop.time() + 0.5
        return OK

    def _switch_off(self, call: Call) -> Reply:
        del call
        if self._fix_at is None:
            raise cme(505)
        self._fix_at = None
        return OK

    def _locate(self, call: Call) -> Reply:
        if self._fix_at is None:
            raise cme(505)
        if self._loop.time() < self._fix_at:
            raise cme(516)
        now = datetime.now(UTC)
        form = call.command.number(0, 0)
        place = {0: "4152.6985N,08738.1550W", 1: "4152.6985,N,08738.1550,W"}.get(form, "41.87831,-87.63592")
        return told(f"+QGPSLOC: {now:%H%M%S}.0,{place},1.1,182.4,3,0.00,0.0,0.0,{now:%d%m%y},07")


class _Ublox:
    """A fix by the surrounding cells, reported by a code."""

    def __init__(self, loop: asyncio.AbstractEventLoop, code: Callable[[str], None]) -> None:
        self._loop = loop
        self._code = code

    def reset(self) -> None:
        """Do nothing: there is no state."""

    def handlers(self) -> Mapping[str, Handler]:
        return {"+ULOC": self._locate}

    def _locate(self, call: Call) -> Reply:
        if call.command.kind is not Kind.SET:
            return OK
        now = datetime.now(UTC)
        fix = f"+UULOC: {now:%d/%m/%Y},{now:%H:%M:%S}.000,41.8783090,-87.6359170,186,32"
        return Reply(then=lambda: self._code_later(fix))

    def _code_later(self, fix: str) -> None:
        self._loop.call_later(0.3, self._code, fix)
