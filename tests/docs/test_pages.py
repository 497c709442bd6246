"""The pages, held to the code: made tables are up to date, all names exist, and all there is is named."""

import ast
import html
import importlib
import json
import re
import shlex
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import hjson
import pytest

from bridge import __version__, sdk
from bridge.__main__ import build_parser
from bridge.core import recovery
from bridge.core.events import TYPES
from bridge.core.link import Code, Phase
from bridge.core.messages import Channel, State
from bridge.core.modem import Registration
from bridge.daemon.reload import NEEDS_RESTART
from bridge.demo.tries import lines as demo_lines
from bridge.errors import BridgeError
from bridge.flow.link import cellular, manager, pacing
from bridge.flow.message.topics import Names
from bridge.protocol.api import commands
from bridge.protocol.api.status import unmanaged
from bridge.protocol.at.sockets.traffic import Meter
from bridge.protocol.cloud import DeviceKey, encode
from bridge.protocol.cloud_codes import MEANINGS
from bridge.protocol.sms.status import Fate
from bridge.settings import Settings
from bridge.settings.models import Interface
from tests.docs.pages import (
    BLOCKS,
    DOCS,
    FACES,
    HJSON,
    INLINE,
    PAGES,
    PROSE,
    README,
    SHELL,
    TEXT,
    Block,
    Page,
    anchor,
    first_cells,
    page,
    quoted,
)
from tests.docs.tables import keys, made_anew
from tests.harness.process import ROOT

NAMED = pytest.mark.parametrize("each", PAGES, ids=lambda each: each.name)
TOPICS, RESULTS, STATUS = page("reference/topics"), page("reference/results"), page("reference/status")


@NAMED
def test_the_made_tables_are_up_to_date(each: Page) -> None:
    """Configuration keys, commands with their arguments, and modems; `make tables` writes them."""
    assert made_anew(each.text) == each.text, "run: make tables"


def test_pages_are_short() -> None:
    """A page answers one question; only what is looked up may be longer."""
    assert len(README.text.splitlines()) <= 200
    long = {
        each.name: len(each.text.splitlines())
        for each in DOCS
        if not each.name.startswith("docs/reference/") and len(each.text.splitlines()) > 300
    }
    assert not long


def test_every_page_is_on_the_map_and_in_the_site() -> None:
    """The map has a line for each; the site's menu names each."""
    index, site = page("index"), (ROOT / ".ci/mkdocs.yml").read_text()
    for each in DOCS:
        name = each.name.removeprefix("docs/")
        assert each is index or name in index.links, f"{name} is not on docs/index.md"
        assert f": {name}\n" in site, f"{name} is not in .ci/mkdocs.yml"


ANSWERS = {
    "What does a reading a minute cost?": ("What a message costs", "16 MB a month"),
    "How do I keep the box's own traffic off the SIM?": ("Which scope for which box", '"bridge"'),
    "What happens to a message in a power cut?": ("A power cut", "survives `kill -9` and a power cut"),
    "How do I send an SMS from Home Assistant?": ("Send an SMS", "notify.send_message"),
    "How can I be sure that an alarm arrived?": (
        "Be sure that an alarm was delivered",
        '"state":"delivered"',
    ),
    "How do I move a script over?": ("Moving over from the SDK", "from bridge.sdk import"),
    "The status says code 5?": ("Code 5, no network", "`registration`"),
}
"""Questions of newcomers, each with the heading to which its link on the first page leads, and its answer."""


def test_the_first_page_answers_the_first_questions() -> None:
    """In a word, and with one click to the place that has all of it; every page is two clicks away."""
    lines = README.section("Questions that come first").splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| ")]
    told = {question.strip(): answer for question, answer in rows}
    assert set(ANSWERS) <= set(told)
    for question, (heading, answer) in ANSWERS.items():
        (link,) = re.findall(r"\]\(([^)]+)\)", told[question])
        path, _, wanted = link.partition("#")
        target = Page(ROOT / path)
        assert wanted == (anchor(heading) if wanted else ""), question
        assert wanted or target.headings[0] == heading, question
        assert answer in target.section(heading), question
    assert "docs/index.md" in README.links


