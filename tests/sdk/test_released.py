"""Forms of the released SDK that public scripts use and the documents lack [hologram-python 0.5 to 0.10].

Each script here is our own; the names and forms in it are those that scripts were seen to use.
"""

import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.adapters.ppp.pppd import Pppd
from bridge.sdk import ERR_OK, HologramError, Response
from bridge.sdk.modem import Modem
from bridge.sdk.modems import IOTA, MS2131, Nova_U201
from bridge.sim.modem import air
from tests.harness import Keeper, eventually
from tests.harness.modem import SimModem
from tests.sdk.scripts import Scripts
from tests.sim.harness import Running, running

ICCID, IMSI = "8944500102198304826", "234500012345678"

no_ppp = pytest.mark.skipif(
    Pppd.available() is None, reason="pppd may dial here, and the simulated modem's calls end in NO CARRIER"
)


@pytest.fixture
def sim(scripts: Scripts) -> Iterator[Running]:
    """The cloud of the scripts, which knows the simulated SIM."""
    with running(totp=(ICCID, IMSI)) as cloud:
        scripts.cloud(cloud.cloud.port)
        yield cloud


@pytest.fixture
def modem(keeper: Keeper, tmp_path: Path, scripts: Scripts, sim: Running) -> SimModem:
    """A Nova whose sockets reach the cloud."""
    modem = SimModem(keeper, tmp_path / "modem", "nova-u201")
    reach = ("--cloud", f"127.0.0.1:{sim.cloud.port}", "--inbound-port", "0")
    modem.start("--registration", "0.1", "--sim-delay", "0.1", "--boot", "0.3", *reach)
    scripts.modem(modem.at)
    return modem


def arrived(sim: Running) -> list[tuple[str, str | None, str]]:
    requests = (record.request for record in sim.records)
    return [(each.form, each.to, (each.data or b"").decode()) for each in requests]


def test_a_result_is_a_number() -> None:
    """It is compared, ordered, and looked up in a list or a table as the code that it stands for."""
    for code in range(9):
        result = Response("what it means", code=code)
        assert result == code
        assert result in {code, 99}
        assert ["OK", *"abcdefgh"][result] == ["OK", *"abcdefgh"][code]
        assert {code: "found"}[result] == "found"  # type: ignore[index]  # as scripts have it
        assert (result < 1, result <= 0, result > 0, result >= 1) == (code < 1, code < 1, code > 0, code > 0)
        assert not code - 1 > result
    assert Response("", kept=True) < ERR_OK
    assert Response("b") > "a"
    answer = Response("fine", data=b"fine")
    assert answer == b"fine"
    assert answer.decode() == "fine"


def test_a_modem_is_made_by_its_port_first() -> None:
    """As the released SDK has it, where the documents have a mode before the port."""
    modem: Modem = MS2131("/dev/none", 19200, "/etc/ppp/chatscripts/own")
    assert (modem.deviceName, modem.baudRate) == ("/dev/none", "19200")
    assert modem.chatScriptFile == modem.chatscript_file == "/etc/ppp/chatscripts/own"
    modem = IOTA("/dev/none")
    assert (modem.device_name, modem.baud_rate, modem.mode) == ("/dev/none", "9600", "ppp")
    assert IOTA(None).device_name == "/dev/ttyACM0"
    modem = Modem("/dev/none", "9600", None, modem.event, "other.apn", 1)  # type: ignore[arg-type]  # as it was
    assert (modem.apn, modem.device_name) == ("other.apn", "/dev/none")
    assert modem.event is not Modem("/dev/none").event
    assert Modem("ppp", "/dev/none", 9600).device_name == "/dev/none"
    assert Nova_U201.usb_ids == [("1546", "1102"), ("1546", "1104")]
    with pytest.raises(HologramError, match="pdp_context: 2"):
        Modem("/dev/none", pdp_context=2)


ANSWERS = """
from bridge.sdk.Hologram.HologramCloud import HologramCloud
hologram = HologramCloud({"devicekey": "abcd1234"}, enable_inbound=False,
                         network="cellular-nova-u201", authentication_type="csrpsk")
sms = hologram.popReceivedSMS()
phone = "+" + sms.sender
recv = hologram.sendSMS(phone, sms.message.lower())
print(phone, hologram.getResultString(recv))
"""


def test_a_text_is_answered(scripts: Scripts, modem: SimModem, sim: Running) -> None:
    """The sender is digits, before which scripts put the plus sign."""
    modem.tell("sms", from_="+15551234567", text="STATUS")
    done = scripts.run(ANSWERS)
    assert done.stdout == "+15551234567 Message sent successfully\n"
    assert arrived(sim) == [("sms", "+15551234567", "status")]


WAITING = """
from bridge.sdk.Hologram.HologramCloud import HologramCloud
hologram = HologramCloud(None, enable_inbound=False, network="cellular")
def received():
    sms = hologram.popReceivedSMS()
    print(sms.message)
hologram.event.subscribe("sms.received", received)
hologram.enableSMS()
print("then", hologram.popReceivedSMS())
"""


