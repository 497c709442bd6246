"""What modems answer and report about themselves, as their manuals and owners show it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.modem import Registration, Signal, Sim
from bridge.protocol.at import answers, location, simcard

HOME, ROAMING, SEARCHING = Registration.HOME, Registration.ROAMING, Registration.SEARCHING


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("+CSQ: 0,0", Signal(-113, 0, 0)),
        ("+CSQ: 18,99", Signal(-77, 58, None)),
        ("+CSQ: 31,7", Signal(-51, 100, 7)),
        ("+CSQ:31,99", Signal(-51, 100, None)),
        ("+CSQ: 99,99", Signal(None, None, None)),
        ("+CSQ: 128,99", Signal(None, None, None)),
        ("^RSSI:13", Signal(-87, 42, None)),
        ("^RSSI: 99", Signal(None, None, None)),
    ],
)
def test_signals_are_read(line: str, expected: Signal) -> None:
    """0 to 31 are dBm and percent, anything else is unknown; so are bit errors above 7."""
    assert answers.signal(line) == expected


@pytest.mark.parametrize("line", ["+CSQ:", "+CSQ: x,y", "+CREG: 1", "", "CSQ 18,99", "+CSQ: -1,99"])
def test_what_is_no_signal_is_none(line: str) -> None:
    """Another line, or one that lost its figures, says nothing about the signal."""
    assert answers.signal(line) is None


@pytest.mark.parametrize(
    ("line", "state", "access", "urcs"),
    [
        # answers: <n>,<stat>[,<lac>,<ci>[,<AcT>[,<rac>]]]
        ("+CREG: 0,1", HOME, None, 0),
        ("+CREG: 2,2", SEARCHING, None, 2),
        ('+CREG: 2,5,"2B0C","1AE320C",2', ROAMING, 2, 2),
        ('+CREG: 2,1,"4E54","44A5"', HOME, None, 2),
        ('+CGREG: 2,1,"61EF","7D58A3",2,"14"', HOME, 2, 2),
        ('+CEREG: 2,1,"3a9b","0000c33d",7', HOME, 7, 2),
        ('+CEREG: 4,5,"3a9b","0000c33d",9,,,"00000010","11000001"', ROAMING, 9, 4),
        ('+CEREG: 2,1,"2B0C","1AE320C",255', HOME, None, 2),
        ("+CREG: 2,1, 81F4, 00D5A3B2", HOME, None, 2),
        ("+CREG:2,5,81F4,D5,6", ROAMING, 6, 2),
        ("+CGREG: 2,3", Registration.DENIED, None, 2),
        ("+CEREG: 2,80", SEARCHING, None, 2),
        ("+CREG: 2,8", Registration.NONE, None, 2),
        ("+CREG: 2,6", HOME, None, 2),
        ("+CREG: 2,10", ROAMING, None, 2),
        # unsolicited: <stat>[,<lac>,<ci>[,<AcT>[,<rac>]]]
        ("+CREG: 1", HOME, None, None),
        ("+CREG: 0", Registration.NONE, None, None),
        ("+CREG:4", Registration.UNKNOWN, None, None),
        ('+CREG: 1,"4E54","44A5"', HOME, None, None),
        ('+CREG: 5,"2B0C","1AE320C",2', ROAMING, 2, None),
        ('+CGREG: 1,"4E54","44A5",6,"14"', HOME, 6, None),
        ('+CEREG: 5,"3a9b","0000c33d",8', ROAMING, 8, None),
        ("+CREG: 5, 81F4, 00D5A3B2", ROAMING, None, None),
        ("+CREG: 1,81F4,00D5A3B2,2", HOME, 2, None),
        ('+CEREG: 2,"","",', SEARCHING, None, None),
        ("+CEREG: 2,,,", SEARCHING, None, None),
        ('+CEREG: 3,"2B0C","1AE320C",7,0,15', Registration.DENIED, None, None),
    ],
)
def test_registrations_are_read_in_every_shape(
    line: str, state: Registration, access: int | None, urcs: int | None
) -> None:
    """Answers and unsolicited codes are told apart by their fields, whatever the maker leaves out."""
    name = line[1:].partition(":")[0]
    assert answers.registration(line) == answers.Cell(name, state, access, urcs)


@pytest.mark.parametrize("line", ["+CREG:", "+CREG: ,", "+CREG: x", "+CSQ: 1,2", "+CREGX: 1", "CREG", ""])
def test_what_is_no_registration_is_none(line: str) -> None:
    """Other lines, and such without a state, say nothing about registration."""
    assert answers.registration(line) is None


def _cells(**states: Registration) -> dict[str, answers.Cell]:
    return {name: answers.Cell(name, state, 7 if name == "CEREG" else None) for name, state in states.items()}


def test_any_domain_makes_a_registration() -> None:
    """Packet data counts first; who is in any network is in the network; else the best that is known."""
    merged = answers.merged
    both = merged(_cells(CREG=Registration.DENIED, CEREG=ROAMING))
    assert both is not None
    assert (both.registration, both.access) == (ROAMING, 7)
    calls = merged(_cells(CREG=HOME, CGREG=SEARCHING))
    assert calls is not None
    assert calls.registration is HOME
    nowhere = merged(_cells(CREG=Registration.NONE, CGREG=SEARCHING, CEREG=Registration.UNKNOWN))
    assert nowhere is not None
    assert nowhere.registration is SEARCHING
    assert merged({}) is None


@pytest.mark.parametrize(
    ("line", "name", "access"),
    [
        ('+COPS: 0,0,"T-Mobile",2', "T-Mobile", 2),
        ('+COPS: 0,0,"A, B & C"', "A, B & C", None),
        ('+COPS: 1,2,"310260",7', "310260", 7),
        ("+COPS: 0", None, None),
        ('+COPS: 0,0,"",0', None, 0),
        ('+COPS: 0,0,"0056006F006400610066006F006E0065",7', "Vodafone", 7),
        ('+COPS: 0,0,"0033",2', "3", 2),
        ('+COPS: 0,0,"041C0422042100200052",2', "\u041c\u0422\u0421 R", 2),
        ('+COPS: 0,0,"00310007",2', "00310007", 2),
        ('+COPS: 0,0,"DEADBEEF",2', "DEADBEEF", 2),
        ('+COPS: 0,2,"23415",2', "23415", 2),
    ],
)
def test_operators_are_read(line: str, name: str | None, access: int | None) -> None:
    """The name in quotes, commas and all; without a network there is none."""
    assert answers.operator([line]) == answers.Operator(name, access)


def test_an_operator_is_found_among_other_lines() -> None:
    """A code that came into the answer does not hide it."""
    assert answers.operator(["^RSSI:13", '+COPS: 0,0,"Eins",2']) == answers.Operator("Eins", 2)
    assert answers.operator([]) is None


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("+CPIN: READY", Sim.READY),
        ("+CPIN:READY", Sim.READY),
        ("+CPIN: SIM PIN", Sim.PIN),
        ("+CPIN: SIM PUK", Sim.PUK),
        ("+CPIN: SIM PIN2", Sim.READY),
        ("+CPIN: NOT INSERTED", Sim.ABSENT),
        ("+CPIN: NOT READY", Sim.BUSY),
        ("+CPIN: PH-NET PIN", Sim.FAILED),
    ],
)
def test_sim_states_are_read(line: str, state: Sim) -> None:
    """As an answer and as what modems report by themselves."""
    assert simcard.sim([line]) is state
    assert simcard.sim_urc(line) is state


@pytest.mark.parametrize(
    ("final", "code", "state"),
    [
        ("+CME ERROR: 10", 10, Sim.ABSENT),
        ("+CME ERROR: SIM not inserted", None, Sim.ABSENT),
        ("+CME ERROR: SIM PIN required", None, Sim.PIN),
        ("+CME ERROR: 12", 12, Sim.PUK),
        ("+CME ERROR: SIM failure", None, Sim.FAILED),
        ("+CME ERROR: 14", 14, Sim.BUSY),
        ("+CME ERROR: SIM wrong", None, Sim.FAILED),
        ("+CME ERROR: 3", 3, None),
        ("ERROR", None, None),
    ],
)
def test_sim_errors_are_read(final: str, code: int | None, state: Sim | None) -> None:
    """By number and by word; other errors say nothing of the SIM."""
    assert simcard.sim_error(final, code) is state


def test_a_wrong_pin_is_told_from_other_errors() -> None:
    """By number and by word."""
    assert simcard.wrong_pin("+CME ERROR: 16", 16)
    assert simcard.wrong_pin("+CME ERROR: incorrect password", None)
    assert not simcard.wrong_pin("+CME ERROR: operation not allowed", 3)


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("+UUSIMSTAT: 0", Sim.ABSENT),
        ("+UUSIMSTAT: 1", Sim.PIN),
        ("+UUSIMSTAT: 6", Sim.READY),
        ("+UUSIMSTAT: 9", Sim.UNKNOWN),
        ("+QSIMSTAT: 1,0", Sim.ABSENT),
        ("+QSIMSTAT: 1,1", Sim.UNKNOWN),
        ("+QUSIM: 1", Sim.UNKNOWN),
        ("^SIMST: 1", Sim.UNKNOWN),
        ("^SIMST:255,0", Sim.ABSENT),
        ("^SIMST:", Sim.UNKNOWN),
        ('+CMTI: "ME",1', None),
        ("RDY", None),
    ],
)
def test_makers_report_sims_in_their_ways(line: str, state: Sim | None) -> None:
    """UNKNOWN is a reason to ask; None is about something else."""
    assert simcard.sim_urc(line) is state


@pytest.mark.parametrize(
    ("lines", "tries"),
    [
        (["+CPINR: SIM PIN,3,3"], 3),
        (["+CPINR: SIM PUK,10,10", "+CPINR: SIM PIN,1,3"], 1),
        (["+CPINR: SIM PIN2,2"], None),
        (["+UPINCNT: 2,3,10,10"], 2),
        (['+QPINC: "SC",1,10'], 1),
        (["^CPIN: SIM PIN,3,10,2,10,3"], 2),
        (["^CPIN: READY,,10,3,10,3"], 3),
        (["^CPIN: READY,10,3,10,3"], 3),
        (["+CPINR: x"], None),
        ([], None),
    ],
)
def test_the_tries_that_a_pin_has_are_read(lines: list[str], tries: int | None) -> None:
    """Of every maker's command; what is not read is unknown, never a number."""
    assert simcard.pin_tries(lines) == tries