# -- names -----------------------------------------------------------------------------------------------


def _topics() -> set[str]:
    names = Names("hologram")
    texts = (value for value in vars(names).values() if isinstance(value, str))
    told = {text for text in texts if "/" in text and not text.endswith("/")}
    return (
        told
        | {f"hologram/{end}" for end in ("out", "out/<topic>", "send", "sms", "sms/<digits>")}
        | {*names.control_filters}
    )


def test_every_topic_is_told_and_every_one_told_exists() -> None:
    """In the tables each of them; elsewhere in the text none that there is not."""
    cells = first_cells(TOPICS.section("Commands: you publish, the bridge acts"), "topic")
    reports = first_cells(TOPICS.section("Reports: the bridge publishes"), "topic")
    told = set.union(*(quoted(cell) for cell in [*cells, *reports]))
    assert told | {"hologram/out"} == _topics()
    known = _topics() | {"hologram/#", "hologram/in/#"}
    mentioned = set(re.findall(r"(?<![\w./-])hologram/[\w<>/#]+(?<![/.])", PROSE + "".join(_lines())))
    strange = {
        topic for topic in mentioned - known if not re.match(r"hologram/(out/[\w/#<>]+|sms/\d+)$", topic)
    }
    assert not strange, f"no such topic: {strange}"


def _lines() -> list[str]:
    return [f"{line}\n" for block in SHELL for line in block.lines]


def test_every_command_of_a_topic_is_told() -> None:
    """The words that the network and the queue take."""
    rows = [line for line in TOPICS.text.splitlines() if line.startswith("| `hologram/")]
    network = next(line for line in rows if "network/set" in line)
    queue = next(line for line in rows if "queue/set" in line)
    assert set(commands.NETWORK_COMMANDS) <= quoted(network)
    assert set(commands.QUEUE_COMMANDS) <= quoted(queue)
    told = set.union(*(quoted(cell) for cell in first_cells(page("control").section("The link"), "command")))
    assert told == set(commands.NETWORK_COMMANDS)


def test_every_event_is_told_and_every_one_told_exists() -> None:
    """As the source names them; those with a rung and a trouble tell which there are."""
    events = page("reference/events")
    told = set.union(*(quoted(cell) for cell in first_cells(events.text, "event")))
    assert told == set(TYPES)
    waited_for = {recovery.Diagnosis.NONE, recovery.Diagnosis.GONE, recovery.Diagnosis.SIM}
    there = quoted(events.text)
    assert {each.value for each in recovery.Diagnosis if each not in waited_for} <= there
    assert {each.value for each in Fate} <= there
    rungs = first_cells(page("link").section("A modem that hangs"), "rung")
    assert [f"`{each.value}`" for each in recovery.Rung] == rungs


def test_every_state_and_code_is_told() -> None:
    """Of results, of the network, of the health; and the exit codes."""
    cells = first_cells(RESULTS.section("States"), "state")
    assert set.union(*(quoted(cell) for cell in cells)) == {state.value for state in State}
    assert {channel.value for channel in Channel} <= quoted(RESULTS.text)
    assert {int(cell) for cell in first_cells(RESULTS.section("Codes of the cloud"), "code")} == set(MEANINGS)
    codes = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", STATUS.text, re.MULTILINE))
    assert codes == {str(code.value): code.name for code in Code}
    troubles = page("troubleshooting").section("The status has a code")
    told = {re.match(r"\d+", cell)[0] for cell in first_cells(troubles, "code")}  # type: ignore[index]
    assert told == {str(code.value) for code in Code if code is not Code.CLOUD_CONNECTED}
    states = {phase.value for phase in Phase} | {"error", unmanaged()["state"]}
    assert states <= quoted(STATUS.text)
    known = {each.value for each in Registration if each is not Registration.UNKNOWN}
    assert known <= quoted(STATUS.text)
    exits = {kind.exit_code for kind in _kinds(BridgeError)} | {0}
    assert {int(cell) for cell in first_cells(page("reference/commands").text, "exit code")} == exits


