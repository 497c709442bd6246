"""The modem client: the queries that a modem gets, and what follows from its answers.

A modem may refuse a command that it does not know; that never stops a query. Silence does, once a plain
``AT`` gets no answer either: then `ModemSilent` is raised.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

from bridge.adapters.modem.at_port import AtPort
from bridge.adapters.modem.facts import ModemState, RegistrationChange
from bridge.adapters.modem.sim_pin import PinGuard, tries_left, unlock
from bridge.core.modem import Sim
from bridge.errors import AtRefused, ModemError, ModemSilent
from bridge.protocol.at import answers
from bridge.protocol.at.rules import ASK_FOR_WORDS, NUMBERS
from bridge.protocol.at.simcard import sim, sim_error
from bridge.protocol.modems import Profile

log = logging.getLogger("modem")


class Pace(NamedTuple):
    """The time limits of a modem, in seconds."""

    wake: float = 20.0
    """Seconds for its first answer after its port appeared."""
    wake_step: float = 2.0
    """Seconds for each try of that."""
    answer: float = 10.0
    probe: float = 3.0
    """Seconds for a plain AT."""
    radio: float = 60.0
    """Seconds for switching the radio."""
    operator: float = 30.0
    """Seconds for naming the operator."""
    blind: float = 5.0
    """Seconds for a command whose answer is optional."""
    sim: float = 1.0
    """Seconds until a busy SIM is queried again."""


NORMAL_PACE = Pace()


_PROBLEMS = {
    Sim.ABSENT: "no SIM is in the modem",
    Sim.PUK: "the SIM is locked and wants its PUK; unlock it in a phone",
    Sim.FAILED: "the modem cannot use the SIM",
}


class ModemClient:
    """Queries one modem; its owner makes sure that only one series of queries runs at a time."""

    def __init__(
        self,
        port: AtPort,
        profile: Profile,
        known: ModemState,
        *,
        sim_pin: str | None,
        pins: PinGuard,
        status_reports: Callable[[], bool],
        pace: Pace,
    ) -> None:
        self._port = port
        self._profile = profile
        self._state = known
        self._sim_pin = sim_pin
        self._pins = pins
        self._status_reports = status_reports
        self._pace = pace
        self.sim_set_up = False
        """Whether the set-up that needs an open SIM is done; cleared by the owner if the modem forgot it."""
        self.sim_problem: str | None = None

    async def ask(self, text: str, *, timeout: float | None = None) -> tuple[str, ...]:
        """Return the lines of an answer; none if the command is refused.

        A lost answer is asked for once more if the modem still answers, because bytes get lost on the line.
        """
        for _ in range(2):
            try:
                return (await self._port.command(text, timeout=timeout or self._pace.answer)).lines
            except AtRefused as exc:
                log.debug("%s", exc)
                return ()
            except ModemSilent:
                if not await self.probe():
                    raise
        return ()

    async def send(self, *texts: str, timeout: float | None = None) -> None:
        """Send commands whose answers carry no information."""
        for text in texts:
            await self.ask(text, timeout=timeout)

    async def probe(self, timeout: float | None = None) -> bool:
        """Return whether the modem answers, even with an error; sets it to answer in words."""
        try:
            answer = await self._port.command("AT", timeout=timeout or self._pace.probe)
            if answer.final in NUMBERS:
                await self._port.command(ASK_FOR_WORDS, timeout=self._pace.probe)
        except AtRefused:
            return True
        except ModemError:
            return False
        return True

    async def set_up(self, *, radio: bool) -> None:
        """Set a freshly started modem up so that it announces events; query the rest."""
        await self._announce()
        if radio and answers.functionality(await self.ask("AT+CFUN?")) not in (None, 1):
            await self.send("AT+CFUN=1", timeout=self._pace.radio)
        # Operator names in letters, whatever format was set before [3GPP TS 27.007, section 5.5].
        await self.send(*self._profile.setup, "AT+CTZU=1", "AT+CTZR=1", 'AT+CSCS="IRA"', "AT+COPS=3,0")
        await self.modem_identity()

    async def _announce(self) -> None:
        await self.send(*(f"AT+{command}=2" for command in self._profile.registration))

    # -- identity ----------------------------------------------------------------------------------------

    async def modem_identity(self) -> None:
        """Query the modem's identity."""
        profile = self._profile
        self._state.identity(
            model=answers.text(await self.ask(profile.model_command), "+CGMM"),
            firmware=answers.text(await self.ask(profile.firmware_command), "+CGMR"),
            imei=answers.imei(await self.ask("AT+CGSN")),
        )

    async def sim_identity(self) -> None:
        """Query the SIM's identity."""
        self._state.identity(
            imsi=answers.imsi(await self.ask("AT+CIMI")),
            iccid=answers.iccid(await self.ask(self._profile.iccid_command)),
        )

    # -- the network -------------------------------------------------------------------------------------

    async def network(self) -> RegistrationChange:
        """Query registration, signal and, in a network, the operator."""
        lines: list[str] = []
        for command in self._profile.registration:
            lines += await self.ask(f"AT+{command}?")
        news = self._state.lines(lines)
        await self.signal()
        if self._state.facts.registration.registered:
            await self.operator()
        return news

    async def signal(self) -> None:
        """Query the signal."""
        for line in await self.ask("AT+CSQ"):
            if (read := answers.signal(line)) is not None:
                self._state.update(signal=read)

    async def operator(self) -> None:
        """Query the operator."""
        operator = answers.operator(await self.ask("AT+COPS?", timeout=self._pace.operator))
        if operator is not None:
            self._state.operator(operator.name, operator.access)

    # -- the SIM -----------------------------------------------------------------------------------------

    async def sim(self) -> Sim:
        """Query the SIM, open it if that is safe, and do the set-up that needs it."""
        state = await self._ask_sim()
        if state is Sim.PIN:
            state = await self._enter_pin()
        else:
            self.sim_problem = _PROBLEMS.get(state)
        self.sim_set_up = self.sim_set_up and state is Sim.READY
        self._state.sim(state)
        if state is Sim.READY and not self.sim_set_up:
            await self._set_up_sim()
        return state

    async def _set_up_sim(self) -> None:
        """Set up what needs an open SIM: SMS in PDU mode, announced by index; query the SIM's identity."""
        reports = "AT+CNMI=2,1,0,2" if self._status_reports() else "AT+CNMI=2,1"
        await self.send('AT+CPMS="ME","ME","ME"', "AT+CMGF=0", reports)
        await self._announce()  # some modems refuse it until the SIM is open
        await self.sim_identity()
        self.sim_set_up = True

    async def _ask_sim(self) -> Sim:
        try:
            return sim((await self._port.command("AT+CPIN?", timeout=self._pace.answer)).lines) or Sim.UNKNOWN
        except AtRefused as exc:
            return sim_error(exc.final, exc.code) or Sim.UNKNOWN
        except ModemSilent:
            if not await self.probe():
                raise
            return self._state.facts.sim

    async def _enter_pin(self) -> Sim:
        if self._sim_pin is None:
            self.sim_problem = "the SIM wants a PIN; set network.sim_pin"
            return Sim.PIN
        iccid = answers.iccid(await self.ask(self._profile.iccid_command))
        left = await tries_left(self._port, self._profile.pin_tries_command)
        done = await unlock(self._port, self._pins, self._sim_pin, iccid, left)
        self.sim_problem = done.problem
        if not done.entered:
            return Sim.PIN
        state = await self._ask_sim()
        return Sim.BUSY if state is Sim.PIN and done.problem is None else state
