"""The command ``hologram``, as the released SDK has it: subcommands, options, and what is printed."""

import argparse
import io
import json
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bridge.adapters.ppp.pppd import Pppd
from bridge.cli.tools import hologram
from tests.docs.pages import first_cells, page
from tests.harness import BridgeProcess, Keeper, Process, eventually, free_port
from tests.harness.modem import SimModem
from tests.sim.harness import Running, running

ICCID, IMSI = "8944500102198304826", "234500012345678"

no_ppp = pytest.mark.skipif(Pppd.available() is None, reason="pppd may dial here")

MESSAGE = (
    "--devicekey -v --host -p --port --authtype --cloud --duration --repeat --timeout -t --topic "
    "--destination --sms"
)
RECEIVING = "-m --modem -v -t --timeout"
OPTIONS = {
    "send": MESSAGE,
    "heartbeat": MESSAGE,
    "receive": f"{RECEIVING} --data --sms",
    "spacebridge": RECEIVING,
    "version": "-v",
    "activate": "-v --apikey",
    "network connect": "-v",
    "network disconnect": "-v",
    **{
        f"modem {name}": "-v"
        for name in (
            *("connect", "disconnect", "sim", "operator", "type", "location", "reset", "radio-on"),
            *("radio-off", "version", "imei"),
        )
    },
    "modem signal": "-v --repeat",
    "modem command": "-v -t --timeout",
}
"""Each subcommand of hologram-python 0.10.3, with its options."""


class Done(NamedTuple):
    """How the command ended."""

    code: int
    out: str
    err: str


def run(*words: str) -> Done:
    """Run the command to its end."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = hologram.main(list(words))
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
    assert "Traceback" not in err.getvalue()
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A cloud that knows the simulated SIM."""
    with running(totp=(ICCID, IMSI)) as cloud:
        monkeypatch.setenv("HOLOGRAM_SDK_CLOUD", f"127.0.0.1:{cloud.cloud.port}")
        monkeypatch.setenv("HOLOGRAM_SDK_INBOUND", f"127.0.0.1:{free_port()}")
        yield cloud


@pytest.fixture
def modem(keeper: Keeper, tmp_path: Path, sim: Running) -> SimModem:
    """A Nova whose sockets reach the cloud."""
    modem = SimModem(keeper, tmp_path / "modem", "nova-u201")
    reach = ("--cloud", f"127.0.0.1:{sim.cloud.port}", "--inbound-port", "0")
    modem.start("--registration", "0.1", "--sim-delay", "0.1", "--boot", "0.3", *reach)
    modem.wait_registered()
    return modem


@pytest.fixture
def here(modem: SimModem, tmp_path: Path) -> list[str]:
    """The options that name a configuration with this modem; no bridge runs."""
    path = tmp_path / "bridge.hjson"
    path.write_text(
        f"""{{
          credentials: {{ devicekey: "abcd1234" }}
          network: {{ interface: "cellular-nova-u201", device: "{modem.at}" }}
          store: {{ path: "{tmp_path}/outbox.db" }}
        }}"""
    )
    return ["-c", str(path)]


def arrived(sim: Running) -> list[tuple[Any, ...]]:
    requests = (record.request for record in sim.records)
    return [(each.form, each.to, (each.data or b"").decode(), each.topics) for each in requests]


# -- the form ----------------------------------------------------------------------------------------------


def parsers(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Give each subcommand's parser."""
    below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not below:
        yield name, parser
    for action in below:
        for word, each in action.choices.items():
            yield from parsers(each, f"{name} {word}".strip())


def test_each_released_subcommand_has_its_options() -> None:
    """And each of them its help."""
    found = dict(parsers(hologram.build_parser()))
    assert set(found) == set(OPTIONS)
    for name, options in OPTIONS.items():
        known = {option for action in found[name]._actions for option in action.option_strings}
        assert set(options.split()) <= known, name
        assert run(*name.split(), "--help").code == 0
    assert run().code == 2


def test_each_subcommand_is_told() -> None:
    """On the page of the tools, beside its counterpart."""
    told = " ".join(first_cells(page("sdk-tools").text, "tool and option"))
    for name in set(OPTIONS) - {"version", "activate"}:
        words = {name, name.split()[-1]}
        assert any(f"`{word}`" in told or f"`hologram {word}`" in told for word in words), name


def test_it_is_installed_as_hologram() -> None:
    """Scripts call it by that name."""
    (found,) = [each for each in entry_points(group="console_scripts") if each.name == "hologram"]
    assert found.load() is hologram.main


def test_version_and_what_is_not_here() -> None:
    """The SDK's version; and one line where it cannot be done."""
    assert run("version") == (0, "0.10.3\n", "")
    code, out, err = run("activate", "--apikey", "secret")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("ERROR: activate: not here")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["send"], "Message body cannot be empty"),
        (["send", "x", "--cloud", "--sms"], "must pick either one of cloud or sms"),
        (["send", "x", "--sms", "--destination", "+15551234567"], "--devicekey is required"),
        (["send", "x", "--sms", "--devicekey", "abcd1234"], "--destination missing."),
        (["send", "x", "--authtype", "csrpsk"], "Device key not specified"),
        (["send", "x", "--authtype", "sim-otp"], "--authtype: 'sim-otp' is not available here"),
        (["receive", "--data", "--sms"], "must pick either one of data or sms"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], says: str) -> None:
    """In the released command's words, and the exit code of a wrong usage."""
    code, out, err = run(*words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"ERROR: {says}")


