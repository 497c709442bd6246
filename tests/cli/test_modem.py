"""``hologram-bridge modem``, beside a simulated modem and a daemon that answers."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.__main__ import main
from bridge.adapters.system.control_socket import ControlServer
from bridge.sim.modem.pdu import tpdu
from tests.harness.modem import SimModem
from tests.harness.process import Keeper


@pytest.fixture(scope="module")
def bg96(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimModem]:
    """A simulated BG96 that runs for all tests of this module."""
    keeper = Keeper()
    modem = SimModem(keeper, tmp_path_factory.mktemp("bg96"), "bg96")
    modem.start("--registration", "0", "--sim-delay", "0")
    modem.wait_registered()
    yield modem
    keeper.close()


NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def odd(dcs: int, data: bytes, length: int | None = None, *, header: bool = False) -> str:
    """Return the PDU of a text whose user data are ``data``."""
    size = len(data) if length is None else length
    return tpdu.deliver("+15551234567", NOON, dcs, size, data, header=header).hex()


ODD = [
    odd(0x04, b"\x05\x00\x03\x07\x02\x01\xff", header=True),  # data in two parts
    odd(0x04, b"\x05\x00\x03\x07\x02\x02\xfe\xfd", header=True),
    odd(0x04, b"\xff\xfe"),
    odd(0x04, b"\x06\x05\x04\x0b\x84\x23\xf0\x01\x06\xfc", header=True),  # a WAP push
    odd(0x00, b""),
    odd(0x08, b"\xd8\x3d"),  # half of a surrogate pair
    odd(0x8C, bytes.fromhex("f2f2bc2cb797c9"), 8),  # a reserved data coding scheme
    tpdu.status_report(7, "+15557654321", NOON, NOON, 0).hex(),
    (tpdu.SMSC + b"\x04").hex(),  # cut off
]
"""Texts that are none, or nearly: each of a kind of its own."""

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(bg96: SimModem, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command against the modem's port; return exit code, output and errors."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["modem", *words, "--device", str(bg96.at), "--profile", "bg96"])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def config(folder: Path, network: dict[str, Any] | None = None) -> Path:
    """Write a configuration whose control socket is in ``folder``."""
    path = folder / "bridge.hjson"
    store = folder / "outbox.db"
    control = folder / "c.sock"
    path.write_text(
        json.dumps(
            {
                "credentials": {"devicekey": "abcd1234"},
                "store": {"path": str(store)},
                "control": {"path": str(control)},
                "network": network or {},
            }
        )
    )
    return path


def test_info_tells_all(ask: Ask) -> None:
    """Who the modem and its SIM are, and how they are connected; as JSON for programs."""
    code, text, _ = ask("info")
    assert code == 0
    for words in ("Quectel BG96", "866425030123452", "234500012345678", "8944500102198304826", "roaming"):
        assert words in text
    code, text, _ = ask("info", "--json")
    said = json.loads(text)
    assert code == 0
    assert said["operator"] == "Simulated Mobile"
    assert said["technology"] == "LTE-M"
    assert said["sim"] == "ready"
    assert -113 <= said["signal"]["rssi_dbm"] <= -51


def test_signal_and_operator_are_told(ask: Ask) -> None:
    """Each on its own."""
    _, text, _ = ask("signal", "--json")
    assert set(json.loads(text)) == {"rssi_dbm", "percent", "ber"}
    _, text, _ = ask("operator")
    assert "Simulated Mobile" in text


def test_at_shows_the_raw_answer(ask: Ask) -> None:
    """An answer is printed line by line and ends with 0; a refusal is shown too, and ends with 1."""
    code, text, _ = ask("at", "AT+CGMM")
    assert (code, text) == (0, "BG96\nOK\n")
    code, text, _ = ask("at", "AT+NOSUCH")
    assert code == 1
    assert text == "ERROR\n"


@pytest.mark.parametrize(
    "command", ["ATD*99***1#", "atdt123", "ATO", "ATQ1", 'AT+CGDATA="PPP",1', "ATZ", "CSQ"]
)
def test_at_refuses_what_would_take_the_port_away(ask: Ask, command: str) -> None:
    """Dialling and what turns answers off are not passed on, nor is what is no AT command."""
    code, text, error = ask("at", command)
    assert (code, text) == (1, "")
    assert len(error.splitlines()) == 1


def test_texts_are_listed_and_sent(bg96: SimModem, ask: Ask) -> None:
    """One that was sent goes out over the air; those that came are shown, long ones as one."""
    assert ask("sms") == (0, "no SMS are stored on the modem\n", "")
    code, text, _ = ask("sms", "--to", "+15551234567", "from the field: 21 °C")
    assert code == 0
    assert "+15551234567" in text
    assert bg96.sms[-1]["text"] == "from the field: 21 °C"
    bg96.tell("sms", from_="+15557654321", text="a long one " * 20)
    bg96.tell("sms", from_="+15557654321", text="a short one")
    _, text, _ = ask("sms", "--json")
    bodies = sorted(message["body"] for message in json.loads(text)["messages"])
    assert bodies == ["a long one " * 20, "a short one"]
    assert all(message["from"] == "+15557654321" for message in json.loads(text)["messages"])


def test_a_text_that_may_be_out_is_not_called_not_sent(bg96: SimModem, ask: Ask) -> None:
    """Who reads that it was not sent sends it again, and pays for it again."""
    bg96.tell("sms_errors", codes=[500])  # unknown error [3GPP TS 27.005, 3.2.5]
    code, _, error = ask("sms", "--to", "+15551234567", "one part")
    assert code == 1
    assert "may have been sent" in error
    bg96.tell("sms_errors", codes=[0, 38, 38, 38])  # network out of order, after a part was taken
    code, _, error = ask("sms", "--to", "+15551234567", "two parts " * 20)
    assert code == 1
    assert "may have been sent, in whole or in part: the network took 1 of 2 parts" in error


def test_a_text_that_cannot_be_read_hides_no_other(ask: Ask, bg96: SimModem) -> None:
    """Each of the odd ones is told as it is, beside those that can be read."""
    before = len(json.loads(ask("sms", "--json")[1])["messages"])
    for pdu in ODD:
        bg96.tell("sms", pdu=pdu)
    for text in ("1" * 200, "2" * 200):  # a reference comes again
        bg96.tell("sms", from_="+15557654321", text=text, reference=9, at="2026-01-02T03:04:05Z")
    bg96.tell("sms", from_="+15557654321", text="readable")
    code, text, error = ask("sms", "--json")
    assert (code, error) == (0, "")
    told = json.loads(text)["messages"]
    assert len(told) - before == len(ODD) - 1 + 3
    assert {"1" * 200, "2" * 200, "readable", "reserved", "", "\ufffd"} <= {each["body"] for each in told}
    notes = [each["note"] for each in told if each["note"]]
    assert sum("3 bytes of data, not text" in note for note in notes) == 2
    assert sum("cannot be read" in note for note in notes) == 4
    assert "a status report: delivered" in notes
    code, text, _ = ask("sms")
    assert code == 0
    assert "readable" in text


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("sms", "text without a number"), 2, "--to NUMBER and TEXT go together"),
        (("sms", "--to", "+15551234567"), 2, "--to NUMBER and TEXT go together"),
        (("sms", "--to", "12", "x"), 1, "to: '12' is not allowed"),
        (("sms", "--to", "+15551234567", "x" * 2000), 1, "parts"),
        (("at", "AT+CSQ", "--timeout", "0"), 1, "timeout: 0.0 is not allowed"),
    ],
)
def test_a_wrong_request_says_what_is_allowed(
    ask: Ask, words: tuple[str, ...], code: int, error: str
) -> None:
    """One line, with the exit code of its kind."""
    got, text, said = ask(*words)
    assert (got, text) == (code, "")
    assert error in said
    assert len(said.splitlines()) == 1


def test_location_is_told(ask: Ask) -> None:
    """Where the modem has the means."""
    code, text, _ = ask("location", "--json")
    assert code == 0
    assert 41 < json.loads(text)["latitude"] < 42


def test_an_unknown_profile_names_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error."""
    assert main(["modem", "info", "--device", "/dev/null", "--profile", "nokia"]) == 2
    assert "nova-u201" in capsys.readouterr().err


