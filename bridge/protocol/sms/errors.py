"""The reasons for which a modem or its network refuses an SMS, and whom they blame.

The codes are those of ``+CMS ERROR`` [3GPP TS 27.005, section 3.2.5]: 0 to 127 are causes of the network
[3GPP TS 24.011, section 8.2.5.4 and annex E], 128 to 255 of the service centre [3GPP TS 23.040, section
9.2.3.22], those from 300 on the modem's own.
"""

import re
from enum import Enum, auto
from typing import NamedTuple

from bridge.protocol.at import answers


class Blame(Enum):
    """The cause of a refusal, which decides what may be tried."""

    MESSAGE = auto()
    """The SMS: the same text to the same number can never succeed."""
    MOMENT = auto()
    """The moment: this SMS cannot go now, others may."""
    MODEM = auto()
    """The modem: no SMS can go now."""
    NOBODY_KNOWS = auto()
    """Unknown: the SMS may have gone out."""


class Judgement(NamedTuple):
    """The meaning of an error line."""

    blame: Blame
    code: int | None
    """The code of ``+CMS ERROR``, if one was given or follows from the words."""
    text: str


_MESSAGE, _MOMENT, _MODEM, _DOUBT = Blame.MESSAGE, Blame.MOMENT, Blame.MODEM, Blame.NOBODY_KNOWS

_CODES: dict[int, tuple[Blame, str]] = {
    1: (_MESSAGE, "unassigned number"),
    8: (_MESSAGE, "operator determined barring"),
    10: (_MESSAGE, "call barred"),
    21: (_MESSAGE, "short message transfer rejected"),
    22: (_MOMENT, "memory capacity exceeded"),
    27: (_MOMENT, "destination out of service"),
    28: (_MESSAGE, "unidentified subscriber"),
    29: (_MESSAGE, "facility rejected"),
    30: (_MESSAGE, "unknown subscriber"),
    38: (_MODEM, "network out of order"),
    41: (_MOMENT, "temporary failure"),
    42: (_MOMENT, "congestion"),
    47: (_MOMENT, "resources unavailable"),
    50: (_MESSAGE, "requested facility not subscribed"),
    69: (_MESSAGE, "requested facility not implemented"),
    81: (_MOMENT, "invalid short message transfer reference value"),
    95: (_MESSAGE, "semantically incorrect message"),
    96: (_MESSAGE, "invalid mandatory information"),
    97: (_MESSAGE, "message type non-existent or not implemented"),
    98: (_MOMENT, "message not compatible with the state of the protocol"),
    99: (_MESSAGE, "information element non-existent or not implemented"),
    111: (_MOMENT, "protocol error"),
    127: (_MOMENT, "interworking error"),
    128: (_MESSAGE, "telematic interworking not supported"),
    129: (_MESSAGE, "short message type 0 not supported"),
    130: (_MESSAGE, "cannot replace short message"),
    143: (_MESSAGE, "unspecified TP-PID error"),
    144: (_MESSAGE, "alphabet not supported"),
    145: (_MESSAGE, "message class not supported"),
    159: (_MESSAGE, "unspecified TP-DCS error"),
    160: (_MESSAGE, "command cannot be actioned"),
    161: (_MESSAGE, "command unsupported"),
    175: (_MESSAGE, "unspecified TP-command error"),
    176: (_MESSAGE, "TPDU not supported"),
    192: (_MOMENT, "service centre busy"),
    193: (_MESSAGE, "no service centre subscription"),
    194: (_MOMENT, "service centre system failure"),
    195: (_MESSAGE, "invalid address"),
    196: (_MESSAGE, "the recipient is barred"),
    197: (_DOUBT, "rejected as a duplicate: the service centre has one like it"),
    198: (_MESSAGE, "validity period format not supported"),
    199: (_MESSAGE, "validity period not supported"),
    208: (_MOMENT, "SIM storage full"),
    209: (_MODEM, "no storage for texts in the SIM"),
    210: (_MOMENT, "error in the mobile station"),
    211: (_MOMENT, "memory capacity exceeded"),
    212: (_MOMENT, "SIM application toolkit busy"),
    213: (_MOMENT, "SIM data download error"),
    255: (_MOMENT, "unspecified error"),
    300: (_MODEM, "modem failure"),
    301: (_MODEM, "SMS service of the modem reserved"),
    302: (_MODEM, "operation not allowed"),
    303: (_MODEM, "operation not supported"),
    304: (_MESSAGE, "invalid PDU mode parameter"),
    305: (_MESSAGE, "invalid text mode parameter"),
    310: (_MODEM, "SIM not inserted"),
    311: (_MODEM, "SIM PIN required"),
    312: (_MODEM, "PH-SIM PIN required"),
    313: (_MODEM, "SIM failure"),
    314: (_MODEM, "SIM busy"),
    315: (_MODEM, "SIM wrong"),
    316: (_MODEM, "SIM PUK required"),
    317: (_MODEM, "SIM PIN2 required"),
    318: (_MODEM, "SIM PUK2 required"),
    320: (_MODEM, "memory failure"),
    321: (_MODEM, "invalid memory index"),
    322: (_MODEM, "memory full"),
    330: (_MODEM, "SMSC address unknown"),
    331: (_MODEM, "no network service"),
    332: (_DOUBT, "network timeout"),
    340: (_MODEM, "no +CNMA acknowledgement expected"),
    500: (_DOUBT, "unknown error"),
}
"""The meaning of each code for an SMS whose PDU was handed over. A refusal before acceptance is safe to try
again; 197, 332 and 500 leave open whether the service centre has the SMS, and a second SMS costs."""

MODEM_CODES = 300
"""The lowest code of the modem itself; lower ones are the network's, to which an SMS was submitted."""

_WORDS = {text.lower(): code for code, (_, text) in _CODES.items()}

_SIM_CODES = range(10, 19)
"""Codes of ``+CME ERROR``: no SIM, a failed SIM, or one that needs a PIN or PUK [3GPP TS 27.007, section
9.2.1]. Without the SIM no SMS goes out; any other code may be the late end of another command, such as a USSD
session."""

_SIM_WORDS = frozenset(
    (
        *("sim not inserted", "sim pin required", "sim puk required", "sim failure", "sim busy", "sim wrong"),
        *("incorrect password", "sim pin2 required", "sim puk2 required"),
    )
)

_LINE = re.compile(r"\+(CM[SE]) ERROR ?: ?(.*)", re.IGNORECASE)


def judge(final: str) -> Judgement:
    """Return the meaning of the modem's final line to ``AT+CMGS``: a number, words, or another error."""
    found = _LINE.fullmatch(" ".join(final.split()))
    if not found:
        return Judgement(
            _DOUBT, None, final
        )  # a bare ERROR gives no reason: it may have come from the network
    kind, reason = found[1].upper(), found[2].strip()
    number = answers.number(reason)
    if kind == "CME":
        of_sim = number in _SIM_CODES or reason.lower() in _SIM_WORDS
        return Judgement(_MODEM if of_sim else _DOUBT, None, final)
    code = _WORDS.get(reason.lower()) if number is None else number
    if code is None:
        return Judgement(_DOUBT, None, final)
    blame, text = _CODES.get(code, (_default(code), ""))
    return Judgement(blame, code, f"+CMS ERROR: {code} ({text})" if text else f"+CMS ERROR: {code}")


def _default(code: int) -> Blame:
    """Return the blame of an unlisted code: the network refused, or it is a vendor's own."""
    return _MOMENT if code < MODEM_CODES else _DOUBT