def test_identities_are_read() -> None:
    """IMEI and IMSI bare, quoted or named; the model and the firmware as text."""
    assert answers.imei(["352255060012343"]) == "352255060012343"
    assert answers.imei(['+CGSN: "352255060012343"']) == "352255060012343"
    assert answers.imei(["^RSSI:13", "352255060012343"]) == "352255060012343"
    assert answers.imei(["ERROR"]) is None
    assert answers.imsi(["234500012345678"]) == "234500012345678"
    assert answers.imsi(["+CIMI: 234500012345678"]) == "234500012345678"
    assert answers.imsi([]) is None
    assert answers.text(["SARA-U201"], "+CGMM") == "SARA-U201"
    assert answers.text(['+CGMM: "E303"'], "+CGMM") == "E303"
    assert answers.text(["^MODE:5,4", "Revision: BG96MAR02A07M1G"]) == "BG96MAR02A07M1G"
    assert answers.text([]) is None


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("+CCID: 8944500102198304826", "8944500102198304826"),
        ("+CCID: 89445001021983048261", "89445001021983048261"),
        ('+CCID: "8944500102198304826F"', "8944500102198304826"),
        ("+QCCID: 8944500102198304826F", "8944500102198304826"),
        ("+ICCID: 8944500102198304826", "8944500102198304826"),
        ("^ICCID: 98445400102198304826", "89444500011289038462"),
        ("^ICCID: 984405201089034028F6", "8944500201983004826"),
        ("8944500102198304826", "8944500102198304826"),
        ("+CCID: ", None),
        ("+CCID: 12", None),
    ],
)
def test_iccids_are_read(line: str, number: str | None) -> None:
    """Without the filling F, and in order where a Huawei stick gives them as the card stores them."""
    assert answers.iccid([line]) == number