def test_every_state_of_the_health_is_told_and_has_its_row() -> None:
    """As the source returns them, in its order; each that is not well is on the page of troubles."""
    source = ast.parse((ROOT / "bridge/flow/health/figures.py").read_text())
    (method,) = (
        node for node in ast.walk(source) if isinstance(node, ast.FunctionDef) and node.name == "state"
    )
    real = {
        node.value
        for given in ast.walk(method)
        if isinstance(given, ast.Return)
        for node in ast.walk(given)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {cell.strip("`") for cell in first_cells(page("reference/health").text, "state")} == real
    rows = first_cells(page("troubleshooting").section("Health is not ok"), "`state`")
    assert {state for state in real if any(f"`{state}`" in row for row in rows)} == real - {"ok"}


def test_every_finding_of_the_doctor_is_told() -> None:
    """By the name that the source gives it; the samples are of this doctor."""
    real: set[str] = set()
    said = ""
    for path in (ROOT / "bridge" / "doctor").glob("*.py"):
        said += path.read_text()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ok", "warn", "fail", "skipped"):
                real |= {ast.literal_eval(node.args[0])} if isinstance(node.args[0], ast.Constant) else set()
    told = set.union(*(quoted(cell) for cell in first_cells(page("doctor").text, "finding")))
    assert told == real
    for sample in ("accepts the bridge", "are dropped", "about 250 bytes with the look-up; no message"):
        assert sample in page("doctor").text
        assert sample in said


def _kinds(kind: type[BridgeError]) -> Iterator[type[BridgeError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def test_every_interface_is_told() -> None:
    """With the modems, and those that are no modem in words."""
    told = {text.strip('"') for text in quoted(page("modems").text)}
    told |= set(re.findall(r'"([a-z0-9-]*)"', page("reference/configuration").text))
    assert set(get_args(Interface)) - {""} <= told


def test_what_waits_for_a_restart_is_told() -> None:
    """Key by key, none besides."""
    found = re.search(r"names what waits for a restart:(.*?)\.\n", page("running").text, re.DOTALL)
    assert found
    assert quoted(found[1]) == set(NEEDS_RESTART)


def test_every_key_that_is_named_exists() -> None:
    """Wherever the text names one."""
    known = {key for key, _ in keys()} | set(Settings.model_fields)
    known |= {key.rpartition(".")[0] for key in known}
    sections = "|".join(Settings.model_fields)
    named = {text.partition(":")[0] for text in INLINE if re.match(rf"({sections})\.[a-z_.]+(:|$)", text)}
    theirs = {f"network.{name}" for name in ("location", "signal_strength", "localIPAddress")} | {
        "mqtt.publish"
    }
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


def test_nothing_waits_for_ever() -> None:
    """Who waits for an answer that does not come gets the shell back."""
    for text in [*INLINE, *(line for block in SHELL for line in block.lines)]:
        if text.startswith("mosquitto_rr ") or " -C 1" in text:
            assert " -W " in text, text


def test_a_reply_topic_is_used_once() -> None:
    """A late result would answer in the place of another message: the topic ends with an id or the time."""
    for text in [*INLINE, *(line for block in SHELL for line in block.lines)]:
        if text.startswith("mosquitto_rr ") and " -e " in text:
            words = shlex.split(text)
            topic = words[words.index("-e") + 1]
            own = {"$(date +%s)", "$ID", "$ID-sms", "pause", "resume", "reconnect"}
            assert any(topic.endswith(f"/{each}") for each in own), text
            if topic.endswith("$ID"):
                assert words[words.index("id") + 1] == "$ID", text


def test_a_shown_id_is_a_new_one_each_time() -> None:
    """A constant id, copied into a script, would never send the second alarm of a day."""
    for block in SHELL:
        for line in block.lines:
            if line.startswith("ID="):
                assert "$(date +%s)" in line, line
            ids = re.findall(r'user-property id (\S+)|\bid\W+:\W*?"?([\w$][^,]*)', line)
            for each in ("".join(pair) for pair in ids):
                assert "$ID" in each or "$(date" in each, f"{block.page}: {line}"


def test_nothing_waits_by_the_first_of_a_retained_topic() -> None:
    """The broker hands out at once what it has stored, so the first message tells of before."""
    for block in SHELL:
        for line in block.lines:
            assert not ("network/status" in line and " -C " in line), line


def test_a_shown_change_is_in_the_file_and_checked_before_a_restart() -> None:
    """Every section and every list of the file is there already, and a second one is refused."""
    shipped = set(hjson.loads((ROOT / "config/bridge.hjson").read_text()))
    by_name = {each.name: each for each in PAGES}
    for block in HJSON:
        assert set(hjson.loads(block.text)) <= shipped
        if "reference/" not in block.page:
            section = by_name[block.page].section(block.where)
            assert re.search(r"already\s+in\s+the\s+file", section), f"{block.page}, {block.where}"
            assert "sudo hologram-bridge check-config && sudo systemctl restart hologram-bridge" in section, (
                f"{block.page}, {block.where}"
            )
    assert all(not re.match(r"\w+: \{ ", text) for text in INLINE if text.partition(":")[0] in shipped)


def test_every_target_of_make_that_is_named_exists() -> None:
    """And the package is of this version."""
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in [*INLINE, *(line for block in SHELL for line in block.lines)]:
        if found := re.match(r"(?:sudo )?make ([\w-]+)", text):
            assert found[1] in targets, text
    assert set(re.findall(r"hologram-bridge_([\d.]+)[+_]", TEXT)) == {__version__}


def test_every_option_of_the_tools_is_told() -> None:
    """Beside its counterpart."""
    told = " ".join(first_cells(page("sdk-tools").text, "tool and option"))
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
    cells = first_cells(page("sdk").text, "SDK")
    for text in set.union(*(quoted(cell) for cell in cells)):
        name = re.sub(r"\(.*?\)", "", text).split(".")[-1]
        assert any(hasattr(holder, name) for holder in holders), f"{text} is not there"


@NAMED
def test_files_and_headings_that_are_linked_exist(each: Page) -> None:
    """In this repository; a heading by the anchor that its link has, on the page that its link names."""
    for target in each.links:
        if "://" in target:
            continue
        path, _, wanted = target.partition("#")
        file = (each.path.parent / path).resolve() if path else each.path
        assert file.is_file(), f"{each.name}: no file {target}"
        if wanted:
            assert wanted in Page(file).anchors, f"{each.name}: no heading {target}"
    for text in each.inline:
        if re.fullmatch(r"(config|systemd|node-red-flows|tests)/[\w./-]*", text):
            assert (ROOT / text).exists(), f"{each.name}: no file {text}"


@NAMED
def test_headings_have_an_anchor_of_their_own(each: Page) -> None:
    """Two of one name would share it, and git hosts number the second."""
    assert len(each.anchors) == len(each.headings), sorted(each.headings)


def test_tests_that_are_named_exist() -> None:
    """Where the text names one as the proof of a claim."""
    named = [text for text in INLINE if text.startswith(".venv/bin/python -m pytest")]
    assert named
    for text in named:
        (path,) = re.findall(r"tests/\S+\.py", text)
        assert (ROOT / path).exists(), text


def test_the_picture_of_the_demo_is_of_this_demo() -> None:
    """Its lines to try are those that the demo prints; it is small, and loads nothing."""
    svg = html.unescape((ROOT / "docs" / "demo.svg").read_text()).replace("\xa0", " ")
    text = "\n".join(re.findall(r"<text[^>]*>(.*?)</text>", svg))
    port = re.search(r"broker\s+● :(\d+)", text)
    inbound = re.search(r"nc -N 127.0.0.1 (\d+)", text)
    assert port
    configuration = re.search(r"doctor -c (\S+)", text)
    assert inbound
    assert configuration
    where = Path(configuration[1])
    for each in demo_lines(f"-p {port[1]}", int(inbound[1]), where, where.with_name("desk")):
        assert each.line in text
    assert len(svg) < 60_000
    assert not re.search(r"(src|href|url)[=(][\"']?https?:", svg)
    assert "docs/demo.svg" in README.links


def test_what_the_installation_says_is_what_it_says() -> None:
    """The expected output has lines of the scripts."""
    scripts = "".join((ROOT / "config/debian" / name).read_text() for name in ("install", "postinst"))
    scripts += (ROOT / "bridge/settings/models.py").read_text()
    (sample,) = page("install").texts("text", "2. Install")
    for line in sample.splitlines():
        known = re.split(r" /|: sudo|; ", line)[0] if not line.startswith("installing:") else "installing:"
        assert known.removeprefix("hologram-bridge: credentials: ") in scripts, line
    packages = set(sample.splitlines()[0].split()[1:])
    assert packages <= set(re.findall(r"[\w-]+", scripts))
    assert "all is right" in (ROOT / "bridge/cli/check_config.py").read_text()
    assert "all is right" in page("install").text
    (sample,) = page("try").texts("text", "The demo with Node-RED")
    assert sample.partition(":")[0] in (ROOT / "bridge/demo/node_red.py").read_text()


def test_pieces_of_automations_are_those_that_are_shipped() -> None:
    """Home Assistant runs the shipped ones in tests; a piece has their lines, but for the message."""
    shipped = (ROOT / "config/home-assistant/hologram_bridge.yaml").read_text()
    lines = {line.partition(" #")[0].strip().removeprefix("- ") for line in shipped.splitlines()}
    lines |= {"homeassistant:", "packages: !include_dir_named packages"}
    for block in BLOCKS:
        if block.language == "yaml":
            for line in block.text.splitlines():
                plain = line.strip().removeprefix("- ")
                assert plain in lines or plain.startswith("message:"), line


def test_entities_of_home_assistant_are_those_that_are_announced() -> None:
    """By the names that the source gives them."""
    source = (ROOT / "bridge/protocol/api/discovery.py").read_text()
    cells = first_cells(page("home-assistant").section("What you see"), "entity")
    names = {name for cell in cells for name in re.findall(r"\*(.+?)\*", cell)}
    assert len(names) > 10
    assert not {name for name in names if f'"{name}"' not in source}


def test_what_a_month_costs_follows_from_what_a_message_costs() -> None:
    """A month of 30 days, in round figures."""
    cost = page("cost")
    found = re.search(r"a message of 20 bytes with one topic \| (\d+) \|", cost.text)
    assert found
    rows = dict(re.findall(r"^\| every (.+?) \| ([\d.]+) MB \|$", cost.text, re.MULTILINE))
    seconds = {"5 seconds": 5, "10 seconds": 10, "minute": 60, "quarter of an hour": 900, "hour": 3600}
    assert set(rows) == set(seconds)
    for name, every in seconds.items():
        assert float(rows[name]) == pytest.approx(int(found[1]) * 30 * 86400 / every / 1e6, rel=0.15)
    assert f"{rows['minute']} MB a month" in cost.text
    assert f"of 20 bytes {rows['minute']} MB a month" in README.text
    assert f"{rows['5 seconds']} MB a month" in page("existing-topics").text
    beside = round(int(found[1]) - 20, -1)
    assert f"about {beside} bytes beside its payload" in page("existing-topics").text.replace("\n", " ")


def test_the_times_of_the_link_are_those_of_the_code() -> None:
    """Of an attempt, of the pauses, of a link that reaches nothing, of the two ways, of the ladder."""
    text, limits = " ".join(page("link").text.split()), recovery.Limits()
    for said in (
        f"An attempt to connect has {manager.DIAL_TIMEOUT:.0f} s",
        f"a pause of {pacing.FIRST_PAUSE:.0f} s, doubled each time",
        f"each time up to {_minutes(pacing.LONGEST_PAUSE['cellular'])}",
        f"has reached nothing for {_minutes(pacing.STALE)} is dialled again",
        f"waits twice as long before the next try, up to {cellular.LONGEST_PPP_AGAIN / 3600:.0f} hours",
        f"a pause of {_minutes(limits.first_pause)}, then",
        f"after {_minutes(limits.no_network)} without a network, after {_minutes(limits.denied)} in which",
        f"after {limits.link_failures} failed calls in a row",
    ):
        assert said in text, said
    assert (cellular.PPP_AGAIN, cellular.FAILURES_TO_SOCKETS, limits.longest_pause) == (1800, 2, 3600)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minute{'s' if seconds > 60 else ''}"


FIXED_UP, FIXED_DOWN = 132, 177
"""What an exchange takes beside the request: `tests.adapters.ip.test_cost` measures it."""


def _request(topic: str, payload: str) -> int:
    return len(encode(DeviceKey("abcd1234"), (topic,), payload.encode(), 0.0))


def test_results_that_are_shown_have_the_bytes_of_their_command() -> None:
    """Below each line that sends, the sample counts what that line costs."""
    counted = 0
    for each in PAGES:
        sent = {}
        for block in each.blocks:
            for line in block.lines if block.language == "sh" else ():
                if line.startswith("mosquitto_rr") and (found := re.search(r"-t hologram/out/(\S+) ", line)):
                    words = shlex.split(line)
                    sent[found[1]] = words[words.index("-m") + 1]
            if block.language == "json" and '"delivered","code":0' in block.text:
                sample = json.loads(block.text)
                if (topic := sample["topics"][0]) in sent:
                    counted += 1
                    bytes_up = FIXED_UP + _request(topic, sent[topic])
                    assert (sample["bytes_up"], sample["bytes_down"]) == (bytes_up, FIXED_DOWN), each.name
    assert counted >= 4


def test_the_other_figures_of_cost_are_computed() -> None:
    """A sign of life, and a message over a modem's own sockets with and without the look-up."""
    alive = FIXED_UP + FIXED_DOWN + _request("alive", "1")
    silence = page("silence")
    assert f"One takes {alive} bytes" in silence.text
    rows = dict(re.findall(r"^\| every (hour|day) \| ([\d.]+) MB \|$", silence.text, re.MULTILINE))
    for name, times in {"hour": 720, "day": 30}.items():
        assert float(rows[name]) == pytest.approx(alive * times / 1e6, abs=0.006)
    cost = " ".join(page("cost").text.split())
    named, plain = (_own_sockets(host) for host in ("cloudsocket.hologram.io", "127.0.0.1"))
    assert f"| {named}, estimated |" in cost
    assert f"takes {plain} bytes instead of 378." in cost
    assert f"adds {named - plain}." in cost


def _own_sockets(host: str) -> int:
    meter = Meter()
    meter.ask(host)
    meter.stand()
    meter.write(_request("sensors/kitchen", '{"temperature":21.5}'))
    meter.read(len("[0,0]"))
    return sum(meter.closed())


@pytest.mark.parametrize("block", HJSON, ids=lambda block: f"{block.page} {block.where}")
def test_pieces_of_configuration_are_taken(tmp_path: Path, block: Block) -> None:
    """Put into a configuration that has credentials; the files that it names are there."""
    for file in re.findall(r"/etc/hologram-bridge/([\w.-]+)", block.text):
        (tmp_path / file).touch()
    given = hjson.loads(block.text.replace("/etc/hologram-bridge", str(tmp_path)))
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
    told = set.union(*(quoted(cell) for cell in first_cells(page("running").text, "unit")))
    assert told == {path.name for path in (ROOT / "systemd").glob("*.service")}
