"""The simulated modem at a real pty: conversation, identity, SIM, registration, call."""

import random
import sys
from pathlib import Path

import pytest
import serial

from bridge.__main__ import main
from bridge.sim.modem.profiles import PROFILES
from tests.harness import Keeper, eventually
from tests.harness.modem import SimModem
from tests.sim.at_host import Host
from tests.sim.command import simulate
from tests.sim.conftest import MakeModem
from tests.sim.local_modem import LocalModem


@pytest.fixture
def modem(make_modem: MakeModem) -> LocalModem:
    """A U201 with two ports that is registered."""
    return make_modem("nova-u201", ports=2)


# -- conversation ----------------------------------------------------------------------------------------


def test_it_echoes_until_told_not_to(modem: LocalModem) -> None:
    """Each port has an echo of its own; answers stand between CR LF; a LF or noise before AT does no harm."""
    with Host(modem.at, echo=True) as host:
        host.write(b"AT\r")
        assert host.wait(rb".*OK\r\n")[0] == b"AT\r\r\nOK\r\n"
        host.write(b"at")
        assert host.wait(b"at")[0] == b"at"  # as it is typed
        host.write(b"e0\r\n")
        assert host.wait(rb".*OK\r\n")[0] == b"e0\r\r\nOK\r\n"
        host.write(b"\x00\xff\x1b\nAT+CGSN\r")
        assert host.wait(rb".*OK\r\n")[0] == b"\r\n352255060012343\r\n\r\nOK\r\n"
    with Host(modem.at, echo=True) as host:
        assert host.ask("AT") == ["OK"]  # the setting outlives the host
    with Host(modem.dial, echo=True) as host:
        assert host.ask("ATE0V1;+CREG?") == ["ATE0V1;+CREG?\r", "+CREG: 0,5", "OK"]


def test_errors_are_told_as_cmee_wants_them(modem: LocalModem) -> None:
    """0 a bare ERROR, 1 a number, 2 words; an unknown command is a bare ERROR always."""
    modem.tell("sim", state="absent")
    with Host(modem.at) as host:
        assert host.ask("AT+CMEE=0") == ["OK"]
        assert host.ask("AT+CPIN?") == ["ERROR"]
        assert host.ask("AT+CMEE=1;+CPIN?;+CSQ") == ["+CME ERROR: 10"]
        assert host.ask("AT+CMEE=2;+CPIN?") == ["+CME ERROR: SIM not inserted"]
        assert host.ask("AT+CMGL=4") == ["+CMS ERROR: SIM not inserted"]
        assert host.ask("AT+NOSUCH=1") == ["ERROR"]
        assert host.ask("AT+CMEE=7") == ["+CME ERROR: Incorrect parameters"]
        assert host.ask("AT+(") == ["ERROR"]


def test_commands_that_come_at_once_are_answered_in_turn(modem: LocalModem) -> None:
    """What comes while a command is under way waits."""
    with Host(modem.at) as host:
        host.write(b"AT+CMEE?\rAT+CREG?\rAT+CFUN?\r")
        answers = [host.wait(rb"\+(\w+): .*?OK\r\n")[1] for _ in range(3)]
        assert answers == [b"CMEE", b"CREG", b"CFUN"]


def test_pyserial_can_talk_to_it(modem: LocalModem) -> None:
    """The library that most programs use finds an ordinary port."""
    with serial.Serial(str(modem.at), 115200, timeout=5, exclusive=True) as port:
        port.write(b"ATE0\r")
        port.read_until(b"OK\r\n")
        port.write(b"AT+CIMI\r")
        assert port.read_until(b"OK\r\n") == b"\r\n234500012345678\r\n\r\nOK\r\n"
    with Host(modem.at) as host:  # and the lock that it took goes with it
        assert host.ask("AT") == ["OK"]


ODD = (
    "",
    "0",
    "1",
    "4",
    "17",
    "99",
    "65536",
    "9" * 11,
    '"x"',
    '"127.0.0.1"',
    '"4142"',
    "-1",
    '"',
    "\xe9",
    ";",
)
PROMPTS = {"D", "O", "+CGDATA", "+CFUN", "+CMGS", "+QISEND", "+USOWR", "+USOST"}


@pytest.mark.parametrize("name", ["e303", "nova-u201", "bg96"])
def test_whatever_is_asked_is_answered(make_modem: MakeModem, name: str) -> None:
    """Every command in every form, with arguments that make no sense: an answer, and the modem goes on."""
    modem = make_modem(name, answer=0.0)
    assert modem.modem is not None
    names = sorted(modem.modem.interpreter.names() - PROMPTS)
    odd = random.Random(1)
    with Host(modem.at) as host:
        for command in names:
            for form in ("", "?", "=", "=", "="):
                arguments = ",".join(odd.choices(ODD, k=odd.randrange(6))) if form == "=" else ""
                assert host.ask(f"AT{command}{form}{arguments}")
        host.write(odd.randbytes(5000).replace(b"\x1a", b"") + b"\r\x1b\r")
        host.write(b"ATE0\rAT+CGSN\r")
        host.wait(rb"\r\n\d{15}\r\n\r\nOK\r\n")


