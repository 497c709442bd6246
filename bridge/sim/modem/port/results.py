"""Final result codes, and the errors that become them.

``+CME ERROR`` [3GPP TS 27.007, section 9.2] and ``+CMS ERROR`` [3GPP TS 27.005, section 3.2.5], as
``AT+CMEE`` wants them: 0 a bare ``ERROR`` (``+CMS`` a number), 1 a number, 2 words.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

CME: Final = {
    3: "operation not allowed",
    4: "operation not supported",
    10: "SIM not inserted",
    11: "SIM PIN required",
    12: "SIM PUK required",
    13: "SIM failure",
    14: "SIM busy",
    16: "incorrect password",
    20: "memory full",
    21: "invalid index",
    30: "no network service",
    50: "Incorrect parameters",
    100: "unknown",
    148: "unspecified GPRS error",
    505: "Session not active",
    516: "Not fixed now",
}
"""The words of ``+CME ERROR``; 505 and 516 are Quectel's [Quectel GNSS AT Commands Manual]."""

CMS: Final = {
    300: "ME failure",
    302: "operation not allowed",
    303: "operation not supported",
    304: "invalid PDU mode parameter",
    310: "SIM not inserted",
    311: "SIM PIN required",
    313: "SIM failure",
    314: "SIM busy",
    316: "SIM PUK required",
    321: "invalid memory index",
    322: "memory full",
    331: "no network service",
    332: "network timeout",
    500: "unknown error",
}
"""The words of ``+CMS ERROR``."""


class Refused(Exception):
    """A refused command; ``family`` is ``CME``, ``CMS`` or ``""`` for a bare ``ERROR``."""

    def __init__(self, family: str = "", code: int = 0) -> None:
        super().__init__(family, code)
        self.family = family
        self.code = code

    def final(self, cmee: int) -> str:
        """Return the final line for this setting of ``AT+CMEE``."""
        if not self.family or (cmee == 0 and self.family == "CME"):
            return "ERROR"
        words = (CME if self.family == "CME" else CMS).get(self.code, "unknown")
        return f"+{self.family} ERROR: {words if cmee == 2 else self.code}"


def cme(code: int) -> Refused:
    """Return the error ``+CME ERROR: code``."""
    return Refused("CME", code)


def cms(code: int) -> Refused:
    """Return the error ``+CMS ERROR: code``."""
    return Refused("CMS", code)


class Reply(NamedTuple):
    """An answer: information lines, the final line (empty: none), and a callback for after it."""

    lines: tuple[str | bytes, ...] = ()
    final: str = "OK"
    then: Callable[[], None] | None = None


OK: Final = Reply()


def told(*lines: str | bytes) -> Reply:
    """Return information lines that ``OK`` follows."""
    return Reply(lines)
