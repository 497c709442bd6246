"""The link's life as one table, and the judgement of what users are told about it.

The phase follows only what was done and what happened:

* ``disconnected`` until somebody wants the link, or wants it down, which is done whatever we know of one;
* ``connecting`` while the modem registers and dials: this takes up to some minutes;
* ``connected`` while an interface carries IP;
* ``disconnecting`` until the interface is gone.

A link that is lost is tidied up as one that is hung up; the manager that still wants it dials again after
that. What the modem and its SIM say beside it is *trouble*: it explains why there is no link, and gives the
status its code.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple

from bridge.core.modem import Facts, Registration, Sim


class Phase(StrEnum):
    """Where the link is in its life."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTING = "disconnecting"


class Step(StrEnum):
    """What moves the link."""

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
"""Every move there is; a pair that is not here is a mistake of the manager's."""


class Code(IntEnum):
    """The SDK's connection status codes [hologram-python 0.3, ``Cellular.getConnectionStatus``]."""

    CLOUD_DISCONNECTED = 0
    CLOUD_CONNECTED = 1
    CLOUD_ERR_SIM = 3
    CLOUD_ERR_SIGNAL = 5
    CLOUD_ERR_CONNECT = 12


class Fault(NamedTuple):
    """Why there is no link, or why the last attempt failed."""

    code: Code
    text: str

    @property
    def passing(self) -> bool:
        """Whether it is nothing but the way things begin."""
        return self.code is Code.CLOUD_DISCONNECTED


class Verdict(NamedTuple):
    """What the status says."""

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
    """Return what in ``facts`` rules a link out for now; a search that goes on is none."""
    if facts.sim in _SIM:
        return Fault(Code.CLOUD_ERR_SIM, _SIM[facts.sim])
    if facts.registration is Registration.DENIED:
        return Fault(Code.CLOUD_ERR_SIGNAL, "the network denies the registration: see the SIM's state")
    return None


def judge(phase: Phase, evidence: Fault | None, failure: Fault | None) -> Verdict:
    """Return what users are told.

    ``evidence`` is trouble that is known now (no modem, no SIM…), ``failure`` how the last attempt at a link
    that is still wanted ended.
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
