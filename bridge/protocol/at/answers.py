"""The answers and reports of modems, read into values.

Each function takes the lines that the AT engine separated, without line ends. An unreadable line is None,
never an error, because modems differ, and a strange answer must not stop a start.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bridge.core.modem import Registration, Signal

_STAT = {
    0: Registration.NONE,
    1: Registration.HOME,
    2: Registration.SEARCHING,
    3: Registration.DENIED,
    4: Registration.UNKNOWN,
    5: Registration.ROAMING,
    6: Registration.HOME,  # for SMS only
    7: Registration.ROAMING,  # for SMS only
    8: Registration.NONE,  # emergency services only
    9: Registration.HOME,  # circuit switched fallback not preferred
    10: Registration.ROAMING,  # the same
    80: Registration.SEARCHING,  # u-blox: connectivity is lost for the moment
}

RESTARTED = ("RDY", "APP RDY", "^SYSSTART")
"""Lines by which modems announce that they restarted, and forgot their settings."""


class Cell(NamedTuple):
    """A registration: the command it belongs to, the state, and the access technology ``AcT``."""

    command: str
    registration: Registration
    access: int | None = None
    urcs: int | None = None
    """The mode of unsolicited codes, with which an answer begins; None in an unsolicited code."""


class Operator(NamedTuple):
    """The operator's name, or its digits if the modem knows no name; ``AcT``."""

    name: str | None
    access: int | None


def fields(text: str) -> list[str]:
    """Split the text after the colon at commas outside quotes; quotes and spaces are removed."""
    parts, quoted = [""], False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def after(prefix: str, line: str) -> str | None:
    """Return the text after ``prefix:`` in ``line``; None if the line is another one."""
    head, colon, rest = line.partition(":")
    return rest.strip() if colon and head.strip().upper() == prefix.upper() else None


def find(prefix: str, lines: Iterable[str]) -> str | None:
    """Return the text after ``prefix:`` in the first line that has it."""
    return next((rest for line in lines if (rest := after(prefix, line)) is not None), None)


def number(text: str) -> int | None:
    """Return a whole number from 0 on; None for any other text."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def at(parts: Sequence[str], index: int) -> str:
    """Return a field, or an empty text if there are fewer."""
    return parts[index] if index < len(parts) else ""


def plain(text: str) -> str:
    """Return a name in letters that may be in UCS-2: four hexadecimal digits each [3GPP TS 27.007, 5.5].

    It counts as UCS-2 if its letters are of at most two blocks of 256, as those of one script are.
    """
    if len(text) % 4 or not re.fullmatch(r"00[0-9A-Fa-f]{2}|[0-9A-Fa-f]{8,}", text):
        return text
    try:
        letters = bytes.fromhex(text).decode("utf-16-be")
    except UnicodeDecodeError:
        return text
    blocks = {ord(letter) >> 8 for letter in letters}
    return letters if letters.isprintable() and len(blocks) <= 2 and letters.strip() else text


def signal(line: str) -> Signal | None:
    """Read ``+CSQ: rssi,ber`` [3GPP TS 27.007, section 8.5], and Huawei's ``^RSSI: rssi``."""
    rest = after("+CSQ", line)
    parts = fields(rest if rest is not None else (after("^RSSI", line) or ""))
    rssi, ber = number(parts[0]), number(at(parts, 1))
    if rssi is None:
        return None
    known = rssi <= 31
    return Signal(
        rssi_dbm=2 * rssi - 113 if known else None,
        percent=round(rssi * 100 / 31) if known else None,
        ber=ber if ber is not None and ber <= 7 else None,
    )


def is_registration(line: str) -> bool:
    """Return whether `registration` reads ``line``."""
    return line.partition(":")[0].strip().upper() in ("+CREG", "+CGREG", "+CEREG")


def registration(line: str) -> Cell | None:
    """Read ``+CREG``, ``+CGREG`` and ``+CEREG``, as an answer and as an unsolicited code.

    An answer is ``<n>,<stat>[,<lac>,<ci>[,<AcT>…]]``, a code ``<stat>[,<lac>,<ci>[,<AcT>…]]``
    [3GPP TS 27.007, sections 7.2, 10.1.20, 10.1.22]. Both can come while an answer is awaited. The second
    field tells them apart: a state is one or two bare digits, an area code is quoted or longer.
    """
    head, _, rest = line.partition(":")
    command = head.strip().upper().removeprefix("+")
    if not is_registration(line):
        return None
    raw = [part.strip() for part in rest.split(",")]
    parts = fields(rest)
    answer = len(raw) == 2 or (len(raw) >= 4 and re.fullmatch(r"[0-9]{1,2}", raw[1]) is not None)
    stat = number(at(parts, 1 if answer else 0))
    if stat is None:
        return None
    state = _STAT.get(stat, Registration.NONE)
    access = number(at(parts, 4 if answer else 3)) if state.registered else None
    return Cell(command, state, None if access == 255 else access, number(parts[0]) if answer else None)