def test_texts_that_wait_are_told(scripts: Scripts, modem: SimModem) -> None:
    """By the event, as soon as texts are enabled: a script that only listens for it gets them all."""
    modem.wait_registered()  # before that none comes in
    for minute, text in enumerate(("one", "two " * 60)):
        modem.tell("sms", from_="+15551234567", text=text, at=f"2026-01-02T03:0{minute}:00Z")
    assert scripts.run(WAITING).stdout == f"one\n{'two ' * 60}\nthen None\n"


EARLY = """
from bridge.sdk.Hologram.HologramCloud import HologramCloud
hologram = HologramCloud(None, enable_inbound=False, network="cellular")
came = []
def received():
    if sms := hologram.popReceivedSMS():
        came.append(sms.message)
hologram.event.subscribe("sms.received", received)
hologram.enableSMS()
print(came)
"""


def test_a_text_that_comes_while_the_modem_is_opened_is_read(scripts: Scripts, modem: SimModem) -> None:
    """The handler asks for the modem in a thread of its own, and gets the one that is being opened."""
    modem.tell("sms", from_="+15551234567", text="early", at="2026-01-02T03:00:00Z")
    assert scripts.run(EARLY).stdout == "['early']\n"


OVER_THE_AIR = """
from bridge.sdk.Hologram.Network.Modem import Nova_U201
from bridge.sdk.Exceptions.HologramError import HologramError
import sys
modem = Nova_U201.Nova_U201(sys.argv[1]) if hasattr(Nova_U201, "Nova_U201") else Nova_U201(sys.argv[1])
print(modem.send_sms_message("+15551234567", "Hello, Python!"))
print(modem.send_sms_message("15557654321", "é" * 200, timeout=3))
for number in ("+", "12", "operator"):
    try:
        modem.send_sms_message(number, "x")
    except HologramError as error:
        print(type(error).__name__, str(error).partition(":")[0])
print(modem.set("+CFUN", 1), modem.read("+CSQ", expected="+XYZ")[0], modem.command("+NOSUCH"))
print(modem.command("+CSQ")[1].startswith("+CSQ: "), modem.is_registered(), modem.check_registered("+CGREG"))
print(modem.command("+CPIN?", "1234"), modem.getResultString(-1), modem.details)
pdu = "0001000B915155214365F7000002C834"
print(modem.set("+CMGS", len(pdu) // 2 - 1, prompt=b">", data=pdu + "\x1a", timeout=9)[0])
"""


def test_a_text_is_sent_over_the_air(scripts: Scripts, modem: SimModem) -> None:
    """By the modem itself, with its port first; commands are given by all their names."""
    modem.wait_registered()
    done = scripts.run(OVER_THE_AIR, str(modem.at))
    said = done.stdout.splitlines()
    assert said[:5] == ["True", "True", *["HologramError to"] * 3]
    assert said[5].startswith("('OK', []) NoMatch ('Error'")
    assert said[6] == "True True True"
    assert said[7] == (
        f"('Invalid', []) Modem timeout Hologram Nova U201 (u-blox SARA-U201) at port: {modem.at}"
    )
    assert said[8] == "OK"
    sent = [(each["to"], each["text"]) for each in modem.sms]
    assert sent[0] == ("+15551234567", "Hello, Python!")
    assert "".join(text for to, text in sent[1:] if to == "+15557654321") == "é" * 200


REFUSED = """
from bridge.sdk.Hologram.Network.Modem.Modem import Modem
import sys
print(Modem(sys.argv[1]).send_sms_message("+15551234567", "Hello"))
"""


def test_a_text_that_is_refused_is_no_success(scripts: Scripts, modem: SimModem) -> None:
    """The call says so by what it returns, and nothing is sent."""
    modem.wait_registered()
    modem.tell("sms_errors", codes=[28])  # unidentified subscriber [3GPP TS 27.005, 3.2.5]
    done = scripts.run(REFUSED, str(modem.at))
    assert done.stdout == "False\n"
    assert modem.sms == []


CHOSEN = """
from bridge.sdk import HologramCloud, Nova_U201, NetworkError
import logging, sys
logging.basicConfig(level=logging.DEBUG)
hologram = HologramCloud({}, enable_inbound=False, network="cellular", authentication_type="totp")
first = hologram.network.modem
hologram.network.modem = "nova"
print(repr(hologram.network.modem), hologram.network.modem is first)
chosen = Nova_U201(sys.argv[1])
hologram.network.modem = chosen
print(hologram.network.modem is chosen, hologram.network.network.modem is chosen)
print(hologram.network.imsi, chosen.opened is not None, first.opened)
print(hologram.sendMessage("by the chosen one") == 0)
chosen.apn = "other.apn"
print(chosen.opened is not None, hologram.sendMessage("by the other access point") == 0)
try:
    hologram.network.modem = "toaster"
except NetworkError as error:
    print(error)
"""


