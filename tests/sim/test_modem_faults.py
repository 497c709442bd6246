"""What can be made to go wrong with the simulated modem, at its start and while it runs."""

from pathlib import Path

import pytest

from bridge.sim.modem.faults import GARBAGE
from tests.harness import eventually
from tests.sim.at_host import Host
from tests.sim.conftest import MakeModem
from tests.sim.local_modem import LocalModem


def test_a_hang_ends_with_its_time(make_modem: MakeModem) -> None:
    """It swallows what comes; afterwards it answers, and not what it swallowed."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        modem.tell("fault", name="hang", seconds=0.3)
        host.write(b"AT+CGSN\r")
        modem.tell("code", line="+CREG: 2")
        assert host.silent_for(0.15)
        eventually(lambda: not modem.state()["silence"], what="the hang ends")
        assert host.ask("AT") == ["OK"]


@pytest.mark.parametrize(
    ("fault", "no_use", "heals"),
    [("hang", "AT", "AT+CFUN=4"), ("hang-reset", "AT+CFUN=4", "AT+CFUN=16")],
)
def test_a_hang_ends_with_what_ends_it(make_modem: MakeModem, fault: str, no_use: str, heals: str) -> None:
    """The mild one by any CFUN, the other by the restart command of the model alone."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        modem.tell("fault", name=fault)
        host.write(no_use.encode() + b"\r")
        assert host.silent_for(0.1)
        assert host.ask(heals) == ["OK"]


def test_a_hung_port_answers_when_it_was_closed(make_modem: MakeModem) -> None:
    """Not before."""
    modem = make_modem("bg96", faults=("hang-port",))
    host = Host(modem.at, echo=True)
    host.write(b"AT+CFUN=1,1\r")
    assert host.silent_for(0.1)
    host.close()
    with Host(modem.at) as host:
        assert host.ask("AT") == ["OK"]


def test_a_dead_modem_answers_when_its_power_was_off(make_modem: MakeModem) -> None:
    """Neither commands nor another opening help; the USB port's switch does."""
    modem = make_modem("nova-r410", faults=("hang-hard",))
    before = modem.device
    for _ in range(2):
        with Host(modem.at, echo=True) as host:
            host.write(b"AT+CFUN=15\rAT\r")
            assert host.silent_for(0.05)
    host = Host(modem.at, echo=True)
    modem.tell("power", on=False)
    assert host.gone()
    host.close()
    assert not modem.at.exists()
    modem.tell("power", on=True)
    eventually(modem.at.exists, what="it is back")
    assert modem.device != before
    with Host(modem.at) as host:
        assert host.ask("AT") == ["OK"]


def test_the_switch_of_usb_is_a_file(make_modem: MakeModem, tmp_path: Path) -> None:
    """0 in the file given as ``authorized`` takes the power, 1 gives it back."""
    paths = tmp_path / "authorized"
    paths.write_text("1")
    modem = make_modem("nova-u201", authorized=paths)
    paths.write_text("0\n")
    eventually(lambda: not modem.at.is_symlink(), what="the port vanishes")
    paths.write_text("1\n")
    eventually(modem.at.exists, what="the port is back")


def test_it_vanishes_and_comes_back_under_the_same_link_or_another(make_modem: MakeModem) -> None:
    """Another device each time; settings are lost; the host sees the hang-up."""
    modem = make_modem("ec21", ports=2)
    before = modem.device
    with Host(modem.at) as host:
        modem.tell("vanish", seconds=0.2)
        assert host.gone()
    eventually(modem.dial.exists, what="it is back")
    assert modem.device != before
    with Host(modem.at, echo=True) as host:
        assert "AT\r" in host.ask("AT")
    other = modem.at.parent / "ttyOther"
    modem.tell("vanish", seconds=0.1, link=str(other))
    new = [other.with_name(f"ttyOther{number}") for number in range(2)]
    eventually(lambda: all(link.exists() for link in new), what="it is back under another name")
    assert not modem.at.exists()
    with Host(new[0]) as host:
        assert host.ask("AT") == ["OK"]


def test_echo_comes_back_on(make_modem: MakeModem) -> None:
    """At once, and with a number after each ATE0."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        modem.tell("fault", name="echo", number=0.05)
        assert host.ask("AT") == ["AT\r", "OK"]
        assert host.ask("ATE0") == ["ATE0\r", "OK"]
        eventually(lambda: modem.state()["ports"][0]["echo"], what="echo is on again")


def test_lost_and_meaningless_bytes(make_modem: MakeModem) -> None:
    """Every third byte is missing; noise comes whenever the port is opened."""
    modem = make_modem("nova-u201", faults=("garbage",))
    with Host(modem.at, echo=True) as host:
        assert host.wait(rb".{%d}" % len(GARBAGE))[0] == GARBAGE
        host.ask("ATE0")
        modem.tell("fault", name="lost", number=3)
        host.write(b"AT\r")
        assert host.wait(rb".{4}")[0] == b"\r\nK\r"  # of "\r\nOK\r\n"
        modem.tell("clear")
        assert host.ask("AT") == ["OK"]


def test_slow_answers_and_codes_among_them(make_modem: MakeModem) -> None:
    """An unsolicited code stands within the answer's time."""
    modem = make_modem("nova-u201", faults=("slow:0.1",))
    with Host(modem.at) as host:
        modem.tell("fault", name="interleave")
        host.write(b"AT\r")
        assert host.silent_for(0.0)
        host.wait(rb"\r\n\+CTZV: 04\r\n\r\nOK\r\n")