def operator(lines: Iterable[str]) -> Operator | None:
    """Read ``+COPS: mode[,format,"name"[,AcT]]`` [3GPP TS 27.007, section 7.3]."""
    rest = find("+COPS", lines)
    if rest is None:
        return None
    parts = fields(rest)
    return Operator(plain(at(parts, 2)) or None, number(at(parts, 3)))


def text(lines: Iterable[str], prefix: str = "") -> str | None:
    """Return the first line of plain text, such as a model, or the text after ``prefix:``."""
    if prefix and (rest := find(prefix, lines)) is not None:
        return rest.strip('" ') or None
    for line in lines:
        shown = line.strip().strip('"')
        if shown and not shown.startswith(("+", "^", "AT", "at")):
            return shown.removeprefix("Revision: ")
    return None


def _digits(lines: Iterable[str], pattern: str) -> str | None:
    for line in lines:
        shown = re.sub(r"^[+^%][A-Z]+:", "", line.strip()).strip(' "')
        if re.fullmatch(pattern, shown):
            return shown
    return None


def imei(lines: Iterable[str]) -> str | None:
    """Read ``AT+CGSN``: 15 digits, or 16 with the software version [3GPP TS 23.003, section 6.2]."""
    return _digits(lines, "[0-9]{15,16}")


def imsi(lines: Iterable[str]) -> str | None:
    """Read ``AT+CIMI``: up to 15 digits [3GPP TS 23.003, section 2.2]."""
    return _digits(lines, "[0-9]{6,15}")


def iccid(lines: Iterable[str]) -> str | None:
    """Read ``+CCID``, ``+QCCID``, ``+ICCID`` and ``^ICCID``: 18 to 20 digits, the first 89 [ITU-T E.118].

    A filler F is removed. The nibbles are put in order where a Huawei stick returns them as the SIM stores
    them.
    """
    number = _digits(lines, "[0-9]{18,20}[Ff]{0,2}|[0-9]{19}[Ff]|98[0-9Ff]{16,18}")
    if number is None:
        return None
    if number.startswith("98"):
        number = "".join(number[index + 1 : index + 2] + number[index] for index in range(0, len(number), 2))
    return number.rstrip("Ff")


def functionality(lines: Iterable[str]) -> int | None:
    """Read ``+CFUN: n`` [3GPP TS 27.007, section 8.2]."""
    rest = find("+CFUN", lines)
    return None if rest is None else number(fields(rest)[0])


def context_apn(lines: Iterable[str], context: int = 1) -> tuple[str, str] | None:
    """Return (type, APN) of a context in ``+CGDCONT: cid,"IP","apn",…`` [3GPP TS 27.007, section 10.1.1]."""
    for line in lines:
        parts = fields(after("+CGDCONT", line) or "")
        if number(parts[0]) == context:
            return at(parts, 1), at(parts, 2)
    return None


def usb_mode(lines: Iterable[str]) -> int | None:
    """Read ``+UUSBCONF: configuration,…`` [u-blox SARA-U2 AT commands manual UBX-13001820]."""
    rest = find("+UUSBCONF", lines)
    return None if rest is None else number(fields(rest)[0])


_SECRETS = re.compile(r"^(AT)?([+^%](?:CPIN|CPWD|CLCK|CGAUTH)|\+UAUTHREQ|\+UPSD=\d+,3)(=|,).*", re.IGNORECASE)


def without_secrets(command: str) -> str:
    """Return an AT command in a form that may be shown: without PINs and passwords."""
    match = _SECRETS.match(command.strip())
    return f"{command.strip()[: match.start(3)]}{match[3]}…" if match else command


def merged(cells: Mapping[str, Cell]) -> Cell | None:
    """Return the registration that counts among those of each command.

    Packet data comes first, and the best of the states counts: a modem is in the network if any domain says
    so, because a modem with LTE only is not registered for calls, and the reverse.
    """
    order = ("CEREG", "CGREG", "CREG")
    rank = (Registration.SEARCHING, Registration.DENIED, Registration.NONE, Registration.UNKNOWN)
    known = [cells[command] for command in order if command in cells]
    for cell in known:
        if cell.registration.registered:
            access = next((one.access for one in known if one.access is not None), None)
            return cell._replace(access=cell.access if cell.access is not None else access)
    return min(known, key=lambda cell: rank.index(cell.registration), default=None)