def test_states_of_the_modem_are_read() -> None:
    """Functionality, contexts and USB mode; the unreadable is None."""
    assert answers.functionality(["+CFUN: 1,0"]) == 1
    assert answers.functionality(["OK"]) is None
    assert answers.context_apn(['+CGDCONT: 1,"IP","hologram","0.0.0.0",0,0']) == ("IP", "hologram")
    assert answers.context_apn(['+CGDCONT: 2,"IP","x"']) is None
    assert answers.usb_mode(['+UUSBCONF: 2,"ECM",,"0x1104"']) == 2
    assert answers.usb_mode([]) is None


def test_places_are_read() -> None:
    """u-blox's and Quectel's forms; where no place is known there is none."""
    line = "+UULOC: 13/04/2011,09:54:51.000,45.6334520,13.0618620,49,1"
    assert location.ublox_location(line) == (45.633452, 13.061862, 49, 1, "2011-04-13T09:54:51Z", None)
    assert location.ublox_location("+UULOC: 13/04/2011,09:54:51.000,0.0,0.0,0,0") is None
    assert location.ublox_location("+UULOC: 13/04/2011,09:54:51.000,95.0,13.0,0,0") is None
    assert location.ublox_location("+UULOC: 1") is None
    fix = "+QGPSLOC: 061951.0,31.82220,-117.11578,0.7,62.2,2,0.0,0.0,0.0,110513,09"
    assert location.quectel_location([fix]) == (31.8222, -117.11578, 62.2, None, "2013-05-11T06:19:51Z", 9)
    assert location.quectel_location([]) is None


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ('AT+CPIN="1234"', "AT+CPIN=…"),
        ("at^cpin=1234", "at^cpin=…"),
        ('AT+CLCK="SC",0,"1234"', "AT+CLCK=…"),
        ('AT+CPWD="SC","1234","4321"', "AT+CPWD=…"),
        ('AT+CGAUTH=1,1,"user","secret"', "AT+CGAUTH=…"),
        ('AT+UPSD=0,3,"secret"', "AT+UPSD=0,3,…"),
        ("AT+CPIN?", "AT+CPIN?"),
        ("AT+CSQ", "AT+CSQ"),
    ],
)
def test_secrets_are_not_shown(command: str, shown: str) -> None:
    """Commands that carry a PIN or a password are shown without."""
    assert answers.without_secrets(command) == shown


