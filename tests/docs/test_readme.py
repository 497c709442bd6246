"""The README, held to what there is: its tables are made anew, its names exist, and all there is is named."""

import importlib
import json
import re
import shlex
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from typing import get_args

import hjson
import pytest

from bridge import __version__, sdk
from bridge.__main__ import build_parser
from bridge.core import recovery
from bridge.core.events import TYPES
from bridge.core.link import Code, Phase, judge
from bridge.core.messages import Channel, State
from bridge.core.modem import Facts, Registration, Wifi
from bridge.daemon.reload import NEEDS_RESTART
from bridge.demo.tries import lines as demo_lines
from bridge.errors import BridgeError
from bridge.flow.message.topics import Names
from bridge.flow.sms.reports import unreadable_fields
from bridge.protocol.api import commands
from bridge.protocol.api.status import status, unmanaged
from bridge.protocol.sms.status import Fate
from bridge.settings import Settings
from bridge.settings.models import Interface
from tests.docs.readme import (
    BLOCKS,
    FACES,
    HJSON,
    INLINE,
    SHELL,
    TEXT,
    Block,
    first_cells,
    quoted,
    section,
    texts,
)
from tests.docs.readme_tables import keys, made_anew
from tests.harness.process import ROOT


def test_the_made_tables_are_up_to_date() -> None:
    """Configuration keys, commands and modems; `python -m tests.docs.readme_tables` writes them."""
    assert made_anew(TEXT) == TEXT, "run: .venv/bin/python -m tests.docs.readme_tables"


# -- names -----------------------------------------------------------------------------------------------


def _topics() -> set[str]:
    names = Names("hologram")
    told = {value for value in vars(names).values() if isinstance(value, str) and "/" in value}
    return (
        told
        | {f"hologram/{end}" for end in ("out", "out/<topic>", "send", "sms", "sms/<digits>")}
        | {*names.control_filters}
    )


def test_every_topic_is_told_and_every_one_told_exists() -> None:
    """In the tables each of them; elsewhere in the text none that there is not."""
    cells = first_cells(section("Topics"), "topic")
    reports = first_cells(section("Topics").partition("### Reports")[2], "topic")
    told = set.union(*(quoted(cell) for cell in [*cells, *reports]))
    assert told | {"hologram/out"} == _topics()
    known = _topics() | {"hologram/#", "hologram/in/#"}
    mentioned = set(re.findall(r"(?<![\w./-])hologram/[\w<>/#]+(?<![/.])", TEXT))
    strange = {
        topic
        for topic in mentioned - known
        if not re.match(r"hologram/(out/[\w/#]+|sms/\d+|modem-if\w+)$", topic)
    }
    assert not strange, f"no such topic: {strange}"


def test_every_command_of_a_topic_is_told() -> None:
    """The words that the network and the queue take."""
    rows = [line for line in section("Topics").splitlines() if line.startswith("| `hologram/")]
    network = next(line for line in rows if "network/set" in line)
    queue = next(line for line in rows if "queue/set" in line)
    assert set(commands.NETWORK_COMMANDS) <= quoted(network)
    assert set(commands.QUEUE_COMMANDS) <= quoted(queue)
    told = set.union(*(quoted(cell) for cell in first_cells(section("Network status"), "command")))
    assert told == set(commands.NETWORK_COMMANDS)


def test_every_event_is_told() -> None:
    """All types, and those with a rung and a diagnosis tell which there are."""
    told = set.union(*(quoted(cell) for cell in first_cells(section("Events"), "event")))
    assert told == set(TYPES)
    there = section("Events")
    waited_for = {recovery.Diagnosis.NONE, recovery.Diagnosis.GONE, recovery.Diagnosis.SIM}
    assert {each.value for each in recovery.Diagnosis if each not in waited_for} <= quoted(there)
    assert {each.value for each in Fate} <= quoted(there)
    assert {each.value for each in recovery.Rung} <= quoted(section("The link"))


def test_every_state_and_code_is_told() -> None:
    """Of results, of the network, of the health; and the exit codes."""
    cells = first_cells(section("Topics").partition("Its `state`:")[2], "state")
    assert set.union(*(quoted(cell) for cell in cells)) == {state.value for state in State}
    assert {channel.value for channel in Channel} <= quoted(section("Topics"))
    there = section("Network status")
    codes = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", there, re.MULTILINE))
    assert codes == {str(code.value): code.name for code in Code}
    states = {phase.value for phase in Phase} | {"error", unmanaged()["state"]}
    assert states <= quoted(there)
    known = {each.value for each in Registration if each is not Registration.UNKNOWN}
    assert known <= quoted(there)
    exits = {kind.exit_code for kind in _kinds(BridgeError)} | {0}
    assert {int(cell) for cell in first_cells(section("Commands"), "exit code")} == exits


