"""The SIM card: its state, its numbers and its PIN [3GPP TS 27.007, sections 5.6, 7.4 and 8.3]."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from bridge.sim.modem.port.interpreter import Call, Handler
from bridge.sim.modem.port.line import Kind
from bridge.sim.modem.port.results import OK, Reply, cme, told
from bridge.sim.modem.profiles import Profile

STATES: Final = ("ready", "pin", "puk", "absent", "busy", "failed")
_ERRORS: Final = {"pin": 11, "puk": 12, "absent": 10, "busy": 14, "failed": 13}
_WORDS: Final = {"ready": "READY", "pin": "SIM PIN", "puk": "SIM PUK"}
_UBLOX_CODES: Final = {"absent": 0, "pin": 1, "puk": 2, "failed": 4, "ready": 6}
"""``+UUSIMSTAT`` [u-blox SARA-U2 AT commands manual, UBX-13001820, ``+USIMSTAT``]."""

_HUAWEI_CODES: Final = {"absent": 255, "failed": 0, "ready": 1}
"""``^SIMST`` [Huawei MU509 AT Command Interface Specification]."""

_QUECTEL_CODES: Final = {**_WORDS, "absent": "NOT READY"}
"""``+CPIN`` as an unsolicited code [Quectel EC2x AT Commands Manual, ``+QSIMSTAT``]."""

_TRIES: Final = 3
_UNBLOCKS: Final = 10


class Sim:
    """A card; with an empty ``pin`` it needs none.

    ``on_change`` is called when the card becomes usable or unusable, and ``code`` sends an unsolicited code.
    After a restart the card is busy for ``busy`` seconds.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        imsi: str,
        iccid: str,
        pin: str,
        busy: float,
        code: Callable[[str], None],
    ) -> None:
        self.imsi = imsi
        self.iccid = iccid
        self.state = "absent"
        self.tries = _TRIES
        self.on_change: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._profile = profile
        self._pin = pin
        self._puk = "12345678"
        self._unblocks = _UNBLOCKS
        self._busy = busy
        self._code = code
        self._inserted = True
        self._codes_wanted = 0
        self._fails = False
        self._timer: asyncio.TimerHandle | None = None

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Read the card, as after a restart; it needs the PIN again."""
        self._set("busy" if self._inserted else "absent")
        self._timer = self._loop.call_later(self._busy, self._settle) if self._busy else None
        if not self._busy:
            self._settle()

    def stop(self) -> None:
        """Lose power."""
        self._cancel()
        self._codes_wanted = 0
        self.state = "absent"

    def order(self, state: str, seconds: float = 0.0) -> None:
        """Set the card's state; ``busy`` ends after ``seconds``, if given."""
        self._cancel()
        self._inserted = state != "absent"
        self._fails = state == "failed"
        if state == "puk":
            self.tries = 0
        if state == "pin":
            self._pin = self._pin or "1234"
            self.tries = self.tries or _TRIES
        if state == "ready":
            self.tries = _TRIES
        self._set(state)
        if state == "busy" and seconds:
            self._timer = self._loop.call_later(seconds, self._settle)

    def _settle(self) -> None:
        """Enter the state that follows the reading of the card."""
        if not self._inserted:
            self._set("absent")
        elif self._fails:
            self._set("failed")
        elif self._pin:
            self._set("pin" if self.tries else "puk")
        else:
            self._set("ready")

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, state: str) -> None:
        before, self.state = self.state, state
        if state != before:
            self._announce(before, state)
        if (before == "ready") != (state == "ready"):
            self.on_change()

    def _announce(self, before: str, state: str) -> None:
        """Send this make's code for a change of the card; on u-blox only if ``+USIMSTAT`` enables it."""
        family = self._profile.family
        if family == "ublox" and self._codes_wanted & 1 and state in _UBLOX_CODES:
            self._code(f"+UUSIMSTAT: {_UBLOX_CODES[state]}")
        elif family == "huawei" and state in _HUAWEI_CODES:
            self._code(f"^SIMST: {_HUAWEI_CODES[state]}")
        elif family == "quectel":
            if self._codes_wanted and "absent" in {before, state}:
                self._code(f"+QSIMSTAT: 1,{int(state != 'absent')}")
            if state in _QUECTEL_CODES:
                self._code(f"+CPIN: {_QUECTEL_CODES[state]}")

    # -- use ---------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether the card is usable."""
        return self.state == "ready"

    def need(self) -> None:
        """Raise the error of a command that needs the card, while the card is unusable."""
        if not self.ready:
            raise cme(_ERRORS[self.state])

    def cms_error(self) -> int | None:
        """Return the ``+CMS ERROR`` of an unusable card [3GPP TS 27.005, section 3.2.5]."""
        return None if self.ready else _ERRORS[self.state] + (304 if self.state == "puk" else 300)

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handler of each command."""
        special: dict[str, dict[str, Handler]] = {
            "huawei": {"^CPIN": self._retries},
            "ublox": {"+UPINCNT": self._retries, "+USIMSTAT": self._want_codes},
            "quectel": {"+QPINC": self._retries, "+QSIMSTAT": self._want_codes, "+CPINR": self._retries},
        }
        return {
            **special[self._profile.family],
            "+CPIN": self._cpin,
            "+CLCK": self._lock,
            "+CIMI": self._imsi,
            self._profile.iccid_command: self._iccid,
            "+CNUM": lambda _: OK,
        }

    def _cpin(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            if self.state in _WORDS:
                return told(f"+CPIN: {_WORDS[self.state]}")
            raise cme(_ERRORS[self.state])
        if call.command.kind is not Kind.SET:
            return OK
        return self._enter(call.command.args)

    def _enter(self, args: tuple[str, ...]) -> Reply:
        if self.state == "pin":
            if args[0] != self._pin:
                self.tries -= 1
                if not self.tries:
                    self._set("puk")
                raise cme(16 if self.tries else 12)
        elif self.state == "puk":
            if len(args) < 2 or args[0] != self._puk or not self._unblocks:
                self._unblocks = max(0, self._unblocks - 1)
                raise cme(16 if self._unblocks else 13)
            self._pin, self._unblocks = args[1], _UNBLOCKS
        else:
            raise cme(3) if self.ready else cme(_ERRORS[self.state])
        self.tries = _TRIES
        return Reply(then=lambda: self._set("ready"))

    def _want_codes(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            name, inserted = call.command.name, int(self.state != "absent")
            return told(f"{name}: {self._codes_wanted}" + (f",{inserted}" if name == "+QSIMSTAT" else ""))
        self._codes_wanted = call.command.number(0)
        return OK

    def _retries(self, call: Call) -> Reply:
        """Answer the remaining attempts of PIN and PUK, in each make's form."""
        if self.state not in _WORDS:
            raise cme(_ERRORS[self.state])
        pin, puk = self.tries, self._unblocks
        match call.command.name:
            case "+UPINCNT":
                return told(f"+UPINCNT: {pin},3,{puk},10")
            case "+QPINC":
                return told(f'+QPINC: "SC",{pin},{puk}')
            case "^CPIN":
                return told(f"^CPIN: {_WORDS[self.state]},,{puk},{pin},10,3")
        return told(f"+CPINR: SIM PIN,{pin},{_TRIES}\r\n+CPINR: SIM PUK,{puk},{_UNBLOCKS}")

    def _lock(self, call: Call) -> Reply:
        if call.command.text_at(0) == "SC" and call.command.number(1) == 2:
            return told(f"+CLCK: {int(bool(self._pin))}")
        self.need()
        raise cme(4)

    def _imsi(self, call: Call) -> Reply:
        if call.command.kind is Kind.TEST:
            return OK
        self.need()
        return told(self.imsi)

    def _iccid(self, call: Call) -> Reply:
        if call.command.kind is Kind.TEST:
            return OK
        if self.state in {"absent", "busy", "failed"}:
            raise cme(_ERRORS[self.state])
        return told(self._profile.iccid_answer.format(self.iccid))
