"""The modems that can be simulated, as values."""

from typing import Final, NamedTuple

from bridge.errors import UsageError


class Profile(NamedTuple):
    """The properties of one model.

    ``ports`` are the roles of its serial ports in their order on the USB device; ``act`` is the access
    technology of ``+COPS`` and ``+CREG`` [3GPP TS 27.007, section 7.3]; ``sockets`` is ``""``, ``ublox``,
    ``ublox-r4`` or ``quectel``; ``reset`` the arguments of ``AT+CFUN=`` that restart it; ``boot`` lines that
    it sends when it has started; ``store_full`` and ``rssi_code`` unsolicited codes that only some have.
    """

    name: str
    maker: str
    model: str
    revision: str
    firmware: str
    imei: str
    iccid_command: str
    iccid_answer: str
    registrations: tuple[str, ...]
    act: int
    sockets: str
    reset: tuple[str, ...]
    connect: str = "CONNECT"
    boot: tuple[str, ...] = ()
    store_full: str = ""
    rssi_code: str = ""
    location: str = ""

    @property
    def family(self) -> str:
        """The maker as command sets go: ``huawei``, ``ublox`` or ``quectel``."""
        return self.maker.lower().replace("-", "")


_THREE_G: Final = ("+CREG", "+CGREG")
_LTE: Final = ("+CREG", "+CGREG", "+CEREG")

_HUAWEI: Final = Profile(
    name="",
    maker="Huawei",
    model="",
    revision="",
    firmware="",
    imei="",
    iccid_command="^ICCID",
    iccid_answer="^ICCID: {}",
    registrations=_THREE_G,
    act=6,
    sockets="",
    reset=("6", "1,1"),
    connect="CONNECT 14400000",
    store_full='^SMMEMFULL: "ME"',
    rssi_code="^RSSI:{}",
)

_SARA_U201: Final = Profile(
    name="nova-u201",
    maker="u-blox",
    model="SARA-U201",
    revision="23.60",
    firmware="23.60,A01.01",
    imei="352255060012343",
    iccid_command="+CCID",
    iccid_answer="+CCID: {}",
    registrations=_THREE_G,
    act=6,
    sockets="ublox",
    reset=("15", "16", "1,1"),
    location="ublox",
)

_QUECTEL: Final = Profile(
    name="",
    maker="Quectel",
    model="",
    revision="",
    firmware="",
    imei="",
    iccid_command="+QCCID",
    iccid_answer="+QCCID: {}F",
    registrations=_LTE,
    act=7,
    sockets="quectel",
    reset=("1,1",),
    connect="CONNECT 150000000",
    boot=("RDY", "+CFUN: 1"),
    store_full='+QIND: "smsfull","ME"',
    location="quectel",
)

_ALL: Final = (
    _HUAWEI._replace(name="e303", model="E303", revision="21.157.01.00.199", imei="861195001234565"),
    _HUAWEI._replace(name="ms2131", model="MS2131i-8", revision="21.750.11.00.00", imei="860461024123457"),
    _SARA_U201._replace(name="iota", imei="352255060098763"),
    _SARA_U201,
    _SARA_U201._replace(
        name="nova-r410",
        model="SARA-R410M-02B",
        revision="L0.0.00.00.05.06 [Feb 03 2018 13:00:41]",
        firmware="L0.0.00.00.05.06,A02.00",
        imei="352753090041683",
        registrations=("+CREG", "+CEREG"),
        act=7,
        sockets="ublox-r4",
        reset=("15", "1,1"),
        connect="CONNECT",
        location="",
    ),
    _QUECTEL._replace(
        name="bg96",
        model="BG96",
        revision="BG96MAR02A07M1G",
        imei="866425030123452",
        act=8,
        connect="CONNECT",
    ),
    _QUECTEL._replace(name="ec21", model="EC21", revision="EC21AUFAR06A01M4G", imei="861107030123458"),
)

IMSI: Final = "234500012345678"
ICCID: Final = "8944500102198304826"
"""The card's numbers, unless others are given."""

PROFILES: Final = {profile.name: profile for profile in _ALL}


def by_name(name: str) -> Profile:
    """Return the profile of a name, with or without ``cellular-``.

    Raises:
        UsageError: the name is unknown.

    """
    profile = PROFILES.get(name.removeprefix("cellular-"))
    if profile is None:
        raise UsageError(f"--profile: {name!r} is not allowed; one of {', '.join(PROFILES)}")
    return profile
