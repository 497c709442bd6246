"""The link's life as one table, and the verdict that users read.

The phase follows only what was done and what happened:

* ``disconnected`` until the link is wanted, or is to be hung up, which is done even if no link is known;
* ``connecting`` while the modem registers and dials, which takes up to some minutes;
* ``connected`` while an interface carries IP;
* ``disconnecting`` until the interface is gone.

A lost link is cleaned up like one that is hung up; a manager that still wants the link then dials again.
A problem of the modem or its SIM is a *fault*: it explains why there is no link, and sets the status code.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple

from bridge.core.modem import Facts, Registration, Sim


class Phase(StrEnum):
    """The phase of the link's life."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTING = "disconnecting"


class Step(StrEnum):
    """What changes the phase."""

    DIAL = "dial"
    UP = "up"
    FAILED = "failed"
    LOST = "lost"
    HANG_UP = "hang_up"
    DOWN = "down"


LIFE = {
    (Phase.DISCONNECTED, Step.DIAL): Phase.CONNECTING,
    (Phase.DISCONNECTED, Step.HANG_UP): Phase.DISCONNECTING,
    (Phase.CONNECTING, Step.UP): Phase.CONNECTED,
    (Phase.CONNECTING, Step.FAILED): Phase.DISCONNECTED,
    (Phase.CONNECTING, Step.HANG_UP): Phase.DISCONNECTING,
    (Phase.CONNECTED, Step.LOST): Phase.DISCONNECTING,
    (Phase.CONNECTED, Step.HANG_UP): Phase.DISCONNECTING,
    (Phase.DISCONNECTING, Step.LOST): Phase.DISCONNECTING,
    (Phase.DISCONNECTING, Step.UP): Phase.DISCONNECTING,
    (Phase.DISCONNECTING, Step.FAILED): Phase.DISCONNECTED,
    (Phase.DISCONNECTING, Step.DOWN): Phase.DISCONNECTED,
}
"""Every legal move; a pair that is missing here is a bug of the manager."""


class Code(IntEnum):
    """The SDK's connection status codes [hologram-python 0.3, ``Cellular.getConnectionStatus``]."""

    CLOUD_DISCONNECTED = 0
    CLOUD_CONNECTED = 1
    CLOUD_ERR_SIM = 3
    CLOUD_ERR_SIGNAL = 5
    CLOUD_ERR_CONNECT = 12


class Fault(NamedTuple):
    """The reason why there is no link, or why the last attempt failed."""

    code: Code
    text: str

    @property
    def passing(self) -> bool:
        """Whether the fault is only the state in which every start begins."""
        return self.code is Code.CLOUD_DISCONNECTED


class Verdict(NamedTuple):
    """What the status shows."""

    state: str
    code: Code
    error: str | None


_SIM = {
    Sim.ABSENT: "there is no SIM in the modem",
    Sim.PIN: "the SIM asks for its PIN: set network.sim_pin",
    Sim.PUK: "the SIM is locked after wrong PINs and asks for its PUK: unlock it in a telephone",
    Sim.FAILED: "the SIM does not work",
}


def fault(facts: Facts) -> Fault | None:
    """Return the fault in ``facts`` that rules a link out for now; an unfinished search is no fault."""
    if facts.sim in _SIM:
        return Fault(Code.CLOUD_ERR_SIM, _SIM[facts.sim])
    if facts.registration is Registration.DENIED:
        return Fault(Code.CLOUD_ERR_SIGNAL, "the network denies the registration: see the SIM's state")
    return None


def judge(phase: Phase, evidence: Fault | None, failure: Fault | None) -> Verdict:
    """Return what the status shows.

    ``evidence`` is a fault that is known now (no modem, no SIM…). ``failure`` is how the last attempt ended,
    if the link is still wanted.
    """
    if phase is Phase.CONNECTED:
        return Verdict("connected", Code.CLOUD_CONNECTED, None)
    if phase is Phase.DISCONNECTING and not failure:
        return Verdict("disconnecting", Code.CLOUD_DISCONNECTED, None)
    if evidence and not evidence.passing:
        return Verdict("error", evidence.code, evidence.text)
    known = evidence or failure
    if phase is Phase.CONNECTING:
        return Verdict("connecting", Code.CLOUD_DISCONNECTED, known.text if known else None)
    if failure:
        return Verdict("error", failure.code, failure.text)
    return Verdict("disconnected", Code.CLOUD_DISCONNECTED, known.text if known else None)
