"""The kind of a line from a modem: a final result, information for the command in flight, or unsolicited.

The rules, of which the first match counts. Each line is judged at once, beside the command in flight.

1. A final result [ITU-T V.250, section 5.7; 3GPP TS 27.007, section 9.2; 3GPP TS 27.005, section 3.2.5]: one
   that the command names as success, or an error. Capitals and spaces do not matter. Call progress
   (``NO CARRIER``, ``BUSY``…) is final only for a dial; for any other command it reports the end of a call.
2. The command's own text is its echo.
3. A line of the command's own name (``+CSQ: …`` for ``AT+CSQ``) is information, unless that name is also an
   unsolicited code. Then the command's form and the line's fields decide: see `_is_own_code_unsolicited`.
4. A line of another name is unsolicited if its name is in `CODES` or starts with ``+UU`` (u-blox).
5. Any other line is information.

Without a command in flight, a known or a prefixed line is unsolicited, any other line is noise.
"""

import re
from enum import Enum, auto
from typing import NamedTuple

from bridge.errors import AtRefused
from bridge.protocol.at.answers import number

_CODES = """
+CREG +CGREG +CEREG +C5GREG +CRING +CLIP +COLP +CDIP +CNAP +CCWA +CSSI +CSSU +CUSD +CTZV +CTZE +CTZEU +CTZDST
+CIEV +CGEV +CPIN +CFUN +CSCON +CEDRXP +CNEC_EMM +CNEC_ESM +CIREGU +CALV +CR +CDEV
+CMTI +CMT +CBMI +CBM +CDSI +CDS
+UMWI +UREG +UCALLSTAT +PACSP0 +PACSP1 +PBREADY +UFOTASTAT
+QIURC +QIOPEN +QIND +QUSIM +QSSLURC +QSSLOPEN +QGPSURC +QPING +QNTP +QSIMSTAT +QNWLOCK +QHTTPURC
^RSSI ^MODE ^BOOT ^SIMST ^SRVST ^STIN ^DSFLOWRPT ^NDISSTAT ^HCSQ ^THERM ^RFSWITCH ^EARST ^CEND ^CONN ^ORIG
^RESET ^CSNR ^LWURC
"""
# In this order: 3GPP TS 27.007; 3GPP TS 27.005; u-blox beside +UU… (SARA-U2 and SARA-R4 AT commands manuals);
# Quectel (BG96 and EC21 AT commands manuals); Huawei (E303 and MS2131 AT commands)

CODES = frozenset(_CODES.split())
"""Names of unsolicited result codes."""

_WORDS = """
RING|NO CARRIER|RDY|APP RDY|SMS DONE|SMS READY|PB DONE|CALL READY|POWERED DOWN|NORMAL POWER DOWN
|UNDER_VOLTAGE POWER DOWN|OVER_VOLTAGE POWER DOWN
"""
WORDS = frozenset(word.strip() for word in _WORDS.split("|"))
"""Unsolicited lines without a name, in capitals."""

TWO_LINES = frozenset(("+CMT", "+CDS", "+CBM"))
"""Codes whose PDU is on the line after them [3GPP TS 27.005, sections 3.4.1 and 4.1]."""

ERRORS = frozenset(("ERROR", "ABORTED", "COMMAND NOT SUPPORT", "TOO MANY PARAMETERS"))
"""Error finals without a number; the last two are Huawei's."""

PROGRESS = frozenset(
    ("NO CARRIER", "BUSY", "NO ANSWER", "NO DIALTONE", "NO DIAL TONE", "VOICE", "DELAYED", "BLACKLISTED")
)
"""Finals of a dial that failed [ITU-T V.250, section 5.7]."""

TEXT_LIMIT = 512
"""Characters of a code whose text continues over several lines; USSD has 182 [3GPP TS 23.038, section 5]."""

_ERROR = re.compile(r"\+(CME|CMS) ERROR ?: ?(.*)", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"([+^$%#*][A-Z0-9_]+) ?:", re.ASCII | re.IGNORECASE)
_COMMAND_NAME = re.compile(r"([+^$%#*&][A-Z0-9_]+)(=\?|\?|=)?", re.ASCII | re.IGNORECASE)
_REGISTRATION = re.compile(r"[^:]+: ?\d+ ?, ?\d{1,2} ?(,|$)", re.ASCII)
_COUNTED = frozenset(("+CREG", "+CGREG", "+CEREG", "+C5GREG", "+CSCON", "+UREG"))