def test_the_modem_is_chosen(scripts: Scripts, modem: SimModem, sim: Running) -> None:
    """What is set on the network reaches the interface: a modem, by itself or by its kind's name."""
    done = scripts.run(CHOSEN, str(modem.at))
    said = done.stdout.splitlines()
    assert said[:5] == ["Nova False", "True True", f"{IMSI} True None", "True", "True True"]
    for apn in ("hologram", "other.apn"):
        assert f'AT+UPSD=0,1,"{apn}"' in done.stderr
    assert said[5].startswith("modem: 'toaster' is not allowed; give one of ")
    assert [text for _, _, text in arrived(sim)] == ["by the chosen one", "by the other access point"]


INBOUND = """
from bridge.sdk.Hologram.HologramCloud import HologramCloud
import logging, sys, time
logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
hologram = HologramCloud({}, network="cellular-nova-u201", enable_inbound=True)
print(hologram.openReceiveSocket(), hologram.openReceiveSocket(), flush=True)
print("connected:", hologram.network.connect(timeout=20), hologram.openReceiveSocket(), flush=True)
until = time.monotonic() + 20
while time.monotonic() < until and (message := hologram.popReceivedMessage()) is None:
    time.sleep(0.05)
print("got", message, flush=True)
hologram.closeReceiveSocket()
print(hologram.openReceiveSocket(), flush=True)
"""


@no_ppp
def test_inbound_is_opened_again_and_again(scripts: Scripts, modem: SimModem) -> None:
    """By the constructor, by hand and by the connection: it is open once, and nothing raises."""
    script = scripts.start(INBOUND)
    eventually(lambda: "connected: True True" in script.said(), 40, what="it is connected and listens")
    port = int(re.findall(rf"port {scripts.inbound} of the modem is 127\.0\.0\.1:(\d+)", modem.said())[-1])
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"hello modem")
    assert script.wait(40) == 0
    said = script.said()
    assert "True True\n" in said
    assert "got hello modem" in said
    assert "Traceback" not in said
    assert "ERROR" not in said


NO_SOCKET = """
from bridge.sdk import HologramCloud, HologramError
import logging
logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s")
hologram = HologramCloud({}, network="cellular-nova-u201", enable_inbound=False)
print(hologram.sendMessage("the sockets are up") == 0)
while hologram.network.modem.command("+USOCR", "6")[0] == "OK":
    pass
try:
    hologram.openReceiveSocket()
except HologramError as error:
    print(type(error).__name__)
hologram.event.broadcast("network.connected")
"""


def test_inbound_that_cannot_be_opened_is_an_error_of_the_sdk(scripts: Scripts, modem: SimModem) -> None:
    """A script catches it by its own name; a connection's event says it in one line."""
    done = scripts.run(NO_SOCKET)
    assert done.stdout.splitlines() == ["True", "ModemError"]
    assert (
        len([path for path in done.stderr.splitlines() if path.startswith("ERROR: nothing can come in")]) == 1
    )


PLACE = """
from bridge.sdk import HologramCloud
place = HologramCloud({}, network="cellular-nova-u201", enable_inbound=False).network.location
print(place.date, place.time, place.latitude, place.longitude, place.uncertainty)
"""


def test_a_place_is_as_the_modem_writes_it(scripts: Scripts, modem: SimModem) -> None:
    """With all its digits: five of them are a kilometre off."""
    modem.wait_registered()
    date, time, latitude, longitude, uncertainty = scripts.run(PLACE).stdout.split()
    assert re.fullmatch(r"\d\d/\d\d/\d{4}", date)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", time)
    assert all(re.fullmatch(r"-?\d+\.\d{7}", each) for each in (latitude, longitude))
    assert uncertainty.isdecimal()


PPP_ONLY = """
from bridge.sdk import HologramCloud
hologram = HologramCloud({}, network="cellular-nova-u201", enable_inbound=False)
network = hologram.network
print(network.at_sockets_available)
network.disable_at_sockets_mode()
print(network.at_sockets_available, network.connect(timeout=5), hologram.sendMessage("kept", timeout=1).kept)
network.enable_at_sockets_mode()
print(network.at_sockets_available, hologram.sendMessage("sent") == 0)
"""


@no_ppp
def test_a_modems_sockets_are_switched_off(scripts: Scripts, modem: SimModem, sim: Running) -> None:
    """Messages take a connection over PPP then, as the released SDK's own command does it."""
    assert scripts.run(PPP_ONLY).stdout == "True\nFalse False True\nTrue True\n"
    eventually(lambda: sorted(text for _, _, text in arrived(sim)) == ["kept", "sent"])


def test_a_text_of_the_past_is_told_with_its_time(scripts: Scripts, modem: SimModem) -> None:
    """A time without a zone, in UTC, however the sender's clock goes."""
    (pdu,) = air.parts("Hologram", "hi", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), reference=1, wide=False)
    modem.tell("sms", pdu=pdu.hex())
    done = scripts.run(
        "from bridge.sdk import HologramCloud\n"
        "print(HologramCloud({}, network='cellular', enable_inbound=False).popReceivedSMS())\n"
    )
    assert done.stdout == ("SMS: sender: Hologram, timestamp: Fri Jan  2 03:04:05 2026, message: hi\n")
