"""The simulated modem's short messages: store, codes, sending, reports, a full store."""

from datetime import UTC, datetime

import pytest
from smspdudecoder.easy import read_incoming_sms  # type: ignore[import-untyped]  # it has no types

from tests.harness import eventually
from tests.sim.at_host import Host
from tests.sim.conftest import MakeModem

HELLO = "0011000B916407281553F80000AA0AE8329BFD4697D9EC37"
"""'hellohello' to +46708251358; 23 octets after the service centre's address."""

HELLO_REPORT = "0031000B916407281553F80000AA0AE8329BFD4697D9EC37"


def texts(answer: list[str]) -> list[str]:
    """Return the texts of an answer to CMGL, in its order."""
    return [read_incoming_sms(line)["content"] for line in answer[1:-1:2]]


def send(host: Host, pdu: str, length: int | None = None, end: bytes = b"\x1a") -> list[str]:
    """Send a PDU as a host does: command, prompt, PDU, Ctrl-Z."""
    host.write(f"AT+CMGS={len(pdu) // 2 - 1 if length is None else length}\r".encode())
    host.wait(rb"\r\n> ")
    host.write(pdu.encode() + end)
    return read_answer(host)


def read_answer(host: Host) -> list[str]:
    """Return the lines of an answer that is on its way."""
    found = host.wait(rb".*?\r\n(OK|\+CMS ERROR: [^\r]*)\r\n")
    return [line for line in found[0].decode().split("\r\n") if line]


def test_texts_that_come_are_announced_listed_and_deleted(make_modem: MakeModem) -> None:
    """CMTI when asked for, unread until read, each at a place of its own, and gone when deleted."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        assert host.ask('AT+CPMS="ME","ME","ME"') == ["+CPMS: 0,50,0,50,0,50", "OK"]
        modem.tell("sms", from_="+15551234567", text="quiet")
        assert host.ask("AT+CNMI=2,1") == ["OK"]
        modem.tell("sms", from_="Hologram", text="loud")
        assert host.code("+CMTI") == '+CMTI: "ME",2'
        assert host.ask("AT+CMGR=2")[0].startswith("+CMGR: 0,,")
        assert host.ask("AT+CMGR=2")[0].startswith("+CMGR: 1,,")
        assert texts(host.ask("AT+CMGL=0")) == ["quiet"]
        assert host.ask("AT+CMGL=0") == ["OK"]
        assert texts(host.ask("AT+CMGL=4")) == ["quiet", "loud"]
        assert host.ask("AT+CMGD=1") == ["OK"]
        assert host.ask("AT+CMGR=1") == ["+CMS ERROR: invalid memory index"]
        assert host.ask("AT+CPMS?") == ['+CPMS: "ME",1,50,"ME",1,50,"ME",1,50', "OK"]
        modem.tell("sms", from_="1", text="again")
        assert host.code("+CMTI") == '+CMTI: "ME",1'
        assert host.ask("AT+CMGD=1,4") == ["OK"]
        assert host.ask("AT+CMGL=4") == ["OK"]
        assert modem.state()["sms"] == {"stored": 0, "waiting": 0, "sent": 0, "received": 3}


def test_a_text_can_be_handed_over_directly(make_modem: MakeModem) -> None:
    """CNMI=2,2: the PDU comes in the code and is not stored."""
    modem = make_modem("bg96")
    with Host(modem.at) as host:
        assert host.ask("AT+CNMI=2,2") == ["OK"]
        modem.tell("sms", from_="+15551234567", text="now", at="2026-11-21T08:30:00+00:00")
        pdu = host.wait(rb"\r\n\+CMT: ,(\d+)\r\n([0-9A-F]+)\r\n")
        read = read_incoming_sms(pdu[2].decode())
        assert (read["content"], read["date"]) == ("now", datetime(2026, 11, 21, 8, 30, tzinfo=UTC))
        assert int(pdu[1]) == len(pdu[2]) // 2 - 8
        assert modem.state()["sms"]["stored"] == 0


def test_a_long_text_comes_in_parts_in_any_order(make_modem: MakeModem) -> None:
    """The order, missing and doubled parts can be told."""
    modem = make_modem("ec21")
    with Host(modem.at) as host:
        assert modem.tell("sms", from_="+1", text="x" * 400, order=[3, 1, 1], reference=9) == {"parts": 3}
        answer = host.ask("AT+CMGL=4")
        parts = [read_incoming_sms(line)["partial"] for line in answer[1:-1:2]]
        assert [part["part_number"] for part in parts] == [3, 1, 1]
        assert {part["reference"] for part in parts} == {"9-3"}


def test_a_full_store_makes_the_network_wait(make_modem: MakeModem) -> None:
    """Nothing is lost: what does not fit comes when room was made."""
    modem = make_modem("e303", store=3)
    with Host(modem.at) as host:
        host.ask("AT+CNMI=2,1")
        for number in range(5):
            modem.tell("sms", from_="+1", text=f"text {number}")
        host.code('^SMMEMFULL: "ME"')
        assert texts(host.ask("AT+CMGL=4")) == ["text 0", "text 1", "text 2"]
        assert modem.state()["sms"]["waiting"] == 2
        assert host.ask("AT+CMGD=1,1") == ["OK"]
        assert [host.code("+CMTI") for _ in range(2)] == ['+CMTI: "ME",1', '+CMTI: "ME",2']
        assert modem.state()["sms"]["waiting"] == 0
        assert texts(host.ask("AT+CMGL=4")) == ["text 3", "text 4"]


def test_texts_wait_until_there_is_a_network(make_modem: MakeModem) -> None:
    """The network keeps what comes while the modem is not registered."""
    modem = make_modem("nova-u201")
    modem.tell("registration", stat=2)
    modem.tell("sms", from_="+1", text="later")
    assert modem.state()["sms"] == {"stored": 0, "waiting": 1, "sent": 0, "received": 0}
    modem.tell("registration", stat=5)
    eventually(lambda: modem.state()["sms"]["stored"] == 1, what="the text has come")


def test_what_is_sent_is_logged_with_what_it_says(make_modem: MakeModem) -> None:
    """Prompt, PDU, Ctrl-Z, reference; the log holds the PDU and its fields."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        assert send(host, HELLO) == ["+CMGS: 0", "OK"]
        assert send(host, HELLO.lower()) == ["+CMGS: 1", "OK"]
    first, second = modem.events("sms")
    assert first["pdu"] == second["pdu"] == HELLO
    assert (first["to"], first["text"], first["reference"]) == ("+46708251358", "hellohello", 0)
    assert (first["udh"], first["part"], first["report"], first["alphabet"]) == ("", None, False, "gsm")


