"""Faults of the simulated modem, ordered at its start or while it runs.

`TABLE` has a row for each fault. A fault is active from `begin` until `clear`. The affected part of the modem
asks `ActiveFaults` for it by name. The row has the further actions of the beginning and of the end.
"""

import math
import textwrap
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from bridge.errors import UsageError
from bridge.sim.modem.active import ActiveFaults

if (
    TYPE_CHECKING
):  # every command builds the parser with this help, so the modem's modules are imported only to run it
    from bridge.sim.modem.basic import Basic
    from bridge.sim.modem.port.session import Session
    from bridge.sim.modem.radio import Radio
    from bridge.sim.modem.sim import Sim

GARBAGE: Final = b"\x00\xff\xfe\x80AT\x1b\x1a~\x7e\xc0!\xe0\r\n\x00#+,\r"
"""Bytes that a port may send while a modem starts."""

LEFT_OVER: Final = b"\r\nNO CARRIER\r\n"
"""Bytes that the end of an earlier call leaves in a port."""


class Fault(NamedTuple):
    """One ordered fault: ``number`` is S or N, ``link`` is L, ``after`` the seconds until it begins."""

    name: str
    number: float | None = None
    link: str = ""
    after: float = 0.0


class Losses:
    """Loses every ``every``-th byte of all that are sent; 0 loses none."""

    def __init__(self) -> None:
        self.every = 0
        self._count = 0

    def left(self, data: bytes) -> bytes:
        """Return the remaining bytes of ``data``."""
        if not self.every:
            return data
        first = self._count
        self._count += len(data)
        return bytes(each for at, each in enumerate(data, start=first + 1) if at % self.every)


