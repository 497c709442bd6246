"""One modem, started, supervised and queried through its AT port.

Owned by the event loop's thread. Announced facts (registration, SIM) are in `Modem.facts` at once;
`Modem.poll` queries the rest. Some announcements call for a query (a new network's operator, a SIM that
became ready, a modem that restarted): one task runs these follow-ups, and ends when none is left.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from bridge.adapters.modem.at_port import Answer, AtPort, Urc
from bridge.adapters.modem.client import NORMAL_PACE, ModemClient, Pace
from bridge.adapters.modem.facts import ModemState, RegistrationChange
from bridge.adapters.modem.followups import FollowUps
from bridge.adapters.modem.location import locate
from bridge.adapters.modem.sim_pin import PinGuard
from bridge.core.modem import Facts, Identity, Sim
from bridge.errors import AtRefused, ModemError, ModemGone, ModemSilent
from bridge.protocol.at import answers
from bridge.protocol.at.simcard import sim_urc
from bridge.protocol.modems import Profile

log = logging.getLogger("modem")

SIM_TRIES = 30
"""Number of queries in a row of a busy SIM; after these only `Modem.poll` queries it."""

_usb_mode_set: set[str | None] = set()
"""Ports whose modem got a new USB mode; a modem that does not keep it must not restart for ever."""


class Modem:
    """One modem; see the module's docstring."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        profile: Profile,
        *,
        sim_pin: str | None,
        on_facts: Callable[[Facts], None],
        on_urc: Callable[[Urc], None],
        on_lost: Callable[[str], None],
        pins: PinGuard | None = None,
        apn: str = "hologram",
        status_reports: Callable[[], bool] = lambda: False,
        payload_after: Callable[[str], int] | None = None,
        pace: Pace = NORMAL_PACE,
    ) -> None:
        """``on_facts`` gets each change, ``on_urc`` each unsolicited code, ``on_lost`` why the port broke.

        ``pins`` outlives the modem object, and keeps a wrong PIN from being entered again. ``apn`` is for
        location by the network. ``status_reports`` asks the modem to pass SMS status reports on.
        ``payload_after`` is the AT port's; ``pace`` holds the modem's time limits.
        """
        self.profile = profile
        self.port = AtPort(loop, on_urc=self._received, on_lost=self._broke, payload_after=payload_after)
        self.path: str | None = None
        """The port of the last start."""
        self.apn = apn
        self._loop = loop
        self._state = ModemState(profile, on_facts)
        self._client = ModemClient(
            self.port,
            profile,
            self._state,
            sim_pin=sim_pin,
            pins=pins or PinGuard(),
            status_reports=status_reports,
            pace=pace,
        )
        self._pace = pace
        self._on_urc, self._on_lost = on_urc, on_lost
        self._radio = True
        self._follows = True
        """Whether announcements are followed up."""
        self._sim_tries = 0
        self._sim_timer: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()
        """Held during a series of queries."""
        self._followups = FollowUps(
            loop,
            self._lock,
            {"restart": self._set_up_again, "sim": self._check_sim, "operator": self._ask_operator},
        )
        self._awaited: dict[str, asyncio.Future[str]] = {}

    # -- life --------------------------------------------------------------------------------------------

    @property
    def facts(self) -> Facts:
        """The modem's facts as known now."""
        return self._state.facts

    @property
    def sim_problem(self) -> str | None:
        """What a person must do about the SIM; None if nothing."""
        return self._client.sim_problem

    async def start(self, path: str, *, radio: bool = True) -> None:
        """Open ``path`` and set the modem up; ``radio`` False leaves the radio as it is.

        A modem may refuse commands that it does not know. Raises `ModemGone` if the port cannot be opened or
        the modem had to restart to order its ports, and `ModemSilent` if nothing answers; the port is then
        closed.
        """
        self.close()
        self.path, self._radio, self._follows = path, radio, True
        async with self._lock:
            try:
                await self.port.open(path, self.profile.baud)
                await self._wake()
                self._followups.drop()  # everything announced so far is queried now
                await self._set_up()
            except BaseException:
                self.close()
                raise

    async def attach(self, path: str) -> None:
        """Open ``path`` and change nothing; raises as `start` does."""
        self.close()
        self.path, self._follows = path, False
        try:
            await self.port.open(path, self.profile.baud)
            await self._wake()
        except BaseException:
            self.close()
            raise

    async def _wake(self) -> None:
        end = self._loop.time() + self._pace.wake
        while not await self.probe(self._pace.wake_step):
            if not self.port.is_open:
                raise ModemGone(f"{self.path} went away")
            if self._loop.time() >= end:
                raise ModemSilent(f"nothing answers AT commands on {self.path}")

    async def _set_up(self) -> None:
        self._client.sim_set_up = False
        await self._client.send("ATE0", "AT+CMEE=2")
        await self._check_usb_mode()
        await self._client.set_up(radio=self._radio)
        await self._check_sim()
        await self._client.network()

    async def _check_usb_mode(self) -> None:
        """Set u-blox's USB configuration 0 [u-blox SARA-U2 AT commands manual UBX-13001820, +UUSBCONF]."""
        if self.profile.usb_mode_command is None or self.path in _usb_mode_set:
            return
        mode = answers.usb_mode(await self._client.ask("AT+UUSBCONF?"))
        if mode in (None, 0):
            return
        _usb_mode_set.add(self.path)
        log.info("the modem's USB configuration is %s: setting it to 0 and restarting the modem", mode)
        await self._client.send(self.profile.usb_mode_command)
        await self._reset()
        raise ModemGone("the modem restarts to have its USB ports in the documented order")

    def close(self) -> None:
        """Release the port; idempotent. The facts stay, because a call over the only port closes it too."""
        self._stop(f"{self.path or 'the port'} was closed")
        self.port.close()

    def _broke(self, reason: str) -> None:
        self._stop(reason)
        self._state.lost()
        self._on_lost(reason)

    def _stop(self, reason: str) -> None:
        self._followups.drop()
        self._sim_tries = 0
        if self._sim_timer is not None:
            self._sim_timer.cancel()
        for future in self._awaited.values():
            if not future.done():
                future.set_exception(ModemGone(reason))
                future.exception()  # the waiter may have been cancelled
        self._awaited.clear()
        self._state.forget_cells()

    # -- queries -----------------------------------------------------------------------------------------

    async def poll(self) -> None:
        """Query what is not announced, and check what is; raises `ModemSilent` and `ModemGone`."""
        async with self._lock:
            await self._check_sim()
            self._act_on(await self._client.network())

    async def identify(self) -> Identity:
        """Query the identity of modem and SIM; raises `ModemSilent` and `ModemGone`."""
        async with self._lock:
            await self._client.modem_identity()
            await self._client.sim_identity()
        return self.facts.identity

    async def probe(self, timeout: float | None = None) -> bool:
        """Return whether the modem answers within ``timeout`` seconds (3 by default), even with an error."""
        return await self._client.probe(timeout)

    async def _check_sim(self) -> None:
        busy = await self._client.sim() is Sim.BUSY
        self._sim_tries = self._sim_tries + 1 if busy else 0
        if busy and self._sim_tries <= SIM_TRIES:
            self._sim_timer = self._loop.call_later(self._pace.sim, self._want, "sim")

    # -- announcements -----------------------------------------------------------------------------------

    def _received(self, urc: Urc) -> None:
        self._take_over(urc.line)
        name = urc.line.partition(":")[0].strip().upper()
        future = self._awaited.pop(name, None)
        if future is not None and not future.done():
            future.set_result(urc.line)
        self._on_urc(urc)

    def _take_over(self, line: str) -> None:
        if (state := sim_urc(line)) is not None:
            if state is not Sim.UNKNOWN:
                self._state.sim(state)
            if state in (Sim.ABSENT, Sim.BUSY):
                self._client.sim_set_up = False
            self._want("sim")
        elif line.strip().upper() in answers.RESTARTED:
            self._want("restart")
        elif (read := answers.signal(line)) is not None:
            self._state.update(signal=read)
        else:
            self._act_on(self._state.lines([line]))

    def _act_on(self, change: RegistrationChange) -> None:
        if change.forgetful:
            self._want("restart")
        elif change.registered:
            self._want("operator")

    def expect(self, name: str) -> "asyncio.Future[str]":
        """Return a future of the next unsolicited line named ``name``; ModemGone if the port closes."""
        future = self._awaited.get(name)
        if future is None:
            future = self._awaited[name] = self._loop.create_future()
        return future

    def _want(self, followup: str) -> None:
        if self._follows and self.port.is_open:
            self._followups.want(followup)

    async def _set_up_again(self) -> None:
        log.info("the modem restarted; setting it up again")
        await self._set_up()

    async def _ask_operator(self) -> None:
        await self._client.operator()
        await self._client.signal()

    # -- commands ----------------------------------------------------------------------------------------

    async def radio(self, on: bool) -> None:
        """Switch the radio on or off; off keeps the SIM powered. Raises `ModemError`."""
        self._radio = on
        if on:
            await self.port.command("AT+CFUN=1", timeout=self._pace.radio)
        else:
            await self._radio_off()
            self._state.radio_off()
        self._want("sim")

    async def _radio_off(self) -> None:
        try:
            await self.port.command("AT+CFUN=4", timeout=self._pace.radio)
        except AtRefused:  # no flight mode: use minimum functionality
            await self.port.command("AT+CFUN=0", timeout=self._pace.radio)

    async def soft_reset(self) -> None:
        """Switch the radio off and on, which makes the modem register again.

        The command is sent to a silent modem too, because a hung modem may act on what it does not answer.
        Raises `ModemGone`, `ModemSilent` if it does not answer afterwards either, and `AtRefused`.
        """
        if await self.probe():
            await self.radio(False)
        else:
            await self._send_unanswered("AT+CFUN=4")
        if not await self.probe():
            await self._send_unanswered("AT+CFUN=1")
            if not await self.probe():
                raise ModemSilent("the modem does not answer")
        await self.radio(True)

    async def reset(self) -> None:
        """Restart the modem by the profile's command; its port may go.

        Silence is no error, because a hung modem may act on what it does not answer. Raises `ModemGone` if
        the port cannot be opened, `AtRefused` if the modem refuses.
        """
        if await self.probe():
            await self._reset()
        else:
            await self._send_unanswered(self.profile.reset_command)
            self._state.radio_off()

    async def _reset(self) -> None:
        try:
            await self.port.command(self.profile.reset_command, timeout=self._pace.blind)
        except (ModemSilent, ModemGone) as exc:
            log.debug("the modem did not confirm its restart: %s", exc)
        self._state.radio_off()

    async def _send_unanswered(self, text: str) -> None:
        """Send a command to a modem that may act on it without answering.

        The port is reopened first, because an open one waits for the answers still owed.
        """
        if self.path is None:
            raise ModemGone("the modem was never there")
        self.port.close()
        await self.port.open(self.path, self.profile.baud)
        try:
            await self.port.command(text, timeout=self._pace.blind)
        except ModemError as exc:
            log.debug("%s", exc)

    async def prepare_data(self, apn: str) -> None:
        """Set the APN of context 1 if it differs; raises `ModemError`.

        LTE modems may refuse while they are attached with it; then the radio is switched off for the change.
        """
        self.apn = apn
        if answers.context_apn(await self._client.ask("AT+CGDCONT?")) == ("IP", apn):
            return
        command = f'AT+CGDCONT=1,"IP","{apn}"'
        try:
            await self.port.command(command)
        except AtRefused:
            await self.radio(False)
            try:
                await self.port.command(command)
            finally:
                if self.port.is_open:
                    await self.radio(True)

    async def location(self, timeout: float = 120.0) -> dict[str, Any]:
        """Return the modem's location; raises `ModemError` if it has no means, or finds none in time."""
        place = await locate(self, timeout)
        return place._asdict()

    async def at(self, text: str, timeout: float = 10.0) -> Answer:
        """Send any AT command, with its secrets kept out of traces; raises `ModemError`."""
        return await self.port.command(text, timeout=timeout, shown=answers.without_secrets(text))