def test_no_modem_is_said_in_the_released_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts look for this very line."""
    monkeypatch.setenv("HOLOGRAM_SDK_MODEM", str(tmp_path / "nothing"))
    for words in (["modem", "signal"], ["modem", "sim"], ["send", "x"], ["receive", "--sms", "-t", "1"]):
        code, out, err = run(*words)
        assert (code, out) == (1, "")
        assert err.startswith("ERROR: Modem not detected")


# -- without a bridge --------------------------------------------------------------------------------------


def test_the_modem_is_asked(here: list[str], modem: SimModem) -> None:
    """Each answer in the released form, which scripts cut up."""
    modem.tell("signal", rssi=17, ber=2)
    modem.tell("operator", name="Operator 1")
    for name, said in {
        "signal": "Signal strength: 17,2",
        "sim": f"ICCID: {ICCID}",
        "operator": "Operator: Operator 1",
        "type": "Type: Hologram Nova U201 (u-blox SARA-U201)",
        "radio-off": "Modem radio disabled",
        "radio-on": "Modem radio enabled",
    }.items():
        assert run("modem", name, *here) == (0, f"{said}\n", ""), name
    assert re.fullmatch(r"IMEI: \d{15}\n", run("modem", "imei", *here).out)
    assert re.fullmatch(r"Modem version: \S+.*\n", run("modem", "version", *here).out)


def test_commands_places_and_a_restart(here: list[str], modem: SimModem) -> None:
    """With or without AT before a command; a place is JSON."""
    for text in ("+CGMM", "AT+CGMM"):
        assert run("modem", "command", text, *here) == (0, "Response: SARA-U201\nOK\n", "")
    code, out, _ = run("modem", "command", "-t", "9", "+NOSUCH=1", *here)
    assert code == 1
    assert out.endswith("\nError\n")
    code, out, _ = run("modem", "location", *here)
    assert code == 0
    place = json.loads(out.removeprefix("Location: "))
    assert list(place) == ["date", "time", "latitude", "longitude", "altitude", "uncertainty"]
    assert float(place["longitude"]) == pytest.approx(-87.6359)
    assert run("modem", "reset", *here) == (0, "Restarted modem\n", "")
    assert modem.events("restart")


def test_messages_go_by_the_modem(here: list[str], sim: Running) -> None:
    """Under the SIM's identity, or under a device key; topics, and an SMS."""
    fine = (0, "RESPONSE MESSAGE: Message sent successfully\n", "")
    assert run("send", "21.5", *here) == fine
    assert run("send", "--cloud", "--authtype", "totp", "--topic", "uptime", "-t", "LR", "up", *here) == fine
    assert run("send", "--devicekey", "abcd1234", "boot", *here) == fine
    words = ["--timeout", "9", "--destination", "+15551234567", "--sms", "--devicekey", "abcd1234"]
    assert run("send", *words, "hello", *here) == fine
    assert arrived(sim) == [
        ("totp", None, "21.5", ()),
        ("totp", None, "up", ("uptime", "LR")),
        ("json", None, "boot", ()),
        ("sms", "+15551234567", "hello", ()),
    ]


def test_a_message_that_is_refused_or_not_sent(here: list[str], modem: SimModem, sim: Running) -> None:
    """The cloud's words, or why; never the exit code of success."""
    code, out, _ = run("send", "x", "--devicekey", "wrong123", *here)
    assert (code, out) == (1, "RESPONSE MESSAGE: Auth section of the message was invalid\n")
    modem.tell("registration", stat=3)
    code, out, err = run("send", "x", "--timeout", "1", *here)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("ERROR: not sent: ")


def test_messages_go_again_and_again(here: list[str], sim: Running) -> None:
    """Until the time is up."""
    assert run("send", "x", "--repeat", "1", "--duration", "8", *here).code == 0
    assert len(arrived(sim)) >= 2
    sim.records.clear()
    assert run("heartbeat", "x", "--duration", "1", *here).code == 0
    assert arrived(sim) == [("totp", None, "x", ())]