class Modem(Protocol):
    """The modem as faults see it."""

    faults: ActiveFaults
    losses: Losses
    sim: "Sim"
    radio: "Radio"
    basic: "Basic"

    def restart(self, seconds: float | None = None) -> None:
        """Restart: the ports vanish, and every setting is lost."""

    def vanish(self, seconds: float | None, link: str = "") -> None:
        """Lose power for a while."""

    def appear(self) -> None:
        """Restore power, unless an order switched it off."""

    def later(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        """Call ``act`` later, unless power is lost first; a second call with ``name`` replaces the first."""

    def sessions(self) -> Iterable["Session"]:
        """Return the conversations of all ports."""

    def cut_calls(self) -> None:
        """End all calls."""


# -- actions at the beginning and the end --------------------------------------------------------------------


def _hang(modem: Modem, fault: Fault) -> None:
    modem.faults.silence = fault.name
    if fault.number is not None:
        modem.later("hang", fault.number, modem.faults.speak)


def _echo(modem: Modem, _: Fault) -> None:
    for session in modem.sessions():
        session.echo = True


def _sim(modem: Modem, fault: Fault) -> None:
    state = fault.name.removeprefix("sim-").replace("error", "failed")
    modem.sim.order(state, fault.number or 0.0)


def _sim_ready(modem: Modem) -> None:
    if not modem.sim.ready:
        modem.sim.order("ready")


def _registration(modem: Modem, fault: Fault) -> None:
    modem.radio.order(2 if fault.name == "searching" else 3, fault.number)


def _recover(modem: Modem) -> None:
    modem.radio.recover()


def _lose(modem: Modem, fault: Fault) -> None:
    modem.losses.every = int(fault.number or 0)


def _lose_none(modem: Modem) -> None:
    modem.losses.every = 0


def _restart(modem: Modem, fault: Fault) -> None:
    modem.restart(fault.number)


def _cut_calls(modem: Modem, _: Fault) -> None:
    modem.cut_calls()


def _noise(modem: Modem, fault: Fault) -> None:
    modem.faults.noise = GARBAGE if fault.name == "garbage" else LEFT_OVER


def _numeric(modem: Modem, _: Fault) -> None:
    for session in modem.sessions():
        session.words = False


def _ucs2(modem: Modem, _: Fault) -> None:
    modem.basic.charset = "UCS2"


class Row(NamedTuple):
    """One fault: ``help`` is its effect on the host, ``argument`` has S seconds, N times or L, a link.

    An optional argument is in brackets. ``clear`` must have no effect without the fault.
    """

    name: str
    argument: str
    help: str
    apply: Callable[[Modem, Fault], None] = lambda _modem, _fault: None
    clear: Callable[[Modem], None] = lambda _: None


TABLE: Final = (
    Row("hang", "[:S]", "no answer, until any AT+CFUN comes, which is carried out", _hang),
    Row("hang-reset", "[:S]", "no answer until the restart that belongs to the model comes", _hang),
    Row("hang-port", "[:S]", "no answer until the port was closed", _hang),
    Row("hang-hard", "[:S]", "no answer until it was without power, or has vanished", _hang),
    Row("echo", "[:S]", "echo is on again, and again S seconds after each ATE0", _echo),
    Row("reset", "[:S]", "it restarts: the ports vanish for S seconds, settings are lost", _restart),
    Row(
        "vanish",
        "[:S[,L]]",
        "the ports vanish; back as other devices behind the same links, or with L behind links of that name "
        "with the port's number",
        lambda modem, fault: modem.vanish(fault.number, fault.link),
        lambda modem: modem.appear(),
    ),
    Row("no-carrier", "[:N]", "calls end in NO CARRIER; one that stands is cut", _cut_calls),
    Row("other-apn", "", "calls and the sockets of u-blox modems with another APN than hologram fail"),
    Row("sim-error", "", "the SIM has failed (+CME ERROR: 13)", _sim, _sim_ready),
    Row("sim-absent", "", "there is no SIM", _sim, _sim_ready),
    Row("sim-pin", "", "the SIM wants its PIN: 1234, unless another was given", _sim, _sim_ready),
    Row("sim-puk", "", "the SIM wants its PUK", _sim, _sim_ready),
    Row("sim-busy", "[:S]", "the SIM is busy", _sim, _sim_ready),
    Row("searching", "[:S]", "not registered, searching", _registration, _recover),
    Row("denied", "[:S]", "registration is denied", _registration, _recover),
    Row("slow", ":S", "every answer takes S seconds more"),
    Row("lost", ":N", "every N-th byte to the host is lost", _lose, _lose_none),
    Row("garbage", "", "bytes that mean nothing come whenever a port is opened", _noise),
    Row("interleave", "", "an unsolicited code stands within each answer"),
    Row(
        "send-fail",
        "[:N]",
        "writes on its own sockets find its queue full: SEND FAIL on Quectel, an error and then 11 by "
        "AT+USOCTL on u-blox",
    ),
    Row("send-short", "[:N]", "writes on u-blox sockets take half of their bytes"),
    Row("send-slow", ":S", "every write on its own sockets takes S seconds more, and the AT port meanwhile"),
    Row("sms-early-ok", "[:N]", "SMS find OK in the place of the prompt, and are not sent"),
    Row("sms-bare-ok", "[:N]", "SMS are not sent, and answered by OK without a reference"),
    Row("sms-foreign", "[:N]", "while SMS are on their way, another command's +CME ERROR: 258 comes"),
    Row("left-over", "", "NO CARRIER of an earlier call comes whenever a port is opened", _noise),
    Row("numeric", "", "ATV0 was left: results come as numbers until ATV1", _numeric),
    Row("ucs2", "", "AT+CSCS was left at UCS2: the operator's name comes in hex until it is set", _ucs2),
)
"""All faults."""

NAMES: Final = tuple(row.name for row in TABLE)
_ROWS: Final = {row.name: row for row in TABLE}


def begin(modem: Modem, fault: Fault) -> None:
    """Begin a fault."""
    modem.faults.numbers[fault.name] = fault.number
    _ROWS[fault.name].apply(modem, fault)


def begin_before_start(modem: Modem, faults: Iterable[Fault]) -> None:
    """Begin the SIM's faults that were ordered for the start, before the card is first read."""
    for fault in faults:
        if fault.name.startswith("sim-") and not fault.after:
            _sim(modem, fault)


def echo_was_turned_off(modem: Modem) -> None:
    """Turn echo on again after a while, if that fault is active."""
    after = modem.faults.number("echo")
    if after is not None:
        modem.later("echo", after, lambda: _echo(modem, Fault("echo")))


def clear(modem: Modem) -> None:
    """End every fault: the SIM is ready and the network accepts it; the host's settings stay."""
    modem.faults.clear()
    for row in reversed(TABLE):  # a SIM that becomes ready starts a search, which must not be denied any more
        row.clear(modem)


# -- as they are typed ---------------------------------------------------------------------------------------


def parse_fault(text: str) -> Fault:
    """Read ``NAME[:ARGUMENT][@SECONDS]``.

    Raises:
        UsageError: the name is unknown, or the argument is no number.

    """
    order, at, after = text.partition("@")
    name, colon, argument = order.partition(":")
    given, _, link = argument.partition(",")
    if name not in NAMES:
        raise UsageError(
            f"--fault: {text!r} is not allowed; NAME[:ARGUMENT] with NAME one of {', '.join(NAMES)}"
        )
    allowed = _ROWS[name].argument
    if bool(colon) != bool(given) or (link and "L" not in allowed) or (not given and allowed.startswith(":")):
        raise UsageError(f"--fault: {text!r} is not allowed; as in {name}:5")
    number = _number(text, given) if given else None
    if number is not None and "N" in allowed and (number != int(number) or number < 1):
        raise UsageError(f"--fault: {text!r} is not allowed; a whole number from 1 on, as in {name}:5")
    return Fault(name, number, link, _number(text, after) if at else 0.0)


def _number(text: str, given: str) -> float:
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not 0 <= number < 1e6:
        raise UsageError(f"--fault: {text!r} is not allowed; {given!r} is no number from 0 on")
    return number


def as_text() -> str:
    """Return the table for the help text."""
    bar = f"{'=' * 16}  {'=' * 90}"
    rows = (
        textwrap.fill(
            row.help, 108, initial_indent=f"{row.name + row.argument:18}", subsequent_indent=" " * 18
        )
        for row in TABLE
    )
    after = (
        "With S seconds a hang, vanishing, a busy SIM, searching and denial end by themselves. "
        "N is how many go wrong, without N all. @T orders a fault for T seconds after the start: hang:20@5."
    )
    return "\n".join((bar, f"{'fault':18}what the host sees", bar, *rows, bar, "", textwrap.fill(after, 108)))