# -- who it is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROFILES)
def test_each_profile_is_the_modem_that_it_says(make_modem: MakeModem, name: str) -> None:
    """Identity, the make's own card number command, registration with technology, and the make's sockets."""
    profile = PROFILES[name]
    modem = make_modem(name)
    with Host(modem.at) as host:
        for command, told in (
            ("AT+CGMM", profile.model),
            ("AT+CGMR", profile.revision),
            ("AT+CGSN", profile.imei),
            ("AT+CIMI", "234500012345678"),
        ):
            assert host.ask(command) == [told, "OK"]
        query = "?" if profile.family == "huawei" else ""
        assert "8944500102198304826" in host.ask(f"AT{profile.iccid_command}{query}")[0]
        assert host.ask("ATI")[-1] == "OK"
        assert host.ask("ATI9") == ([profile.firmware, "OK"] if profile.firmware else ["ERROR"])
        for command in profile.registrations:
            assert host.ask(f"AT{command}=2;{command}?") == [
                f'{command}: 2,5,"1A2B","01F3C2D4",{profile.act}',
                "OK",
            ]
        assert host.ask("AT+COPS?") == [f'+COPS: 0,0,"Simulated Mobile",{profile.act}', "OK"]
        assert (host.ask("AT+USOCR=6") != ["ERROR"]) == profile.sockets.startswith("ublox")
        assert (host.ask("AT+QISTATE?") != ["ERROR"]) == (profile.sockets == "quectel")


# -- SIM and network -------------------------------------------------------------------------------------


def test_the_sim_wants_its_pin_and_locks_after_three(make_modem: MakeModem) -> None:
    """Nothing works before; two wrong ones can still be put right, a third asks for the PUK."""
    modem = make_modem("nova-u201", pin="4321", registered=False)
    eventually(lambda: modem.state()["sim"] == "pin", what="the SIM asks for its PIN")
    with Host(modem.at) as host:
        assert host.ask("AT+CPIN?") == ["+CPIN: SIM PIN", "OK"]
        assert host.ask("AT+CIMI") == ["+CME ERROR: SIM PIN required"]
        assert host.ask("AT+CREG=1;+CREG?") == ["+CREG: 1,0", "OK"]
        assert host.ask('AT+CPIN="0000"') == ["+CME ERROR: incorrect password"]
        assert host.ask("AT+UPINCNT") == ["+UPINCNT: 2,3,10,10", "OK"]
        assert host.ask('AT+CPIN="4321"') == ["OK"]
        assert host.code("+CREG: 5") == "+CREG: 5"
        assert host.ask("AT+CPIN?") == ["+CPIN: READY", "OK"]
        modem.tell("reset", seconds=0.1)
        assert host.gone()
    eventually(lambda: modem.state()["sim"] == "pin", what="the SIM asks again after a restart")
    with Host(modem.at) as host:
        answers = [host.ask('AT+CPIN="1111"')[-1] for _ in range(3)]
        assert answers == ["+CME ERROR: incorrect password"] * 2 + ["+CME ERROR: SIM PUK required"]
        assert host.ask("AT+CPIN?") == ["+CPIN: SIM PUK", "OK"]
        assert host.ask('AT+CPIN="12345678","9999"') == ["OK"]
        assert host.ask("AT+CPIN?") == ["+CPIN: READY", "OK"]
    assert modem.options.log is not None
    assert "4321" not in modem.options.log.read_text() + "".join(modem.lines)


@pytest.mark.parametrize(
    ("profile", "enable", "gone", "back"),
    [
        ("nova-u201", "AT+USIMSTAT=3", "+UUSIMSTAT: 0", "+UUSIMSTAT: 6"),
        ("bg96", "AT+QSIMSTAT=1", "+QSIMSTAT: 1,0", "+CPIN: READY"),
        ("e303", "AT", "^SIMST: 255", "^SIMST: 1"),
    ],
)
def test_a_card_that_is_pulled_and_put_back_is_announced(
    make_modem: MakeModem, profile: str, enable: str, gone: str, back: str
) -> None:
    """In the words of each make, and the network goes and comes with it."""
    modem = make_modem(profile)
    with Host(modem.at) as host:
        host.ask(f"{enable};+CREG=1" if "+" in enable else "AT+CREG=1")
        modem.tell("sim", state="absent")
        host.code(gone)
        host.code("+CREG: 0")
        modem.tell("sim", state="busy", seconds=0.1)
        host.code(back)
        host.code("+CREG: 5")