def test_a_host_of_ones_own() -> None:
    """What it answers is told; no modem is needed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"fine")

        thread = threading.Thread(target=serve)
        thread.start()
        where = ["--host", "127.0.0.1", "--port", str(listener.getsockname()[1])]
        assert run("send", "x", "--devicekey", "abcd1234", *where) == (0, "RESPONSE FROM CLOUD: fine\n", "")
        thread.join(10)


def test_texts_come_in(here: list[str], modem: SimModem) -> None:
    """All that wait, within a second: some scripts run it every minute."""
    modem.tell("sms", from_="+15551234567", text="one", at="2026-01-02T03:04:05Z")
    modem.tell("sms", from_="+15551234567", text="two", at="2026-01-02T03:05:05Z")
    code, out, err = run("receive", "-t", "1", "--sms", *here)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Ready to receive sms",
        "waiting for 1 seconds...",
        "Received SMS: SMS: sender: 15551234567, timestamp: Fri Jan  2 03:04:05 2026, message: one",
        "Received SMS: SMS: sender: 15551234567, timestamp: Fri Jan  2 03:05:05 2026, message: two",
    ]


def test_messages_come_in(here: list[str], modem: SimModem, keeper: Keeper, tmp_path: Path) -> None:
    """By the modem's own sockets, until the time is up."""
    command = Process("receive", tmp_path / "receive.log")
    keeper.keep(command)
    command.launch([sys.executable, "-u", "-m", "bridge.cli.tools.hologram", "receive", "-t", "30", *here])
    eventually(lambda: "Ready to receive data on port" in command.said(), 30)
    ports = eventually(lambda: re.findall(r"of the modem is 127\.0\.0\.1:(\d+)", modem.said()), 30)
    with socket.create_connection(("127.0.0.1", int(ports[-1])), 10) as connection:
        connection.sendall(b"hello")
    eventually(lambda: "Received message: hello\n" in command.said(), 20)
    os.kill(command.pid, signal.SIGINT)
    assert command.wait() == 0
    assert command.said().endswith("Closing socket...\n")


@no_ppp
@pytest.mark.parametrize("words", [["network", "connect"], ["modem", "connect"], ["spacebridge"]])
def test_ppp_that_cannot_be_had_is_no_success(words: list[str], here: list[str]) -> None:
    """It says why, and in the released words that it failed; nothing goes by the modem's sockets instead."""
    code, out, err = run(*words, *here)
    assert code == 1
    assert err.startswith("ERROR: ")
    if words != ["spacebridge"]:
        assert out.endswith("Failed to start PPP\n")


def test_disconnecting_nothing_is_fine(here: list[str]) -> None:
    """Scripts do it first of all."""
    assert run("network", "disconnect", "-v", *here) == (0, "Checking for existing PPP sessions\n", "")
    code, out, _ = run("modem", "disconnect", *here)
    assert code == 0
    assert out.startswith('Note: "hologram modem disconnect" is deprecated')


# -- beside a bridge that has the modem --------------------------------------------------------------------


Beside = Callable[..., Done]


@pytest.fixture
def beside(bridge: BridgeProcess, modem: SimModem, sim: Running) -> Beside:
    """Runs the command beside a bridge that has the modem."""
    network = {"interface": "cellular-nova-u201", "device": str(modem.at), "autoconnect": False}
    bridge.configure(network=network, cloud={"host": "127.0.0.1", "port": sim.cloud.port})
    bridge.start()
    eventually(lambda: f"the modem is at {modem.at}" in bridge.said(), what="the bridge has the modem")
    config = ("-c", str(bridge.config))
    eventually(lambda: run("modem", "sim", *config).code == 0, 20, what="the modem can be asked")
    return lambda *words: run(*words, *config)


@no_ppp
def test_the_bridge_is_asked(beside: Beside, modem: SimModem, sim: Running) -> None:
    """It has the modem: it connects, sends, tells and takes texts, and the command's words stay the same."""
    modem.tell("signal", rssi=17, ber=2)
    assert beside("modem", "signal") == (0, "Signal strength: 17,2\n", "")
    assert beside("modem", "sim") == (0, f"ICCID: {ICCID}\n", "")
    assert beside("modem", "command", "+CGMM") == (0, "Response: SARA-U201\nOK\n", "")
    assert '"latitude": "' in beside("modem", "location").out
    assert beside("network", "connect") == (0, "PPP session started\n", "")
    assert beside("send", "21.5", "-t", "kitchen") == (
        0,
        "RESPONSE MESSAGE: Message sent successfully\n",
        "",
    )
    assert arrived(sim) == [("json", None, "21.5", ("kitchen",))]
    assert beside("network", "disconnect") == (0, "Checking for existing PPP sessions\n", "")
    assert beside("send", "by the own network", "--devicekey", "abcd1234").code == 0
    assert len(arrived(sim)) == 2
    code, out, err = beside("spacebridge")
    assert (code, out) == (1, "")
    assert "the running bridge has the modem" in err
    assert beside("modem", "radio-off") == (0, "Modem radio disabled\n", "")
    eventually(lambda: modem.state()["registration"] == 0, what="the radio is off")


def test_texts_come_by_the_bridge(beside: Beside, modem: SimModem) -> None:
    """As they do from the modem."""
    timer = threading.Timer(2, modem.tell, ("sms",), {"from_": "+15551234567", "text": "hi"})
    timer.start()
    code, out, _ = beside("receive", "--sms", "-t", "6")
    timer.join()
    assert code == 0
    assert re.search(r"Received SMS: SMS: sender: 15551234567, timestamp: .*, message: hi\n", out)