def test_what_cannot_be_sent_is_refused(make_modem: MakeModem) -> None:
    """A length that is not the PDU's, no PDU, no network, an order to fail; Escape takes it back."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        assert send(host, HELLO, length=22) == ["+CMS ERROR: invalid PDU mode parameter"]
        assert send(host, "no pdu", length=5) == ["+CMS ERROR: invalid PDU mode parameter"]
        assert send(host, HELLO[:10], length=23, end=b"\x1b") == ["OK"]
        modem.tell("sms_errors", codes=[500, 0])
        assert send(host, HELLO) == ["+CMS ERROR: unknown error"]
        assert send(host, HELLO) == ["+CMGS: 0", "OK"]
        modem.tell("registration", stat=0)
        host.ask("AT+CMEE=0")
        assert send(host, HELLO) == ["+CMS ERROR: 331"]
    assert len(modem.events("sms")) == 1


def test_codes_wait_while_a_text_is_typed(make_modem: MakeModem) -> None:
    """Between the prompt and the answer nothing else comes; AT is part of the text then."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        host.ask("AT+CNMI=2,1")
        host.write(b"AT+CMGS=23\r")
        host.wait(rb"\r\n> ")
        modem.tell("sms", from_="+1", text="meanwhile")
        assert host.silent_for(0.1)
        host.write(HELLO.encode() + b"\x1a")
        host.wait(rb"\r\n\+CMGS: 0\r\n\r\nOK\r\n\r\n\+CMTI: \"ME\",1\r\n")


@pytest.mark.parametrize(("route", "status"), [(1, 0), (2, 0x41)])
def test_a_report_comes_when_it_was_asked_for(make_modem: MakeModem, route: int, status: int) -> None:
    """+CDS with the PDU, or +CDSI and a place in the store; none for a text that wants none."""
    modem = make_modem("nova-u201")
    modem.tell("reports", status=status)
    with Host(modem.at) as host:
        assert host.ask(f"AT+CNMI=2,1,0,{route}") == ["OK"]
        assert send(host, HELLO) == ["+CMGS: 0", "OK"]
        assert send(host, HELLO_REPORT) == ["+CMGS: 1", "OK"]
        if route == 1:
            pdu = host.wait(rb"\r\n\+CDS: 25\r\n([0-9A-F]+)\r\n")[1].decode()
        else:
            assert host.code("+CDSI") == '+CDSI: "ME",1'
            pdu = host.ask("AT+CMGR=1")[1]
        assert pdu[16:36] == "06010B916407281553F8"
        assert pdu.endswith(f"{status:02X}")
        assert host.silent_for(0.3)