def test_another_apn_is_refused(make_modem: MakeModem) -> None:
    """By a call and by the modem's own sockets; the right one is not."""
    modem = make_modem("nova-u201", faults=("other-apn",))
    with Host(modem.at) as host:
        assert host.ask('AT+CGDCONT=1,"IP","wrong"') == ["OK"]
        assert host.ask("ATD*99***1#") == ["NO CARRIER"]
        assert host.ask('AT+UPSD=0,1,"wrong"') == ["OK"]
        assert host.ask("AT+UPSDA=0,3")[-1].startswith("+CME ERROR")
        assert host.ask('AT+UPSD=0,1,"hologram"') == ["OK"]
        assert host.ask("AT+UPSDA=0,3")[-1] == "OK"


@pytest.mark.parametrize(
    ("fault", "command", "answer"),
    [
        ("sim-error", "AT+CPIN?", "+CME ERROR: SIM failure"),
        ("sim-absent", "AT+CPIN?", "+CME ERROR: SIM not inserted"),
        ("sim-busy", "AT+CPIN?", "+CME ERROR: SIM busy"),
        ("sim-pin", "AT+CPIN?", "+CPIN: SIM PIN"),
        ("sim-puk", "AT+CPIN?", "+CPIN: SIM PUK"),
        ("searching", "AT+CREG?", "+CREG: 0,2"),
        ("denied", "AT+CREG?", "+CREG: 0,3"),
        ("no-carrier", "ATD*99***1#", "NO CARRIER"),
    ],
)
def test_faults_that_are_there_from_the_start(
    make_modem: MakeModem, fault: str, command: str, answer: str
) -> None:
    """They stay so until they are cleared."""
    modem = make_modem("nova-u201", faults=(fault,), registered=False)
    with Host(modem.at) as host:
        # A modem that is denied has asked first.
        eventually(lambda: host.ask(command)[0] == answer, 10, what=answer)
        modem.tell("clear")
        modem.wait_registered()
        assert host.ask("AT+CPIN?") == ["+CPIN: READY", "OK"]


def test_a_fault_can_begin_later(make_modem: MakeModem) -> None:
    """``@SECONDS`` after its name."""
    modem = make_modem("nova-u201", faults=("sim-absent@0.3",))
    assert modem.state()["sim"] == "ready"
    eventually(lambda: modem.state()["sim"] == "absent", what="the SIM is gone")


def test_orders_that_cannot_be_are_refused(make_modem: MakeModem) -> None:
    """Each with what is allowed; the modem goes on."""
    modem = make_modem("nova-u201")
    wrong: tuple[tuple[str, dict[str, object]], ...] = (
        ("nap", {}),
        ("signal", {"rssi": 50}),
        ("registration", {"stat": 9}),
        ("registration", {}),
        ("sim", {"state": "lost"}),
        ("sms", {"pdu": "07"}),
        ("sms", {"from_": "far too long a name", "text": "x"}),
        ("fault", {"name": "nap"}),
    )
    for order, keys in wrong:
        assert refused(modem, order, keys)
    assert modem.state()["powered"]


def refused(modem: LocalModem, order: str, keys: dict[str, object]) -> bool:
    """Tell whether an order is refused."""
    try:
        modem.tell(order, **keys)
    except AssertionError:
        return True
    return False


PDU = "0011000B916407281553F80000AA0AE8329BFD4697D9EC37"


def test_texts_whose_answers_are_confused(make_modem: MakeModem) -> None:
    """OK for a prompt, OK without a reference, another command's error: each for as many as were ordered."""
    modem = make_modem("nova-u201", faults=("sms-early-ok:1", "sms-bare-ok:1", "sms-foreign:1"))
    with Host(modem.at) as host:
        assert host.ask("AT+CMGS=23") == ["OK"]
        for answer in (rb"\r\nOK\r\n", rb"\r\n\+CME ERROR: 258\r\n\r\n\+CMGS: 0\r\n\r\nOK\r\n"):
            host.write(b"AT+CMGS=23\r")
            host.wait(rb"\r\n> ")
            host.write(PDU.encode() + b"\x1a")
            host.wait(answer)
            assert not host.left
        assert modem.state()["sms"]["sent"] == 1


def test_a_modem_that_was_left_in_another_mode(make_modem: MakeModem) -> None:
    """Numbers until ATV1, names in UCS-2 until AT+CSCS, and the end of an earlier call in the port."""
    modem = make_modem("bg96", faults=("numeric", "ucs2", "left-over"))
    host = Host(modem.at, echo=True)
    host.wait(rb"\r\nNO CARRIER\r\n")
    host.write(b"AT\r")
    host.wait(rb"AT\r0\r")
    assert host.ask("ATE0V1")[-1] == "OK"
    eventually(lambda: modem.state()["registration"] == 5, what="it registers")
    name = "Simulated Mobile".encode("utf-16-be").hex().upper()
    assert host.ask("AT+COPS?") == [f'+COPS: 0,0,"{name}",8', "OK"]
    assert host.ask("AT+CSCS?") == ['+CSCS: "UCS2"', "OK"]
    assert host.ask('AT+CSCS="IRA"') == ["OK"]
    assert host.ask("AT+COPS?") == ['+COPS: 0,0,"Simulated Mobile",8', "OK"]
    host.close()
