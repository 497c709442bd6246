"""The SIM in a modem's answers: its state, and the number of tries that a PIN has left."""

from collections.abc import Iterable

from bridge.core.modem import Sim
from bridge.protocol.at.answers import after, at, fields, find, number

_SIM_CODES = {
    "READY": Sim.READY,
    "SIM PIN": Sim.PIN,
    "SIM PUK": Sim.PUK,
    "NOT INSERTED": Sim.ABSENT,
    "NOT READY": Sim.BUSY,
    # The SIM itself is open; further codes concern services that the bridge does not use.
    "SIM PIN2": Sim.READY,
    "SIM PUK2": Sim.READY,
}

_SIM_ERRORS = {
    # CME error: number and words [3GPP TS 27.007, section 9.2.1]
    10: ("sim not inserted", Sim.ABSENT),
    11: ("sim pin required", Sim.PIN),
    12: ("sim puk required", Sim.PUK),
    13: ("sim failure", Sim.FAILED),
    14: ("sim busy", Sim.BUSY),
    15: ("sim wrong", Sim.FAILED),
}

INCORRECT_PASSWORD = 16
"""The CME error of a wrong PIN [3GPP TS 27.007, section 9.2.1]."""

_UBLOX_SIM = {
    0: Sim.ABSENT,
    1: Sim.PIN,
    2: Sim.PUK,
    3: Sim.FAILED,  # the PUK is blocked too
    4: Sim.FAILED,
    5: Sim.READY,  # in restricted use
    6: Sim.READY,
    7: Sim.READY,
    8: Sim.READY,
}
"""``+UUSIMSTAT`` [u-blox SARA-R4 AT commands manual UBX-17003787, section 11.3]."""


def sim(lines: Iterable[str]) -> Sim | None:
    """Read ``+CPIN: code`` [3GPP TS 27.007, section 8.3]; a code of network locks is `Sim.FAILED`."""
    rest = find("+CPIN", lines)
    if rest is None:
        return None
    return _SIM_CODES.get(rest.strip('"').strip().upper(), Sim.FAILED)


def sim_error(final: str, code: int | None) -> Sim | None:
    """Read the state of the SIM out of an error; None if the error is about something else."""
    text = final.lower()
    for known, (words, state) in _SIM_ERRORS.items():
        if code == known or words in text:
            return state
    return None


def wrong_pin(final: str, code: int | None) -> bool:
    """Return whether an error means that the PIN was wrong."""
    return code == INCORRECT_PASSWORD or "incorrect password" in final.lower()


def sim_urc(line: str) -> Sim | None:
    """Read a modem's report of a change of the SIM's state; None if the line is about something else.

    `Sim.UNKNOWN`: something changed, so that a query is needed.
    """
    if after("+CPIN", line) is not None:
        return sim([line])
    if (state := after("+UUSIMSTAT", line)) is not None:
        return _UBLOX_SIM.get(_first(state), Sim.UNKNOWN)
    if (state := after("+QSIMSTAT", line)) is not None:
        # <enabled>,<inserted> [Quectel EC2x AT Commands Manual, "+QSIMSTAT"]
        return Sim.ABSENT if at(fields(state), 1) == "0" else Sim.UNKNOWN
    if (state := after("^SIMST", line)) is not None:
        # 255: no SIM; any other value needs a query [Huawei MU509 AT Command Interface Specification,
        # "^SIMST"]
        return Sim.ABSENT if _first(state) == 255 else Sim.UNKNOWN
    return Sim.UNKNOWN if after("+QUSIM", line) is not None else None


def pin_tries(lines: Iterable[str]) -> int | None:
    """Read the number of tries that a PIN has left, from any command's answer.

    ``+CPINR: SIM PIN,tries[,…]`` [3GPP TS 27.007, section 8.65]; ``+UPINCNT: pin,pin2,puk,puk2``
    [u-blox]; ``+QPINC: "SC",pin,puk`` [Quectel]; ``^CPIN: code[,times],puk,pin,puk2,pin2`` [Huawei].
    """
    for line in lines:
        head, _, rest = line.partition(":")
        parts = fields(rest)
        match head.strip().upper():
            case "+CPINR" if at(parts, 0).upper() == "SIM PIN":
                return number(at(parts, 1))
            case "+UPINCNT":
                return number(parts[0])
            case "+QPINC":
                return number(at(parts, 1))
            case "^CPIN":
                return number(parts[-3]) if len(parts) >= 5 else None
    return None


def _first(text: str) -> int:
    value = number(fields(text)[0])
    return -1 if value is None else value
