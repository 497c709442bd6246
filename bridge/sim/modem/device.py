"""The assembled simulated modem: its ports, command families, power and faults."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from bridge.sim.modem import faults
from bridge.sim.modem.active import ActiveFaults
from bridge.sim.modem.basic import Basic
from bridge.sim.modem.call import Dialer
from bridge.sim.modem.events import Events
from bridge.sim.modem.faults import Fault, Losses
from bridge.sim.modem.location import location_of
from bridge.sim.modem.net import Places
from bridge.sim.modem.pool import Pool
from bridge.sim.modem.port.interpreter import Interpreter
from bridge.sim.modem.port.pty import PtyPort, Watch
from bridge.sim.modem.port.session import Session
from bridge.sim.modem.profiles import ICCID, IMSI, Profile
from bridge.sim.modem.quectel import QuectelSockets
from bridge.sim.modem.radio import Radio
from bridge.sim.modem.sim import Sim
from bridge.sim.modem.sms import SmsStore
from bridge.sim.modem.ublox import UbloxSockets

_RESET_AFTER: Final = 0.05
"""Seconds between the answer to a reset command and the restart."""


class Options(NamedTuple):
    """A modem's options; times are in seconds.

    ``links`` are the paths of its ports: AT, dial, further ones. A single link is a port for both; without
    links the two ports have only their devices' paths. ``boot`` is the time of a restart, ``answer`` of each
    answer, ``send`` of an SMS (one to five seconds in the field), ``give_up`` of a call without a far end (up
    to a minute). ``far`` is the command of the far end, ``log`` a file that gets JSON lines, ``authorized`` a
    file that holds 0 while the modem is without power, like USB's in sysfs.
    """

    profile: Profile
    links: tuple[Path, ...] = ()
    faults: tuple[Fault, ...] = ()
    places: Places = Places()
    far: tuple[str, ...] = ()
    log: Path | None = None
    imei: str = ""
    imsi: str = IMSI
    iccid: str = ICCID
    pin: str = ""
    store: int = 50
    usb_layout: int = 0
    registration_delay: float = 1.0
    roaming: bool = True
    sim_delay: float = 0.3
    boot: float = 1.0
    answer: float = 0.005
    send: float = 0.02
    give_up: float = 2.0
    authorized: Path | None = None


class _Port:
    """One port and its conversation."""

    def __init__(self, pty: PtyPort, session: Session, *, idle: bool) -> None:
        self.pty = pty
        self.session = session
        self.idle = idle
        self.link = pty.link


class SimModem:
    """A modem that runs while the block does; the loop that entered it owns everything.

    ``say`` gets a line for a person at each event.

    Raises:
        OperationError: the log cannot be written.

    """

    def __init__(self, options: Options, say: Callable[[str], None] = lambda _: None) -> None:
        self.options = options
        self.ports: list[_Port] = []
        self._loop = asyncio.get_running_loop()
        self._events = Events(options.log, say)
        self._powered = False
        self._allowed = True
        self._greeting: list[bytes] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._boots = 0
        self.faults = ActiveFaults()
        self.losses = Losses()
        self._build(options)

    def _build(self, options: Options) -> None:
        profile = options.profile
        self.interpreter = Interpreter(lambda: options.answer + (self.faults.number("slow") or 0.0))
        self.basic = Basic(
            profile, options.imei or profile.imei, options.usb_layout, self.interpreter, self._restore
        )
        self.sim = Sim(
            profile,
            imsi=options.imsi,
            iccid=options.iccid,
            pin=options.pin,
            busy=options.sim_delay,
            code=self.code,
        )
        self.radio = Radio(
            profile,
            self.sim,
            delay=options.registration_delay,
            roaming=options.roaming,
            code=self.code,
            restart=lambda: self.later("restart", _RESET_AFTER, self.restart),
        )
        self.radio.written = self.basic.written
        self.sms = SmsStore(
            self._loop,
            profile,
            self.sim,
            self.radio,
            self.faults,
            size=options.store,
            send_time=options.send,
            code=self.code,
            record=self._events.record,
        )
        self.dialer = Dialer(
            profile,
            lambda: self.sim.ready and self.radio.registered and not self.faults.refuses(self.radio.apn),
            self.faults,
            options.far,
            give_up=options.give_up,
            record=self._events.record,
        )
        self.pool = Pool(options.places, self.faults, self._events.say)
        self.sockets = self._make_sockets(profile)
        self.location = location_of(profile, self._loop, self.code)
        self.basic.echo_again = lambda: faults.echo_was_turned_off(self)
        self.sim.on_change = self.radio.search
        self.radio.on_lost = self._context_lost
        self.radio.on_registered = lambda: self.later("deliver", 0.1, self.sms.deliver)
        families = self.basic, self.sim, self.radio, self.sms, self.dialer, self.sockets, self.location
        for family in families:
            if family is not None:
                self.interpreter.add(family.handlers())

    def _make_sockets(self, profile: Profile) -> UbloxSockets | QuectelSockets | None:
        if profile.sockets == "quectel":
            return QuectelSockets(self.radio, self.pool, self.code)
        return UbloxSockets(profile, self.radio, self.pool, self.code) if profile.sockets else None

    # -- life --------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Create the ports and switch on.

        Raises:
            OperationError: a link cannot be created.

        """
        self._watch = Watch(self._loop)
        links: Sequence[Path | None] = self.options.links or (None, None)
        self.ports = [self._make_port(link, idle=number > 1) for number, link in enumerate(links)]
        faults.begin_before_start(self, self.options.faults)
        self._power_on()
        if self.options.authorized is not None:
            self._watch.add(str(self.options.authorized), self._look_at_power)
        for order in self.options.faults:
            if order.after:
                self._loop.call_later(order.after, self.fault, order)
            else:
                self.fault(order)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Switch off and remove the ports."""
        self._power_off(last=True)
        await self.dialer.close()
        self._watch.close()
        self._events.close()

    def _make_port(self, link: Path | None, *, idle: bool) -> _Port:
        def opened() -> None:
            session.opened()
            self._greet(port)

        def closed() -> None:
            session.closed()
            self.faults.port_closed()

        def came(data: bytes) -> None:
            if not idle:
                session.feed(data)

        pty = PtyPort(self._watch, self._loop, link, on_data=came, on_open=opened, on_close=closed)
        session = Session(self._loop, lambda data: pty.write(self.losses.left(data)), self._execute)
        session.mute = lambda: bool(self.faults.silence)
        port = _Port(pty, session, idle=idle)
        return port

    def _power_on(self) -> None:
        if self._powered or not self._allowed:
            return
        self._powered = True
        self._boots += 1
        for port in self.ports:
            port.session.reset()
            port.pty.plug()
        self._greeting = [b"\r\n" + line.encode() + b"\r\n" for line in self.options.profile.boot]
        self._loop.call_later(5.0, self._greeting.clear)
        self.sim.start()
        self.radio.start()

    def _power_off(self, *, last: bool = False) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._powered = False
        for port in self.ports:
            port.pty.unplug(last=last)
        self._restore()
        self.basic.reset()
        self.sms.reset()
        self.pool.reset()
        if self.sockets is not None:
            self.sockets.reset()
        if self.location is not None:
            self.location.reset()
        self.sim.stop()
        self.radio.stop()

    def _restore(self) -> None:
        self.interpreter.cmee = 0

    def restart(self, seconds: float | None = None) -> None:
        """Restart: the ports vanish, and every setting is lost."""
        self._events.record({"kind": "restart"})
        self.vanish(self.options.boot if seconds is None else seconds)

    def vanish(self, seconds: float | None, link: str = "") -> None:
        """Lose power for ``seconds`` (None: until `power`); ``link`` is the ports' name on their return."""
        self._power_off()
        self.faults.speak()
        for number, port in enumerate(self.ports):
            port.pty.link = Path(f"{link}{number}") if link else port.link
        if seconds is not None:
            self.later("power", seconds, self._power_on)

    def power(self, on: bool) -> None:
        """Switch the modem's power, as USB's ``authorized`` does."""
        self._allowed = on
        if on:
            self.later("power", self.options.boot, self._power_on)
        elif self._powered:
            self._power_off()
            self.faults.speak()

    def _look_at_power(self, _: list[int]) -> None:
        assert self.options.authorized is not None
        text = self.options.authorized.read_text().strip()
        if text in {"0", "1"} and (text == "1") != self._allowed:
            self.power(text == "1")

    def later(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        """Call ``act`` later, unless power is lost first; a second call with ``name`` replaces the first."""
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self._loop.call_later(seconds, act)

    # -- output ------------------------------------------------------------------------------------------

    def code(self, text: str | bytes) -> None:
        """Send an unsolicited code on the AT port."""
        if self._powered:
            self.ports[0].session.code(text)

    def _greet(self, port: _Port) -> None:
        """Send the codes of a start once, to the first host that opens a port."""
        if port is self.ports[0] and self._greeting:
            for line in self._greeting:
                port.session.write(line)
            self._greeting.clear()
        if not port.idle:
            port.session.write(self.faults.noise)

    async def _execute(self, port: Session, line: str) -> None:
        if not self.faults.executes(line, self.options.profile.reset):
            return
        if "interleave" in self.faults.numbers:
            self._loop.call_later(self.options.answer / 2 + 0.001, self.code, "+CTZV: 04")
        await self.interpreter.execute(port, line)

    def _context_lost(self) -> None:
        if self.sockets is not None:
            self.sockets.lost()
        self.cut_calls()

    # -- orders ------------------------------------------------------------------------------------------

    def fault(self, order: Fault) -> None:
        """Begin a fault."""
        self._events.record({"kind": "fault", "name": order.name, "number": order.number})
        faults.begin(self, order)

    def clear(self) -> None:
        """End every active fault."""
        self.dialer.transport = True
        self.sms.refuse.clear()
        faults.clear(self)

    def appear(self) -> None:
        """Restore power, unless an order switched it off."""
        self._power_on()

    def carrier(self, *, up: bool) -> None:
        """Cut calls and refuse new ones, or allow them again with ``up``."""
        self.dialer.transport = up
        if not up:
            self.cut_calls()

    def cut_calls(self) -> None:
        """End all calls."""
        for session in self.sessions():
            session.drop_call()

    def sessions(self) -> list[Session]:
        """Return the conversations of all ports."""
        return [port.session for port in self.ports]

    def noise(self, data: bytes) -> None:
        """Send noise bytes on the AT port."""
        self.ports[0].session.write(data)

    def state(self) -> dict[str, Any]:
        """Return the whole state for the control socket."""
        return {
            "profile": self.options.profile.name,
            "powered": self._powered,
            "boots": self._boots,
            "silence": self.faults.silence,
            "ports": [
                {
                    "path": port.pty.path,
                    "device": port.pty.device,
                    "open": port.pty.is_open,
                    "echo": port.session.echo,
                    "in_call": port.session.in_call,
                }
                for port in self.ports
            ],
            "sim": self.sim.state,
            "pin_tries": self.sim.tries,
            "registration": self.radio.stat,
            "functionality": self.radio.functionality,
            "contexts": {str(cid): apn for cid, (_, apn) in self.radio.contexts.items()},
            "active": sorted(self.radio.active),
            "commands": self.interpreter.commands,
            "calls": self.dialer.calls,
            "sms": {
                "stored": self.sms.stored,
                "waiting": self.sms.waiting,
                "sent": self.sms.sent,
                "received": self.sms.received,
            },
            "sockets": self.pool.state(),
            "listening": {str(asked): real for asked, real in self.pool.listening.items()},
        }