def test_the_network_comes_goes_and_says_so(modem: LocalModem) -> None:
    """Registration codes in mode 2, denied and searching, radio off and on, and the operator with them."""
    with Host(modem.at) as host:
        assert host.ask("AT+CREG=2;+CGREG=1") == ["OK"]
        modem.tell("registration", stat=3)
        assert host.code("+CREG") == "+CREG: 3"
        assert host.code("+CGREG") == "+CGREG: 3"
        assert host.ask("AT+COPS?") == ["+COPS: 0", "OK"]
        modem.tell("registration", stat=2, seconds=0.1)
        assert host.code("+CREG") == "+CREG: 2"
        assert host.code("+CREG") == "+CREG: 3"
        modem.tell("clear")
        assert host.code("+CREG: 5") == '+CREG: 5,"1A2B","01F3C2D4",6'
        host.code("+CGREG: 5")
        assert host.ask("AT+CFUN=4") == ["OK"]
        assert host.code("+CREG") == "+CREG: 0"
        assert host.code("+CGREG") == "+CGREG: 0"
        assert host.ask("AT+CSQ") == ["+CSQ: 99,99", "OK"]
        assert host.ask("AT+CGREG=0;+CFUN=1") == ["OK"]
        assert host.code("+CREG") == "+CREG: 2"
        assert host.code("+CREG").startswith("+CREG: 5,")


def test_the_signal_moves_unless_it_is_set(modem: LocalModem) -> None:
    """Within its scale; an order pins it."""
    with Host(modem.at) as host:
        seen = {host.ask("AT+CSQ")[0] for _ in range(30)}
        assert len(seen) > 1
        assert all(9 <= int(line.removeprefix("+CSQ: ").split(",")[0]) <= 24 for line in seen)
        modem.tell("signal", rssi=31, ber=0)
        assert host.ask("AT+CSQ") == ["+CSQ: 31,0", "OK"]


def test_a_packet_context_is_defined_and_has_an_address(modem: LocalModem) -> None:
    """CGDCONT, CGATT, CGACT and CGPADDR tell the same story."""
    with Host(modem.at) as host:
        assert host.ask('AT+CGDCONT=1,"IP","hologram"') == ["OK"]
        assert host.ask("AT+CGDCONT?") == ['+CGDCONT: 1,"IP","hologram","",0,0', "OK"]
        assert host.ask("AT+CGATT?;+CGACT?") == ["+CGATT: 1", "+CGACT: 1,0", "OK"]
        assert host.ask("AT+CGACT=1,1;+CGPADDR=1") == ['+CGPADDR: 1,"10.176.23.42"', "OK"]


def test_a_reset_loses_settings_and_comes_back_as_another_device(modem: LocalModem) -> None:
    """The command is answered, the ports hang up, and the same links lead to new devices."""
    before = modem.device
    with Host(modem.at) as host:
        assert host.ask("AT+CREG=2") == ["OK"]
        assert host.ask("AT+CFUN=16") == ["OK"]
        assert host.gone()
    eventually(modem.at.exists, what="the port is back")
    assert modem.device != before
    with Host(modem.at, echo=True) as host:
        assert host.ask("AT+CREG?;+CMEE?")[0] == "AT+CREG?;+CMEE?\r"
        assert "+CREG: 0," in host.ask("AT+CREG?")[1]


# -- calls -----------------------------------------------------------------------------------------------

# Says hello, then echoes in capitals, until its line is cut.
FAR = (
    sys.executable,
    "-c",
    "import os; os.write(1, b'hello')\nwhile data := os.read(0, 4096): os.write(1, data.upper())",
)


def test_a_call_reaches_the_far_end_and_comes_back(make_modem: MakeModem) -> None:
    """CONNECT, then bytes as they are; +++ between pauses asks for the ear, ATO goes on, ATH hangs up."""
    modem = make_modem("ec21", far=FAR, ports=2)
    with Host(modem.at) as host, Host(modem.dial) as line:
        assert line.ask("ATS12=10;S12?") == ["010", "OK"]  # pauses of a fifth of a second
        assert line.ask("ATDT*99***1#") == ["CONNECT 150000000"]
        line.wait(b"hello")
        line.write(bytes(range(256)) * 16)
        line.wait(re_of(bytes(range(256)).upper() * 16))
        assert host.ask("AT+CSQ")[-1] == "OK"  # the other port answers meanwhile
        line.write(b"+++AT\r")  # no pause: data
        line.wait(rb"\+\+\+AT\r")
        assert line.silent_for(0.3)
        line.write(b"+++")
        line.wait(rb"\+\+\+\r\nOK\r\n")
        assert line.ask("ATO") == ["CONNECT 150000000"]
        line.write(b"more")
        line.wait(b"MORE")
        assert modem.state()["ports"][1]["in_call"]
        modem.tell("carrier", up=False)
        line.wait(b"\r\nNO CARRIER\r\n")
        assert line.ask("AT") == ["OK"]
        assert line.ask("ATD*99#") == ["NO CARRIER"]
    assert [event["connected"] for event in modem.events("call")] == [True, False]