def test_a_port_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its name."""
    assert main(["modem", "info", "--device", str(tmp_path / "ttyUSB9"), "--profile", "bg96"]) == 1
    assert "ttyUSB9" in capsys.readouterr().err


def test_who_holds_the_port_is_named(bg96: SimModem, ask: Ask) -> None:
    """A port that another process uses cannot be asked; that process is named."""
    script = "import serial, sys; port = serial.Serial(sys.argv[1], exclusive=True); print('open'); input()"
    holder = subprocess.Popen(
        [sys.executable, "-uc", script, str(bg96.at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        code, _, error = ask("signal")
        assert code == 1
        assert f"(process {holder.pid})" in error
    finally:
        holder.communicate("\n")


def test_a_configured_device_is_used(
    bg96: SimModem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --device the port and the kind are those of the configuration, where no daemon runs."""
    path = config(tmp_path, {"interface": "cellular-bg96", "device": str(bg96.at)})
    assert main(["modem", "at", "AT+CGMM", "-c", str(path)]) == 0
    assert capsys.readouterr().out == "BG96\nOK\n"


def test_a_bad_configuration_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the exit code of all commands."""
    path = tmp_path / "bridge.hjson"
    path.write_text('{ network: { interface: "nokia" } }')
    assert main(["modem", "info", "-c", str(path)]) == 78
    assert "network.interface" in capsys.readouterr().err


def with_daemon(folder: Path, answer: dict[str, Any], words: list[str]) -> tuple[int, list[dict[str, Any]]]:
    """Run a command beside a control socket that gives ``answer``; return exit code and what was asked."""
    asked: list[dict[str, Any]] = []

    async def handle(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return answer

    async def beside() -> int:
        server = ControlServer(folder / "c.sock", handle)
        await server.start()
        try:
            return await asyncio.to_thread(main, words)
        finally:
            server.close()

    return asyncio.run(beside()), asked


def test_a_running_daemon_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the port, so it asks the modem; its answer is shown, and its refusal in its words."""
    path = config(tmp_path, {"interface": "cellular-bg96"})
    words = ["modem", "sms", "--to", "+15551234567", "hello", "-c", str(path)]
    code, asked = with_daemon(tmp_path, {"modem": {"description": "sent"}}, words)
    assert code == 0
    assert capsys.readouterr().out == "sent\n"
    assert asked == [{"command": "modem", "what": "sms", "to": "+15551234567", "text": "hello"}]
    code, _ = with_daemon(tmp_path, {"error": "the modem is restarting"}, ["modem", "info", "-c", str(path)])
    assert code == 1
    assert capsys.readouterr().err == "hologram-bridge: the modem is restarting\n"