NAMES = (
    "+CSQ", "^RSSI", "+CREG", "+CGREG", "+CEREG", "+COPS", "+CPIN", "+UUSIMSTAT", "+QSIMSTAT", "^SIMST",
    "+CPINR", "+UPINCNT", "+QPINC", "^CPIN", "+CCID", "+CGPADDR", "+CGDCONT", "+UUSBCONF", "+CTZV", "+UULOC",
    "+QGPSLOC", "",
)  # fmt: skip

LINES = st.one_of(
    st.text(),
    st.builds("{}: {}".format, st.sampled_from(NAMES), st.text('0123456789,",.+-: /xF²', max_size=60)),
)


@given(st.lists(LINES, max_size=4))
def test_no_line_is_an_error(lines: list[str]) -> None:
    """Whatever a modem says, reading it raises nothing and invents nothing out of range."""
    for line in lines:
        if (signal := answers.signal(line)) is not None:
            assert signal.rssi_dbm is None or -113 <= signal.rssi_dbm <= -51
            assert signal.percent is None or 0 <= signal.percent <= 100
        answers.registration(line)
        simcard.sim_urc(line)
        place = location.ublox_location(line) or location.quectel_location([line])
        assert place is None or abs(place.latitude) <= 90
        answers.without_secrets(line)
    for read in (
        answers.operator, answers.imei, answers.imsi, answers.iccid, answers.text, answers.functionality,
        answers.context_apn, answers.usb_mode, simcard.sim, simcard.pin_tries,
    ):  # fmt: skip
        read(lines)


@given(st.text())
def test_fields_keep_their_number(text: str) -> None:
    """As many fields as commas outside quotes, and one."""
    parts = answers.fields(text)
    outside = "".join(text.split('"')[::2])
    assert len(parts) == outside.count(",") + 1