def re_of(data: bytes) -> bytes:
    """Return a pattern for exactly these bytes."""
    return b"".join(b"\\x%02x" % each for each in data)


def test_closing_the_port_hangs_up(make_modem: MakeModem) -> None:
    """The far end goes, and the next host finds a modem that takes commands, however quick it is."""
    modem = make_modem("nova-r410", far=FAR)
    with Host(modem.at) as host:
        assert host.ask("ATD*99***1#") == ["CONNECT"]
        host.wait(b"hello")
    with Host(modem.at) as host:
        assert host.ask("AT") == ["OK"]
        assert not modem.state()["ports"][0]["in_call"]


def test_a_far_end_that_leaves_is_no_carrier(make_modem: MakeModem) -> None:
    """Also one that cannot be started; the modem takes commands again."""
    for number, command in enumerate((("true",), ("/no/such/program",))):
        modem = make_modem(("ms2131", "bg96")[number], far=command)
        with Host(modem.at) as host:
            assert host.ask("ATD*99***1#")[0].startswith("CONNECT")
            assert host.code("NO CARRIER") == "NO CARRIER"
            assert host.ask("AT") == ["OK"]


# -- as a command ----------------------------------------------------------------------------------------


def test_it_ends_clean_and_idles_without_work(keeper: Keeper, tmp_path: Path) -> None:
    """SIGTERM: exit 0, no links left; while nobody has its ports open it uses next to no time."""
    modem = SimModem(keeper, tmp_path / "sim", "bg96", ports=3)
    modem.start("--registration", "0")
    modem.wait_registered()
    with Host(modem.at):
        pass
    eventually(lambda: not modem.state()["ports"][0]["open"], what="the port is closed")
    before = cpu(modem.pid)
    assert modem.popen is not None
    with pytest.raises(Exception, match="timed out"):
        modem.popen.wait(1.0)
    assert cpu(modem.pid) - before <= 5  # of 100 ticks
    assert all(link.is_symlink() for link in modem.links)
    assert modem.said().startswith(f"simulated modem bg96: AT {modem.at}, dial {modem.dial}\n")
    assert modem.stop() == 0
    assert not any(link.is_symlink() for link in modem.links)
    assert not modem.control.exists()


def cpu(pid: int) -> int:
    """Return the ticks of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def test_wrong_options_are_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong, and what is allowed; nothing else."""
    (tmp_path / "file").write_text("mine")
    for options, code, said in (
        (("--profile", "nokia"), 2, "--profile: 'nokia' is not allowed; one of e303, ms2131"),
        (("--profile", "e303", "--fault", "nap"), 2, "--fault: 'nap' is not allowed"),
        (("--profile", "e303", "--cloud", "there"), 2, "--cloud: 'there' is not allowed; HOST:PORT"),
        (("--profile", "e303", "--pin", "12"), 2, "--pin: it is not allowed; 4 to 8 digits"),
        (("--profile", "e303", "--boot", "-1"), 2, "--boot: -1.0 is not allowed; seconds from 0 on"),
        (("--profile", "e303", "--link", str(tmp_path / "file")), 1, "exists and is no link"),
        (("--profile", "e303", "--link", str(tmp_path / "no" / "link")), 1, "No such file"),
        (("--profile", "e303", "--log", str(tmp_path / "no" / "log")), 1, "No such file"),
    ):
        assert main(["simulate", "modem", *options]) == code
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_orders_from_a_shell(keeper: Keeper, tmp_path: Path) -> None:
    """``simulate tell`` gives an order and prints the answer; what is refused is one line."""
    modem = SimModem(keeper, tmp_path / "sim", "e303", ports=1)
    modem.start()
    done = simulate("tell", str(modem.control), "sms", "from=+15551234567", "text=hello there")
    assert (done.returncode, done.stdout) == (0, b'{\n  "parts": 1\n}\n'), done.stderr
    done = simulate("tell", str(modem.control), "registration stat=9")
    assert (done.returncode, done.stderr) == (1, b"hologram-bridge: the modem refused: stat: 0 to 5\n")
    modem.stop()
    done = simulate("tell", str(modem.control), "state")
    assert done.returncode == 1
    assert b"does a simulated modem run" in done.stderr
