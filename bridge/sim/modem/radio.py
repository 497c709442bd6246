"""The radio: power, registration, operator, signal, packet context [3GPP TS 27.007, sections 7, 8, 10]."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Final

from bridge.sim.modem.port.interpreter import Call, Handler
from bridge.sim.modem.port.line import Kind
from bridge.sim.modem.port.results import OK, Reply, cme, told
from bridge.sim.modem.profiles import Profile
from bridge.sim.modem.sim import Sim

ADDRESS: Final = "10.176.23.42"
"""The address that the network assigns; Hologram devices are in 10.176.0.0/16."""

_LAC, _CELL = "1A2B", "01F3C2D4"
_CODE_PERIOD: Final = 10.0
_LTE_FROM: Final = 7


class Radio:
    """Power, registration and signal. Registration takes ``delay`` seconds and ends as ``target``.

    ``target`` is 1 for home, 5 for roaming, 3 for denied; with 2 the search goes on.
    ``code`` sends an unsolicited code; ``restart`` is called for ``AT+CFUN`` with a reset in it.
    """

    def __init__(
        self,
        profile: Profile,
        sim: Sim,
        *,
        delay: float,
        roaming: bool,
        code: Callable[[str], None],
        restart: Callable[[], None],
    ) -> None:
        self.functionality = 1
        self.stat = 0
        self.target = 5 if roaming else 1
        self.delay = delay
        self.operator = ("Simulated Mobile", "Simulated", "00101")
        self.contexts: dict[int, tuple[str, str]] = {1: ("IP", "")}
        self.active: set[int] = set()
        self.attached = False
        self.rssi: int | None = None
        """RSSI of ``+CSQ``, 0 to 31 or 99; None while it varies by itself."""
        self.ber = 99
        self.on_lost: Callable[[], None] = lambda: None
        """Callback for a packet context that the network ended."""
        self.written: Callable[[str], str] = str
        """Function that encodes a name in the character set of ``+CSCS``."""
        self.on_registered: Callable[[], None] = lambda: None
        self._sound = self.target
        self._loop = asyncio.get_running_loop()
        self._profile = profile
        self._sim = sim
        self._code = code
        self._restart = restart
        self._modes = dict.fromkeys(profile.registrations, 0)
        self._cops_form = 0
        self._cops_mode = 0
        self._walk = random.Random(profile.name)  # noqa: S311  # a walk, no secret
        self._level = 18
        self._timer: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Switch on."""
        self.functionality = 1
        self._cops_mode = self._cops_form = 0
        self._modes = dict.fromkeys(self._modes, 0)
        if self._profile.rssi_code:
            self._ticker = self._loop.call_later(_CODE_PERIOD, self._tick)
        self.search()

    def stop(self) -> None:
        """Lose power."""
        self._cancel()
        if self._ticker is not None:
            self._ticker.cancel()
        self.stat = 0
        self.attached = False
        self.active.clear()

    @property
    def registered(self) -> bool:
        """Whether it is registered in a network."""
        return self.stat in {1, 5}

    def search(self) -> None:
        """Search for a network if there is a card and the radio is on; otherwise leave the present one."""
        self._cancel()
        if not (self._sim.ready and self.functionality == 1 and self._cops_mode != 2):
            self._set(0)
        elif self.target in {1, 5, 3} and not self.delay:
            self._set(self.target)
        else:
            self._set(2)
            if self.target in {1, 5, 3}:
                self._timer = self._loop.call_later(self.delay, self._arrive)

    def order(self, stat: int, seconds: float | None = None) -> None:
        """Set the registration to ``stat``; after ``seconds``, if given, search again."""
        self._cancel()
        if seconds is None:
            self.target = stat
        self._set(stat)
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self.search)

    def recover(self) -> None:
        """End the ordered state and search for a network, if the card allows it."""
        self.target = self._sound
        if self._sim.ready and not self.registered:
            self.search()

    def lose_context(self) -> None:
        """Drop the packet context, as the network does."""
        if self.active:
            self.active.clear()
        self.on_lost()

    def _arrive(self) -> None:
        self._timer = None
        self._set(self.target)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, stat: int) -> None:
        before, self.stat = self.stat, stat
        if before == stat:
            return
        was = before in {1, 5}
        self.attached = self.registered
        if self.registered and self._profile.act >= _LTE_FROM:
            self.active.add(1)  # registration activates the default bearer
        if was and not self.registered:
            self.active.clear()
            self.on_lost()
        for name, mode in self._modes.items():
            if mode:
                self._code(f"{name}: {self._told(mode)}")
        if self.registered and not was:
            self.on_registered()

    def _told(self, mode: int) -> str:
        if mode < 2 or not self.registered:
            return str(self.stat)
        return f'{self.stat},"{_LAC}","{_CELL}",{self._profile.act}'

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(_CODE_PERIOD, self._tick)
        self._code(self._profile.rssi_code.format(self.csq()[0]))

    def csq(self) -> tuple[int, int]:
        """Return RSSI and bit error rate as ``+CSQ`` has them: 0 to 31, 99 unknown."""
        if not self.functionality or self.functionality == 4:
            return 99, 99
        if self.rssi is not None:
            return self.rssi, self.ber
        self._level = min(24, max(9, self._level + self._walk.choice((-1, 0, 1))))
        return self._level, self.ber

    # -- commands ----------------------------------------------------------------------------------------

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handler of each command."""
        table: dict[str, Handler] = dict.fromkeys(self._profile.registrations, self._registration)
        return table | {
            "+CFUN": self._cfun,
            "+COPS": self._cops,
            "+CSQ": lambda _: told("+CSQ: {},{}".format(*self.csq())),
            "+CPAS": lambda _: told("+CPAS: 0"),
            "+CGATT": self._attach,
            "+CGDCONT": self._context,
            "+CGACT": self._activate,
            "+CGPADDR": self._address,
        }

    def _registration(self, call: Call) -> Reply:
        name = call.command.name
        if call.command.kind is Kind.TEST:
            return told(f"{name}: (0-2)")
        if call.command.kind is Kind.READ:
            mode = self._modes[name]
            return told(f"{name}: {mode},{self._told(mode)}")
        mode = call.command.number(0, 0)
        if mode > 2:
            raise cme(50)
        self._modes[name] = mode
        return OK

    def _cfun(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            return told(f"+CFUN: {self.functionality}")
        if call.command.kind is Kind.TEST:
            return told("+CFUN: (0,1,4),(0,1)")
        wanted = ",".join(call.command.args)
        if wanted in self._profile.reset:
            return Reply(then=self._restart)
        level = call.command.number(0)
        if level not in {0, 1, 4}:
            raise cme(50)
        if level == self.functionality:
            return OK
        self.functionality = level
        return Reply(then=self.search)

    async def _cops(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            return told(f"+COPS: {self._operator()}")
        self._sim.need()
        long, short, number = self.operator
        if call.command.kind is Kind.TEST:
            await asyncio.sleep(2.0)  # a search takes a minute or more in the field
            return told(f'+COPS: (2,"{long}","{short}","{number}",{self._profile.act}),,(0-4),(0-2)')
        mode = call.command.number(0)
        if mode == 3:
            self._cops_form = call.command.number(1)
        elif mode in {0, 1, 2}:
            if self._cops_mode != mode:
                self._cops_mode = mode
                return Reply(then=self.search)
        else:
            raise cme(50)
        return OK

    def _operator(self) -> str:
        if not self.registered:
            return str(self._cops_mode)
        form = min(self._cops_form, 2)
        name = self.operator[form] if form == 2 else self.written(self.operator[form])
        return f'{self._cops_mode},{self._cops_form},"{name}",{self._profile.act}'

    def _attach(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            return told(f"+CGATT: {int(self.attached)}")
        if call.command.kind is Kind.TEST:
            return told("+CGATT: (0,1)")
        wanted = bool(call.command.number(0))
        if wanted and not self.registered:
            raise cme(30)
        self.attached = wanted
        if not wanted:
            self.active.clear()
            self.on_lost()
        return OK

    @property
    def apn(self) -> str:
        """The APN of the first context, which calls take."""
        return self.contexts.get(1, ("", ""))[1]

    def _context(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            rows = [f'+CGDCONT: {cid},"{kind}","{apn}","",0,0' for cid, (kind, apn) in self.contexts.items()]
            return told("\r\n".join(rows)) if rows else OK
        if call.command.kind is Kind.TEST:
            return told('+CGDCONT: (1-11),"IP",,,(0),(0)')
        cid = call.command.number(0)
        if len(call.command.args) == 1:
            self.contexts.pop(cid, None)
        else:
            self.contexts[cid] = (call.command.text_at(1), call.command.text_at(2))
        return OK

    async def _activate(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            rows = [f"+CGACT: {cid},{int(cid in self.active)}" for cid in self.contexts]
            return told("\r\n".join(rows)) if rows else OK
        if call.command.kind is Kind.TEST:
            return told("+CGACT: (0,1)")
        wanted = bool(call.command.number(0))
        cid = call.command.number(1, 1)
        if wanted and not (self.registered and self.attached):
            raise cme(148)
        await asyncio.sleep(0.05)
        if wanted:
            self.active.add(cid)
        elif cid in self.active:
            self.active.discard(cid)
            self.on_lost()
        return OK

    def _address(self, call: Call) -> Reply:
        cid = call.command.number(0, 1) if call.command.kind is Kind.SET else 1
        given = f'"{ADDRESS}"' if self._profile.family == "ublox" else ADDRESS
        return told(f"+CGPADDR: {cid},{given}" if cid in self.active else f"+CGPADDR: {cid}")
