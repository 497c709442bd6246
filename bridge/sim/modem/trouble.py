"""The faults that are at work, and what each does to the modem's parts."""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from bridge.sim.modem import faults
from bridge.sim.modem.basic import Basic
from bridge.sim.modem.call import Dialer
from bridge.sim.modem.faults import Fault
from bridge.sim.modem.port.line import parse
from bridge.sim.modem.port.session import Session
from bridge.sim.modem.profiles import Profile
from bridge.sim.modem.radio import Radio
from bridge.sim.modem.sim import Sim

_FOREVER: Final = 1_000_000_000
_SIM_STATES: Final = {
    "sim-error": "failed",
    "sim-absent": "absent",
    "sim-pin": "pin",
    "sim-puk": "puk",
    "sim-busy": "busy",
}


class Power(Protocol):
    """What faults need of the modem as a whole."""

    def restart(self, seconds: float | None = None) -> None:
        """Go away and come back with every setting lost."""

    def vanish(self, seconds: float | None, link: str = "") -> None:
        """Be without power for a while."""

    def later(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        """Do something later, unless the power goes first; a second one of that name replaces the first."""

    def sessions(self) -> Iterable[Session]:
        """Return the conversations of all ports."""


class Trouble:
    """What goes wrong now; ``stat`` is the registration that a sound modem has."""

    def __init__(
        self,
        profile: Profile,
        power: Power,
        sim: Sim,
        radio: Radio,
        dialer: Dialer,
        sends: faults.Sends,
        confusions: faults.Confusions,
        basic: Basic,
    ) -> None:
        self.silence = ""
        """The hang that there is."""
        self.slow = 0.0
        self.noise = b""
        """What comes when a port is opened."""
        self.interleave = False
        self.losses = faults.Losses()
        self._profile = profile
        self._power = power
        self._sim = sim
        self._radio = radio
        self._dialer = dialer
        self._sends = sends
        self._confusions = confusions
        self._basic = basic
        self._stat = radio.target
        self._echo_after: float | None = None

    # -- orders ------------------------------------------------------------------------------------------

    def before_start(self, orders: Iterable[Fault]) -> None:
        """Let the SIM be from the first moment on what was ordered for the start."""
        for order in orders:
            if order.name in _SIM_STATES and not order.after:
                self._sim.order(_SIM_STATES[order.name], order.number or 0.0)

    def order(self, order: Fault) -> None:
        """Let something go wrong from now on."""
        name, number = order.name, order.number
        if name in faults.HANGS:
            self.silence = name
            if number is not None:
                self._power.later("hang", number, self.speak)
        elif name in _SIM_STATES:
            self._sim.order(_SIM_STATES[name], number or 0.0)
        elif name in {"searching", "denied"}:
            self._radio.order(2 if name == "searching" else 3, number)
        elif name == "reset":
            self._power.restart(number)
        elif name == "vanish":
            self._power.vanish(number, order.link)
        else:
            self._order_small(name, number)

    def _order_small(self, name: str, number: float | None) -> None:
        count = _FOREVER if number is None else int(number)
        match name:
            case "no-carrier":
                self._dialer.refusals = count
                self.cut_calls()
            case "slow":
                self.slow = number or 0.0
            case "send-fail":
                self._sends.fails = count
            case "send-short":
                self._sends.shorts = count
            case "send-slow":
                self._sends.slow = number or 0.0
            case _ if name in faults.TEXTS:
                self._confusions.left[name] = count
            case _:
                self._order_on_line(name, number)

    def _order_on_line(self, name: str, number: float | None) -> None:
        """Let something go wrong with what is said on the ports, or how."""
        match name:
            case "echo":
                self._echo_after = number
                self._echo_on()
            case "lost":
                self.losses.every = int(number or 0)
            case "garbage":
                self.noise = faults.GARBAGE
            case "left-over":
                self.noise = faults.LEFT_OVER
            case "interleave":
                self.interleave = True
            case "numeric":
                for session in self._power.sessions():
                    session.words = False
            case "ucs2":
                self._basic.charset = "UCS2"

    def clear(self) -> None:
        """End every fault that goes on: the SIM is ready, the network takes it."""
        self.speak()
        self.slow = 0.0
        self.losses.every = 0
        self.noise = b""
        self.interleave = False
        self._echo_after = None
        self._dialer.refusals = 0
        self._dialer.transport = True
        self._sends.fails = self._sends.shorts = 0
        self._sends.slow = 0.0
        self._confusions.left.update(dict.fromkeys(faults.TEXTS, 0))
        self._radio.target = self._stat
        if not self._sim.ready:
            self._sim.order("ready")
        if not self._radio.registered:
            self._radio.search()

    def transport(self, *, up: bool) -> None:
        """Cut calls and let none through, or let them through again."""
        self._dialer.transport = up
        if not up:
            self.cut_calls()

    def cut_calls(self) -> None:
        """End the calls that there are."""
        for session in self._power.sessions():
            session.drop_call()

    # -- hangs -------------------------------------------------------------------------------------------

    def speak(self) -> None:
        """End a hang."""
        self.silence = ""

    def port_closed(self) -> None:
        """End a hang that lasts as long as the port is open."""
        if self.silence == "hang-port":
            self.speak()

    def hears(self, line: str) -> bool:
        """Whether a line is carried out: it is, or it ends the hang that there is."""
        if not self.silence:
            return True
        try:
            commands = parse(line) or []
        except ValueError:
            return False
        settings = [each.args for each in commands if each.name == "+CFUN" and each.args]
        wakes = self.silence == "hang" and bool(settings)
        if self.silence == "hang-reset":
            wakes = any(",".join(args) in self._profile.reset for args in settings)
        if wakes:
            self.speak()
        return wakes

    # -- echo --------------------------------------------------------------------------------------------

    def echo_was_turned_off(self) -> None:
        """Turn it on again after a while, if that was ordered."""
        if self._echo_after is not None:
            self._power.later("echo", self._echo_after, self._echo_on)

    def _echo_on(self) -> None:
        for session in self._power.sessions():
            session.echo = True
