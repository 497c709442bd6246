"""Opening a SIM with its PIN, without ever locking it.

Three wrong PINs lock a SIM, and a daemon that restarts again and again enters three in no time. Therefore a
PIN is noted before it is entered, and entered again only if the entry is known to have cost no try. The last
try is never used.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from bridge.core.modem import Sim
from bridge.errors import AtRefused
from bridge.protocol.at.simcard import pin_tries, sim_error, wrong_pin

log = logging.getLogger("modem")

ENTER_TIMEOUT = 30.0
"""Seconds that a SIM may need to check a PIN."""

REFUSED = 99
"""Noted for a PIN that the SIM has refused: no number of tries left ever reaches it again."""

UNKNOWN = 98
"""Noted for a PIN that was entered while the number of tries left was unknown."""

Notes = Mapping[str, int]


class Lines(Protocol):
    """The answer to a command."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The information lines."""


class Port(Protocol):
    """The interface of the AT port that this module needs."""

    async def command(self, text: str, *, timeout: float = 10.0, shown: str | None = None) -> Lines:
        """Send a command; raises `ModemError`."""


class PinGuard:
    """Remembers the PINs that were entered; one for the life of the process, for all modems.

    ``notes`` is what ``on_change`` gave to an earlier process, kept where only the bridge's user can read it.
    It maps a fingerprint of SIM and PIN to the tries left before the entry; an accepted PIN has no note.
    """

    def __init__(
        self, notes: Notes | None = None, on_change: Callable[[Notes], None] = lambda _notes: None
    ) -> None:
        self._notes = dict(notes or {})
        self._on_change = on_change

    def why_not(self, key: str, left: int | None) -> str | None:
        """Return why this PIN may not be entered with ``left`` tries; None if it may."""
        if left is not None and left <= 1:
            return f"the SIM allows {left} more PIN; unlock it in a phone first"
        before = self._notes.get(key)
        if before is None or (left is not None and left >= before):
            return None
        return "the PIN was not accepted; correct network.sim_pin"

    def note(self, key: str, left: int | None) -> None:
        """Note a PIN that is about to be entered."""
        self._notes[key] = UNKNOWN if left is None else left
        self._on_change(dict(self._notes))

    def refused(self, key: str) -> None:
        """Note that the SIM refused the PIN."""
        self.note(key, REFUSED)

    def forget(self, key: str) -> None:
        """Drop the note, because the PIN was accepted or not checked."""
        if self._notes.pop(key, None) is not None:
            self._on_change(dict(self._notes))


class Unlocked(NamedTuple):
    """The outcome: whether to query the SIM's state again, and the problem if any."""

    entered: bool
    problem: str | None


def fingerprint(pin: str, iccid: str | None) -> str:
    """Return the key of a PIN on a SIM in the notes."""
    return hashlib.sha256(f"{iccid or ''} {pin}".encode()).hexdigest()[:16]


async def tries_left(port: Port, command: str) -> int | None:
    """Query how many tries a PIN has left, by the modem's own command and by the standard's."""
    for text in dict.fromkeys((command, 'AT+CPINR="SIM PIN"')):
        try:
            left = pin_tries((await port.command(text)).lines)
        except AtRefused:
            continue
        if left is not None:
            return left
    return None


async def unlock(port: Port, guard: PinGuard, pin: str, iccid: str | None, left: int | None) -> Unlocked:
    """Enter ``pin`` if that is safe; raises `ModemSilent` and `ModemGone`."""
    key = fingerprint(pin, iccid)
    for noted in (key, fingerprint(pin, None)):  # the SIM may not have given its number then
        if problem := guard.why_not(noted, left):
            return Unlocked(entered=False, problem=problem)
    guard.note(key, left)
    try:
        await port.command(f'AT+CPIN="{pin}"', timeout=ENTER_TIMEOUT, shown="AT+CPIN=…")
    except AtRefused as exc:
        return _refused(guard, key, exc)
    guard.forget(key)
    log.info("the SIM took the PIN")
    return Unlocked(entered=True, problem=None)


def _refused(guard: PinGuard, key: str, refusal: AtRefused) -> Unlocked:
    if wrong_pin(refusal.final, refusal.code):
        guard.refused(key)
        log.error("the SIM refused the PIN; it is not entered again until network.sim_pin changes")
        return Unlocked(entered=True, problem="the SIM refused the PIN; correct network.sim_pin")
    if sim_error(refusal.final, refusal.code) is Sim.BUSY:
        guard.forget(key)
        return Unlocked(entered=True, problem="the SIM was busy")
    return Unlocked(entered=True, problem=f"the PIN was not accepted: {refusal.final}")
