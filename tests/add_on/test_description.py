"""The add-on as Home Assistant sees it: its description, its texts, its pictures, its repository."""

import os
import re
import struct
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from bridge import __version__
from bridge.settings.explain import find, known_keys
from tests.add_on import rules
from tests.harness.process import ROOT

ADD_ON = ROOT / "config/home-assistant/add-on"


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ADD_ON / "config.yaml").read_text())
    return found


def test_the_description_keeps_home_assistants_rules(config: dict[str, Any]) -> None:
    """Each key, each element of the schema, and the defaults against the schema."""
    assert list(rules.problems(config)) == []
    assert config["version"] == __version__


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"startup": "later"}, "startup: later"),
        ({"arch": ["riscv"]}, "arch: ['riscv']"),
        ({"timeout": 5}, "timeout: 5"),
        ({"prot": 1}, "prot is no key"),
        ({"options": {}}, "options.credentials is missing"),
        ({"schema": {"a": "text"}, "options": {"a": 1}}, "schema: text"),
    ],
)
def test_the_rules_find_what_breaks_them(config: dict[str, Any], change: Any, problem: str) -> None:
    """A rule that finds nothing would hold nothing."""
    try:
        found = list(rules.problems({**config, **change}))
    except AssertionError as exc:
        found = [f"schema: {exc}".splitlines()[0]]
    assert problem in found


def test_every_option_is_a_key_of_the_configuration(config: dict[str, Any]) -> None:
    """Under its own name, so that a line about it names what stands on the page."""
    keys = set(known_keys())
    for section, inner in config["schema"].items():
        if section != "notify":
            assert {f"{section}.{key}" for key in inner} <= keys
    assert {"name", "to"} == set(config["schema"]["notify"][0])
    assert "home_assistant.notify" in keys


def test_the_choices_are_those_of_the_configuration(config: dict[str, Any]) -> None:
    """All modems, and no Wi-Fi, which the host manages; all ways and levels."""
    for path in ("network.interface", "network.scope", "sms.via", "log.level"):
        section, key = path.split(".")
        field = find((section, key)).field
        assert field is not None
        offered = rules.ELEMENT.fullmatch(config["schema"][section][key])
        assert offered is not None
        choices = {each or "none" for each in get_args(field.annotation)} - {"wifi"}
        assert set(offered["list"].split("|")) <= choices
        assert key == "scope" or len(offered["list"].split("|")) == len(choices)


def test_a_port_keeps_its_stable_name(config: dict[str, Any]) -> None:
    """Of an element ``device`` the Supervisor hands over the momentary name [addons/options.py]."""
    assert "device" in config["schema"]["network"]
    elements = [each for section in config["schema"].values() for each in _texts(section)]
    assert not [each for each in elements if each.startswith("device")]


def _texts(schema: Any) -> list[str]:
    """Return the elements of a part of a schema."""
    if isinstance(schema, str):
        return [schema]
    return [
        text for each in (schema if isinstance(schema, list) else schema.values()) for text in _texts(each)
    ]


def test_every_section_has_a_text(config: dict[str, Any]) -> None:
    """On the page each has a name and a description; the documentation tells of each option."""
    texts = yaml.safe_load((ADD_ON / "translations/en.yaml").read_text())["configuration"]
    assert texts.keys() == config["schema"].keys()
    assert all(each.keys() == {"name", "description"} for each in texts.values())
    docs = (ADD_ON / "DOCS.md").read_text()
    for section in config["schema"]:
        assert f"`{section}" in docs
    assert f"## {__version__}\n" in (ADD_ON / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(("name", "size"), [("icon.png", (128, 128)), ("logo.png", (250, 100))])
def test_the_pictures_have_home_assistants_sizes(name: str, size: tuple[int, int]) -> None:
    """[Home Assistant developer docs, "Presenting your add-on"]."""
    data = (ADD_ON / name).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == size


def test_the_repository_is_laid_out_whole(config: dict[str, Any], tmp_path: Path) -> None:
    """What Home Assistant builds from holds all that the recipe copies, and one description."""
    subprocess.run(
        ["sh", str(ADD_ON / "build")], env={**os.environ, "OUT": str(tmp_path)}, check=True,
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert set(yaml.safe_load((tmp_path / "repository.yaml").read_text())) == {"name", "maintainer"}
    laid = tmp_path / config["slug"]
    assert [each.relative_to(tmp_path) for each in tmp_path.rglob("config.y*ml")] == [
        Path(config["slug"]) / "config.yaml"
    ]
    recipe = (laid / "Dockerfile").read_text()
    assert "ARG SOURCE=program\n" in recipe
    assert re.findall(r"^FROM \S+ AS (\S+)$", recipe, re.MULTILINE) == ["build", "bridge", "add-on"]
    assert f'io.hass.version="{__version__}"' in recipe
    for name in ("bridge/__main__.py", "bridge/store/schema.sql", "config/debian/stage", "pyproject.toml"):
        assert (laid / "program" / name).read_bytes() == (ROOT / name).read_bytes()
    flows = [each.name for each in (ROOT / "node-red-flows").iterdir() if each.is_file()]
    assert all((laid / "program/node-red-flows" / name).exists() for name in flows)
    assert not list(laid.rglob("__pycache__"))
    for name in ("README.md", "DOCS.md", "CHANGELOG.md", "icon.png", "logo.png", "translations/en.yaml"):
        assert (laid / name).exists()
