"""The modem's location: by the cells around it (u-blox CellLocate), or by its GNSS receiver (Quectel)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from bridge.adapters.modem.at_port import AtPort
from bridge.errors import AtRefused, ModemError
from bridge.protocol.at.answers import fields, find
from bridge.protocol.at.location import Location, quectel_location, ublox_location
from bridge.protocol.modems import Profile

FIX_PAUSE = 1.0
"""Seconds between two queries for a fix."""

NOT_FIXED = 516
SESSION_RUNS = 504
"""Quectel's GNSS errors [Quectel EC2x&EG9x GNSS AT Commands Manual, "Summary of Error Codes"]."""

ACTIVATE_TIMEOUT = 60.0
"""Seconds that the network may need to give the modem's own stack an address."""


class Positioned(Protocol):
    """The interface of a modem that location needs."""

    profile: Profile
    port: AtPort
    apn: str

    def expect(self, name: str) -> "asyncio.Future[str]":
        """Return a future of the next unsolicited line named ``name``."""


async def locate(modem: Positioned, seconds: float) -> Location:
    """Return the modem's location; raises `ModemError` if there is none within ``seconds``."""
    ways = {"ublox": _by_cells, "quectel": _by_satellites}
    way = ways.get(modem.profile.location or "")
    if way is None:
        raise ModemError(f"{modem.profile.label} has no means to find its place")
    try:
        async with asyncio.timeout(seconds):
            return await way(modem)
    except TimeoutError:
        raise ModemError(
            f"the modem found no place within {seconds:g} s; try where it sees the sky"
        ) from None


async def _by_cells(modem: Positioned) -> Location:
    """Query u-blox's service through the modem's own IP stack; it costs some hundred bytes of data.

    Single shot, by CellLocate, standard answer, 10 s, 10 m [u-blox SARA-R4 AT commands manual UBX-17003787,
    section 23.4].
    """
    async with _own_stack(modem):
        answer = modem.expect("+UULOC")
        await modem.port.command("AT+ULOC=2,2,0,10,10")
        place = ublox_location(await asyncio.shield(answer))
    if place is None:
        raise ModemError("the modem does not know its place: no cell around it is known")
    return place


@contextlib.asynccontextmanager
async def _own_stack(modem: Positioned) -> AsyncIterator[None]:
    """Have PDP profile 0 active in the block [u-blox SARA-U2 AT commands manual UBX-13001820]."""
    port = modem.port
    active = find("+UPSND", (await port.command("AT+UPSND=0,8")).lines) or ""
    if fields(active)[-1] == "1":
        yield
        return
    for text in (f'AT+UPSD=0,1,"{modem.apn}"', 'AT+UPSD=0,7,"0.0.0.0"'):
        await port.command(text)
    await port.command("AT+UPSDA=0,3", timeout=ACTIVATE_TIMEOUT)
    try:
        yield
    finally:
        with contextlib.suppress(ModemError):
            await port.command("AT+UPSDA=0,4", timeout=ACTIVATE_TIMEOUT)


async def _by_satellites(modem: Positioned) -> Location:
    """Switch the receiver on, query it until it has a fix, and switch it off if it was off before."""
    port = modem.port
    ours = True
    try:
        await port.command("AT+QGPS=1")
    except AtRefused as exc:
        if exc.code != SESSION_RUNS and "session is ongoing" not in exc.final.lower():
            raise
        ours = False
    try:
        while (place := await _fix(port)) is None:
            await asyncio.sleep(FIX_PAUSE)
        return place
    finally:
        if ours and port.is_open:
            with contextlib.suppress(ModemError):
                await port.command("AT+QGPSEND")


async def _fix(port: AtPort) -> Location | None:
    """Query the position in degrees; None until there is a fix."""
    try:
        return quectel_location((await port.command("AT+QGPSLOC=2")).lines)
    except AtRefused as exc:
        if exc.code == NOT_FIXED or "not fixed" in exc.final.lower():
            return None
        raise
