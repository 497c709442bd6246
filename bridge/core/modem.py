"""What is known of a modem and its SIM: values that pass between modem, network manager and reports.

An unknown field is None; nothing is guessed.
"""

from enum import StrEnum
from typing import NamedTuple


class Sim(StrEnum):
    """The state of the SIM as ``AT+CPIN?`` reports it [3GPP TS 27.007, section 8.3]."""

    UNKNOWN = "unknown"
    BUSY = "busy"
    READY = "ready"
    PIN = "pin"
    PUK = "puk"
    ABSENT = "absent"
    FAILED = "failed"


class Registration(StrEnum):
    """The ``stat`` of ``+CREG``, ``+CGREG``, ``+CEREG`` [3GPP TS 27.007, sections 7.2, 10.1.20, 10.1.22]."""

    NONE = "not_registered"
    HOME = "home"
    SEARCHING = "searching"
    DENIED = "denied"
    UNKNOWN = "unknown"
    ROAMING = "roaming"

    @property
    def registered(self) -> bool:
        """Whether the modem is registered in a network."""
        return self in (Registration.HOME, Registration.ROAMING)


class Signal(NamedTuple):
    """The radio signal: dBm, percent of the scale, bit error class 0 to 7 [3GPP TS 27.007, section 8.5]."""

    rssi_dbm: int | None = None
    percent: int | None = None
    ber: int | None = None


class Identity(NamedTuple):
    """The identity of the modem and its SIM."""

    model: str | None = None
    firmware: str | None = None
    imei: str | None = None
    imsi: str | None = None
    iccid: str | None = None


class Facts(NamedTuple):
    """All that a modem has reported so far; replaced as a whole at each change."""

    sim: Sim = Sim.UNKNOWN
    registration: Registration = Registration.UNKNOWN
    operator: str | None = None
    technology: str | None = None
    """The users' name of it: ``2G``, ``3G``, ``LTE``, ``LTE-M`` or ``NB-IoT``."""
    signal: Signal = Signal()
    identity: Identity = Identity()


class Wifi(NamedTuple):
    """A Wi-Fi connection; signal in dBm, over the samples since it was established."""

    ssid: str | None = None
    ap: str | None = None
    avg_signal_dbm: int | None = None
    max_signal_dbm: int | None = None


class Place(NamedTuple):
    """Where a modem is attached, and which modem it is; ports are paths."""

    interface: str
    """The modem's name in ``network.interface``."""
    at: str
    dial: str
    """The port that dials; the same as `at` where the modem has only one usable port."""
    usb: str | None = None
    """The modem's folder in sysfs, for switching the USB port."""

    @property
    def single(self) -> bool:
        """Whether one port does both, so that the modem cannot be queried during a call."""
        return self.at == self.dial


class Link(NamedTuple):
    """An interface that carries IP."""

    interface: str
    local_ip: str | None = None
    remote_ip: str | None = None
    dns: tuple[str, ...] = ()
    """Addresses of the network's name servers, where they are asked over this link alone."""