class Request(NamedTuple):
    """A command with the facts that the engine needs."""

    text: str
    finals: tuple[str, ...] = ("OK",)
    prompt: bool = False
    """Whether the modem answers with a prompt first."""
    payload: str = ""
    """The input after the prompt, in the form of its echo."""

    @property
    def names(self) -> frozenset[str]:
        """The names that its information may have: ``+CSQ`` of ``AT+CSQ``."""
        return frozenset(own.upper() for own, _ in _COMMAND_NAME.findall(self.text[2:]))

    @property
    def reads(self) -> bool:
        """Whether it queries a setting, which a success then reports."""
        return self.text.endswith("?")

    @property
    def dials(self) -> bool:
        """Whether call progress is its final result."""
        return "CONNECT" in self.finals or self.text[:3].upper() in ("ATD", "ATA", "ATO")


class Kind(Enum):
    """The kind of a line."""

    DONE = auto()
    FAILED = auto()
    INFORMATION = auto()
    UNSOLICITED = auto()
    NOISE = auto()


ASK_FOR_WORDS = "ATV1"
"""Turns numeric results, left over from an earlier owner, into words [ITU-T V.250, section 6.2.6]."""

NUMBERS = {"0": Kind.DONE, "4": Kind.FAILED}
"""OK and ERROR as numbers; a number is a result only if there was no information."""


def classify(line: str, request: Request | None, *, seen: bool = False) -> Kind:
    """Return the kind of ``line``, without its ends, beside ``request``; ``seen``: it has had information."""
    if request is None:
        return Kind.UNSOLICITED if is_code(line) or name_of(line) else Kind.NOISE
    plain = _plain(line)
    if plain in NUMBERS and request.text in ("AT", ASK_FOR_WORDS):
        return NUMBERS[plain]
    if plain in request.finals or ("CONNECT" in request.finals and plain.startswith("CONNECT ")):
        return Kind.DONE
    if _is_error(plain, request):
        return Kind.FAILED
    if line == request.text or (request.payload and line == request.payload):
        return Kind.NOISE
    return _classify_named(line, request, seen=seen)


def _plain(line: str) -> str:
    """Return a final result in the standard form: some firmware uses small letters or more spaces."""
    return " ".join(line.upper().split())


def _is_error(line: str, request: Request) -> bool:
    if line in ERRORS or _ERROR.fullmatch(line):
        return True
    if line in PROGRESS:
        return request.dials
    return line == "SEND FAIL" and "SEND OK" in request.finals


def _classify_named(line: str, request: Request, *, seen: bool) -> Kind:
    name = name_of(line)
    for own, form in _COMMAND_NAME.findall(request.text[2:]):
        if own.upper() == name:
            unsolicited = name in CODES and _is_own_code_unsolicited(line, name, form, seen=seen)
            return Kind.UNSOLICITED if unsolicited else Kind.INFORMATION
    return Kind.UNSOLICITED if is_code(line) else Kind.INFORMATION


def _is_own_code_unsolicited(line: str, name: str, form: str, *, seen: bool) -> bool:
    """Return whether a line with the command's own name is an unsolicited code, and not its answer.

    A test answers with the allowed values, in brackets. A read of a registration answers ``<n>,<stat>…``; the
    unsolicited code is ``<stat>[,"<lac>"…]`` [3GPP TS 27.007, section 7.2]. Of other reads the first line is
    the answer. A set command has no answer of its own name.
    """
    if form == "=?":
        return "(" not in line
    if form == "?":
        return not _REGISTRATION.match(line) if name in _COUNTED else seen
    return True


def name_of(line: str) -> str:
    """Return the name before the colon in capitals, as in ``+CSQ``, or an empty string."""
    found = _NAME.match(line)
    return found[1].upper() if found else ""


def is_code(line: str) -> bool:
    """Return whether ``line`` is a known unsolicited code."""
    name = name_of(line)
    return name in CODES or name.startswith("+UU") or line.upper() in WORDS


def is_unfinished(line: str) -> bool:
    """Return whether the text of ``+CUSD: 0,"…",15`` continues in the next line [3GPP TS 27.007, 7.15]."""
    return len(line) < TEXT_LIMIT and name_of(line) == "+CUSD" and line.count('"') % 2 == 1


def refusal(shown: str, final: str) -> AtRefused:
    """Return the error of the error line ``final``; ``shown`` is the command in a form that may be shown."""
    found = _ERROR.match(final)
    if not found:
        return AtRefused(shown, final, _plain(final))
    text = found[2].strip()
    code = number(text)
    return AtRefused(shown, final, found[1].upper(), code)
