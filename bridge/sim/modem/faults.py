"""What can be made to go wrong with the simulated modem, at its start or while it runs.

================  ==========================================================================================
fault             what the host sees
================  ==========================================================================================
hang[:S]          no answer, until any ``AT+CFUN`` comes, which is carried out (or for S seconds)
hang-reset[:S]    no answer until the restart that belongs to the model comes (or for S seconds)
hang-port[:S]     no answer until the port was closed (or for S seconds)
hang-hard[:S]     no answer until it was without power, or has vanished (or for S seconds)
echo[:S]          echo is on again, and again S seconds after each ``ATE0``
reset[:S]         it restarts: the ports vanish for S seconds, settings are lost
vanish[:S[,L]]    the ports vanish for S seconds (without S for good); back as other devices behind the same
                  links, or with L behind links of that name with the port's number
no-carrier[:N]    N calls (without N all) end in NO CARRIER; one that stands is cut
sim-error         the SIM has failed (``+CME ERROR: 13``)
sim-absent        there is no SIM
sim-pin           the SIM wants its PIN: 1234, unless another was given
sim-puk           the SIM wants its PUK
sim-busy[:S]      the SIM is busy, for S seconds
searching[:S]     not registered, searching (for S seconds)
denied[:S]        registration is denied (for S seconds)
slow:S            every answer takes S seconds more
lost:N            every N-th byte to the host is lost
garbage           bytes that mean nothing come whenever a port is opened
interleave        an unsolicited code stands within each answer
send-fail[:N]     N writes (without N all) on its own sockets find its queue full: SEND FAIL on Quectel, an
                  error and then 11 by ``AT+USOCTL`` on u-blox
send-short[:N]    N writes (without N all) on u-blox sockets take half of their bytes
send-slow:S       every write on its own sockets takes S seconds more, and the AT port meanwhile
sms-early-ok[:N]  N texts (without N all) find OK in the place of the prompt, and are not sent
sms-bare-ok[:N]   N texts (without N all) are not sent, and answered by OK without a reference
sms-foreign[:N]   while N texts (without N all) are on their way, another command's ``+CME ERROR: 258`` comes
left-over         NO CARRIER of an earlier call comes whenever a port is opened
numeric           ``ATV0`` was left: results come as numbers until ``ATV1``
ucs2              ``AT+CSCS`` was left at UCS2: the operator's name comes in hex until it is set
================  ==========================================================================================

``@T`` after it orders it for T seconds after the start: ``hang:20@5``.
"""

import math
from typing import Final, NamedTuple

from bridge.errors import UsageError

NAMES: Final = (
    *("hang", "hang-reset", "hang-port", "hang-hard", "echo", "reset", "vanish", "no-carrier"),
    *("sim-error", "sim-absent", "sim-pin", "sim-puk", "sim-busy", "searching", "denied"),
    *("slow", "lost", "garbage", "interleave", "send-fail", "send-short", "send-slow"),
    *("sms-early-ok", "sms-bare-ok", "sms-foreign", "left-over", "numeric", "ucs2"),
)
"""Every fault there is."""

HANGS: Final = ("hang", "hang-reset", "hang-port", "hang-hard")

GARBAGE: Final = b"\x00\xff\xfe\x80AT\x1b\x1a~\x7e\xc0!\xe0\r\n\x00#+,\r"
"""What a port may say while a modem starts."""

LEFT_OVER: Final = b"\r\nNO CARRIER\r\n"
"""What the end of an earlier call leaves in a port."""

TEXTS: Final = ("sms-early-ok", "sms-bare-ok", "sms-foreign")

_COUNTING: Final = ("lost", "no-carrier", "send-fail", "send-short", *TEXTS)
_MEASURED: Final = ("slow", "lost", "send-slow")
"""Those that mean nothing without a number."""


class Fault(NamedTuple):
    """One fault; ``number`` is its S or N, ``link`` its L, ``after`` the seconds until it begins."""

    name: str
    number: float | None = None
    link: str = ""
    after: float = 0.0


def parse_fault(text: str) -> Fault:
    """Read ``NAME[:ARGUMENT][@SECONDS]``.

    Raises:
        UsageError: the name is not known, or what follows is no number.

    """
    order, at, after = text.partition("@")
    name, colon, argument = order.partition(":")
    given, _, link = argument.partition(",")
    if name not in NAMES:
        raise UsageError(
            f"--fault: {text!r} is not allowed; NAME[:ARGUMENT] with NAME one of {', '.join(NAMES)}"
        )
    if bool(colon) != bool(given) or (link and name != "vanish") or (not given and name in _MEASURED):
        raise UsageError(f"--fault: {text!r} is not allowed; as in {name}:5")
    number = _number(text, given) if given else None
    if number is not None and name in _COUNTING and (number != int(number) or number < 1):
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


class Sends:
    """What goes wrong with writes on the modem's own sockets."""

    def __init__(self) -> None:
        self.fails = 0
        """How many of the next find the queue full."""
        self.shorts = 0
        """How many of those that are taken are taken by half."""
        self.slow = 0.0
        """Seconds that each takes more."""

    def fail(self) -> bool:
        """Whether a write finds the queue full."""
        failing = self.fails > 0
        self.fails -= failing
        return failing

    def taken(self, count: int) -> int:
        """Return how many of ``count`` bytes a write takes."""
        if not self.shorts:
            return count
        self.shorts -= 1
        return max(1, count // 2)


class Confusions:
    """How many of the next texts go wrong in each of the ways that `TEXTS` names."""

    def __init__(self) -> None:
        self.left = dict.fromkeys(TEXTS, 0)

    def take(self, name: str) -> bool:
        """Whether this text goes wrong so."""
        confused = self.left[name] > 0
        self.left[name] -= confused
        return confused


class Losses:
    """Loses every ``every``-th byte, counted over all that is sent; 0 loses none."""

    def __init__(self) -> None:
        self.every = 0
        self._count = 0

    def left(self, data: bytes) -> bytes:
        """Return what is left of ``data``."""
        if not self.every:
            return data
        first = self._count
        self._count += len(data)
        return bytes(each for at, each in enumerate(data, start=first + 1) if at % self.every)
