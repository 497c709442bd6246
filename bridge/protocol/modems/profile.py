"""The properties of one kind of modem."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["at", "dial"]

ACCESS_TECHNOLOGIES: Mapping[int, str] = {
    0: "2G",  # GSM
    1: "2G",  # GSM Compact
    2: "3G",  # UTRAN
    3: "2G",  # GSM with EGPRS
    4: "3G",  # UTRAN with HSDPA
    5: "3G",  # UTRAN with HSUPA
    6: "3G",  # UTRAN with HSDPA and HSUPA
    7: "LTE",  # E-UTRAN
    8: "2G",  # EC-GSM-IoT (A/Gb mode)
    9: "NB-IoT",  # E-UTRAN (NB-S1 mode)
    10: "LTE",  # E-UTRA connected to a 5GCN
    13: "LTE",  # E-UTRA-NR dual connectivity
}
"""``AcT`` as users know it [3GPP TS 27.007, section 7.2]."""

LTE_M_TECHNOLOGIES: Mapping[int, str] = {**ACCESS_TECHNOLOGIES, 7: "LTE-M", 8: "LTE-M"}
"""``AcT`` of modems whose only broadband LTE is category M1, and that report it as 7 or as 8
[u-blox SARA-R4 AT commands manual UBX-17003787, section 7.7; Quectel BG96 AT Commands Manual, ``+COPS``]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of modem; each module of this package holds one as ``PROFILE``."""

    interface: str
    """The modem's name in ``network.interface``."""
    label: str
    """The modem's name for users."""
    usb_ids: tuple[str, ...] = ()
    """``vendor:product`` in lower case; empty: the modem is only used by a given device."""
    claims_usb_ids: bool = True
    """False: another profile has the same USB ids, and takes precedence unless this one is asked for."""

    at_interface: int = 0
    """USB interface number of the port that takes AT commands."""
    dial_interface: int = 0
    """USB interface number of the port that dials; the same if one port does both."""
    usb_roles: Mapping[tuple[int, int, int], Role] = field(default_factory=dict)
    """Interface class, subclass and protocol that give a port's role; they precede the numbers."""
    driver_id: str | None = None
    """The USB id that older kernels must be given for the ``option`` driver, in the form of ``new_id``."""

    baud: int = 115200
    ppp_baud: int = 9600
    """pppd's speed option; over USB it has no effect on the wire."""
    dial: str = "ATDT*99***1#"

    setup: tuple[str, ...] = ()
    """Commands at start-up beyond those of every modem."""
    registration: tuple[str, ...] = ("CREG", "CGREG", "CEREG")
    """The registration commands that the modem has."""
    technologies: Mapping[int, str] = field(default_factory=lambda: ACCESS_TECHNOLOGIES)
    """``AcT`` as users know it."""
    model_command: str = "AT+CGMM"
    firmware_command: str = "AT+CGMR"
    iccid_command: str = "AT+CCID"
    pin_tries_command: str = 'AT+CPINR="SIM PIN"'
    """The query of the tries that a PIN has left."""
    usb_mode_command: str | None = None
    """u-blox: the command that puts the ports in the documented order; ``None``: they always are."""

    reset_command: str = "AT+CFUN=1,1"
    sockets: Literal["ublox", "ublox-r4", "quectel"] | None = None
    """The family of its AT sockets; ``None``: it carries data by PPP only."""
    connect_timeout: float = 130.0
    """Seconds that an AT socket's connect can take; a modem that hangs meanwhile is not noticed earlier."""
    location: Literal["ublox", "quectel"] | None = None

    def technology(self, access: int | None) -> str | None:
        """Return the name of access technology ``AcT``; None if it is unknown."""
        return None if access is None else self.technologies.get(access)