def _kinds(kind: type[BridgeError]) -> Iterator[type[BridgeError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def test_the_samples_have_the_fields_of_the_real_thing() -> None:
    """The network status and an SMS; the result's are compared where it is run."""
    (sample,) = (json.loads(text) for text in texts("json", "Network status"))
    real = status(judge(Phase.CONNECTED, None, None), interface="cellular", facts=Facts(), wifi=Wifi())
    assert list(sample) == [key for key in real if key != "wifi"]
    assert list(sample["signal"]) == list(real["signal"])
    assert {f'"{key}"' for key in real["wifi"]} == set(
        re.findall(r'"\w+"', next(text for text in INLINE if text.startswith('{"ssid"')))
    )
    (sms,) = (json.loads(text) for text in texts("json", "Reports: the bridge publishes"))
    fields = unreadable_fields("id", "pdu", "error", 0)
    assert list(sms) == [key for key in fields if key not in ("error", "pdu")]
    assert {"error", "pdu", "data_base64"} <= quoted(section("Topics"))


def test_every_interface_is_told() -> None:
    """With the modems, and those that are no modem in words."""
    told = {text.strip('"') for text in quoted(section("The link")) | quoted(section("Configuration"))}
    told |= set(re.findall(r'"([a-z0-9-]*)"', section("Configuration")))
    assert set(get_args(Interface)) - {""} <= told
    assert '`network.interface: ""`' in TEXT


def test_what_waits_for_a_restart_is_told() -> None:
    """Key by key, none besides."""
    found = re.search(r"names what waits for a restart: (.*?)\.\n", TEXT, re.DOTALL)
    assert found
    assert quoted(found[1]) == set(NEEDS_RESTART)


def test_every_key_that_is_named_exists() -> None:
    """Wherever the text names one."""
    known = {key for key, _ in keys()} | set(Settings.model_fields)
    known |= {key.rpartition(".")[0] for key in known}
    sections = "|".join(Settings.model_fields)
    named = {text.partition(":")[0] for text in INLINE if re.match(rf"({sections})\.[a-z_.]+(:|$)", text)}
    theirs = {f"network.{name}" for name in ("location", "signal_strength", "localIPAddress")}
    strange = named - known - theirs - set(TYPES)
    assert not strange, f"no such key: {strange}"


def test_every_command_that_is_named_exists() -> None:
    """With its options, in blocks and in the text."""
    parser = build_parser()
    for text in [*INLINE, *(line for block in SHELL for line in block.lines)]:
        found = re.match(r"(?:sudo )?hologram-bridge ([a-z].*)", text)
        if not found:
            continue
        words = [word for word in shlex.split(found[1].removesuffix(" &")) if not re.search("…", word)]
        _walk(parser, words, text)


def _walk(parser: ArgumentParser, words: list[str], text: str) -> None:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            if words:
                assert words[0] in action.choices, f"no such command: {text}"
                _walk(action.choices[words[0]], words[1:], text)
            return
    for word in words:
        if word.startswith("-"):
            assert word in parser._option_string_actions, f"no option {word}: {text}"


def test_every_target_of_make_that_is_named_exists() -> None:
    """And the package is of this version."""
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in [*INLINE, *(line for block in SHELL for line in block.lines)]:
        if found := re.match(r"(?:sudo )?make ([\w-]+)", text):
            assert found[1] in targets, text
    assert set(re.findall(r"hologram-bridge_([\d.]+)[+_]", TEXT)) == {__version__}


def test_every_option_of_the_tools_is_told() -> None:
    """Beside its counterpart."""
    told = " ".join(first_cells(section("Moving over from the SDK"), "tool and option"))
    for module in FACES.values():
        parser: ArgumentParser = importlib.import_module(module).build_parser()
        for option in parser._option_string_actions:
            if option.startswith("--") and option not in ("--help", "--config", "--verbose"):
                assert option in told or option == "--via-bridge", f"{option} of {module} has no counterpart"


def test_every_name_of_the_sdk_exists() -> None:
    """Classes, methods and properties that the table of moving over names."""
    holders = [
        *(sdk.HologramCloud, sdk.CustomCloud, sdk.NetworkManager, sdk.Cellular, sdk.Wifi, sdk.Modem),
        *(sdk.Event, sdk.Raw, sdk),
    ]
    cells = first_cells(section("Moving over from the SDK"), "SDK")
    for text in set.union(*(quoted(cell) for cell in cells)):
        name = re.sub(r"\(.*?\)", "", text).split(".")[-1]
        assert any(hasattr(holder, name) for holder in holders), f"{text} is not there"


def test_files_and_headings_that_are_linked_exist() -> None:
    """In this repository; a heading by the name that its link has."""
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in anchors, f"no heading {target}"
        elif "://" not in target:
            assert (ROOT / target).exists(), f"no file {target}"
    for text in INLINE:
        if re.fullmatch(r"(config|systemd|node-red-flows)/[\w./-]*", text):
            assert (ROOT / text).exists(), f"no file {text}"


def test_the_picture_of_the_demo_is_of_this_demo() -> None:
    """Its lines to try are those that the demo prints."""
    (picture,) = texts("text", "Try it")
    port = re.search(r"broker ● :(\d+)", picture)
    inbound = re.search(r"nc -N 127.0.0.1 (\d+)", picture)
    assert port
    assert inbound
    for each in demo_lines(int(port[1]), int(inbound[1])):
        assert each.line in picture
    assert max(len(line) for line in picture.splitlines()) <= 100


@pytest.mark.parametrize("block", HJSON, ids=lambda block: block.where)
def test_pieces_of_configuration_are_taken(block: Block) -> None:
    """Put into a configuration that has credentials."""
    given = hjson.loads(block.text)
    settings = Settings(**{"credentials": {"devicekey": "abcd1234"}, **given})
    assert settings.model_fields_set >= set(given)


def test_drop_ins_set_what_the_units_know() -> None:
    """In the section that they name, by a name that a unit of ours has too."""
    units = "".join(path.read_text() for path in (ROOT / "systemd").glob("*.service"))
    for block in BLOCKS:
        if block.language == "ini":
            assert block.text.startswith("[Service]\n")
            for name in re.findall(r"^(\w+)=", block.text, re.MULTILINE):
                assert f"\n{name}=" in units, name
    for name in {
        text.removesuffix(".service") for text in INLINE if re.fullmatch(r"hologram-[\w@-]+\.service", text)
    }:
        assert (ROOT / "systemd" / f"{name}.service").exists(), name
    told = set.union(*(quoted(cell) for cell in first_cells(section("Running it"), "unit")))
    assert told == {path.name for path in (ROOT / "systemd").glob("*.service")}
