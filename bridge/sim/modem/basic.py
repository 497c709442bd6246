"""Identification and nearly stateless commands [ITU-T V.250; 3GPP TS 27.007, sections 5 to 9]."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from bridge.sim.modem.port.interpreter import Call, Handler, Interpreter
from bridge.sim.modem.port.line import Kind
from bridge.sim.modem.port.results import OK, Refused, Reply, cme, told
from bridge.sim.modem.profiles import Profile

_TAKEN: Final = (
    *("Q", "X", "L", "M", "&C", "&D", "&K", "&S", "&W", "S*"),
    *(
        "+CMER",
        "+CGEREP",
        "+CSDH",
        "+CRC",
        "+CLIP",
        "+IPR",
        "+IFC",
        "+ICF",
        "+CMMS",
        "+CRSL",
        "+CPSMS",
    ),
)
"""Commands without effect: they answer OK."""

_TAKEN_BY: Final = {
    "huawei": ("^CURC", "^U2DIAG", "^CARDMODE", "^STSF", "^SYSCFG", "^BOOT", "^PORTSEL"),
    "ublox": ("+UPSV", "+URAT", "+UMNOPROF", "+UBANDMASK", "+UGPIOC", "+UCGED"),
    "quectel": ("+QURCCFG", "+QCFG", "+QINDCFG", "+QSCLK", "+QIMUX", "+QICFG", "+QPOWD"),
}


class Basic:
    """Echo, error forms, identity, clock, USB layout; ``restore`` resets the settings, as ``ATZ`` does."""

    def __init__(
        self,
        profile: Profile,
        imei: str,
        usb_layout: int,
        interpreter: Interpreter,
        restore: Callable[[], None],
    ) -> None:
        self.profile = profile
        self.imei = imei
        self.usb_layout = usb_layout
        """u-blox ``+UUSBCONF``, which survives a loss of power [UBX-13001820, section 5.13]."""
        self.time_zone = [0, 0]
        """Settings of ``+CTZU`` and ``+CTZR``."""
        self.charset = "IRA"
        """Character set ``+CSCS`` of names in answers [3GPP TS 27.007, section 5.5]."""
        self.echo_again: Callable[[], None] = lambda: None
        """Callback for ``ATE0``."""
        self._interpreter = interpreter
        self._restore = restore

    def handlers(self) -> Mapping[str, Handler]:
        """Return the handler of each command."""
        profile = self.profile
        table: dict[str, Handler] = {
            "E": self._echo,
            "V": self._words,
            "Z": self._reset,
            "&F": self._reset,
            "I": self._information,
            "S12": self._guard,
            "+CMEE": self._cmee,
            "+GCAP": lambda _: told("+GCAP: +CGSM"),
            "+CGSN": self._serial,
            "+GSN": self._serial,
            "+CCLK": self._clock,
            "+CSCS": self._characters,
            "+CTZU": lambda call: self._zone(call, 0),
            "+CTZR": lambda call: self._zone(call, 1),
        }
        for prefix in ("+CG", "+G"):
            table |= {
                f"{prefix}MI": lambda _: told(profile.maker if profile.family != "huawei" else "huawei"),
                f"{prefix}MM": lambda _: told(profile.model),
                f"{prefix}MR": lambda _: told(profile.revision),
            }
        if profile.family == "ublox":
            table["+UUSBCONF"] = self._usb
        taken = (*_TAKEN, *_TAKEN_BY[profile.family])
        return {**{name: lambda _: OK for name in taken}, **table}

    def reset(self) -> None:
        """Reset the settings that a restart resets."""
        self.time_zone = [0, 0]
        self.charset = "IRA"

    def written(self, text: str) -> str:
        """Return ``text`` in the character set of ``+CSCS``."""
        return text.encode("utf-16-be").hex().upper() if self.charset == "UCS2" else text

    def _characters(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            return told(f'+CSCS: "{self.charset}"')
        if call.command.kind is Kind.TEST:
            return told('+CSCS: ("GSM","IRA","UCS2")')
        if call.command.text_at(0) not in {"GSM", "IRA", "UCS2"}:
            raise cme(3)
        self.charset = call.command.text_at(0)
        return OK

    def _echo(self, call: Call) -> Reply:
        value = call.command.number(0, 0)
        if value > 1:
            raise Refused
        call.port.echo = bool(value)
        return OK if value else Reply(then=self.echo_again)

    def _words(self, call: Call) -> Reply:
        """Answer in words again for ``ATV1``; numbers come only with a fault, so ``ATV0`` changes nothing."""
        call.port.words = call.port.words or call.command.number(0, 0) == 1
        return OK

    def _reset(self, call: Call) -> Reply:
        call.port.reset()
        self._restore()
        return OK

    def _guard(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            return told(f"{round(call.port.guard * 50):03d}")
        call.port.guard = call.command.number(0) / 50
        return OK

    def _information(self, call: Call) -> Reply:
        profile, number = self.profile, call.command.number(0, 0)
        if number == 9 and profile.firmware:
            return told(profile.firmware)
        if number:
            raise Refused
        if profile.family == "ublox":
            return told(f"{profile.model}-03B-00")
        if profile.family == "quectel":
            return told(f"Quectel\r\n{profile.model}\r\nRevision: {profile.revision}")
        who = f"Manufacturer: huawei\r\nModel: {profile.model}\r\nRevision: {profile.revision}"
        return told(f"{who}\r\nIMEI: {self.imei}\r\n+GCAP: +CGSM,+DS,+ES")

    def _cmee(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            return told(f"+CMEE: {self._interpreter.cmee}")
        if call.command.kind is Kind.TEST:
            return told("+CMEE: (0-2)")
        value = call.command.number(0)
        if value > 2:
            raise cme(50)
        self._interpreter.cmee = value
        return OK

    def _serial(self, call: Call) -> Reply:
        if call.command.kind is Kind.SET:
            return told(f'+CGSN: "{self.imei}"' if call.command.number(0) == 1 else self.imei)
        return told(self.imei)

    def _clock(self, call: Call) -> Reply:
        if call.command.kind is not Kind.READ:
            return OK
        return told(f'+CCLK: "{datetime.now(UTC):%y/%m/%d,%H:%M:%S}+00"')

    def _zone(self, call: Call, which: int) -> Reply:
        if call.command.kind is Kind.READ:
            return told(f"{call.command.name}: {self.time_zone[which]}")
        self.time_zone[which] = call.command.number(0)
        return OK

    def _usb(self, call: Call) -> Reply:
        if call.command.kind is Kind.READ:
            return told(f'+UUSBCONF: {self.usb_layout},"",,"0x1102"')
        self.usb_layout = call.command.number(0)
        return OK
