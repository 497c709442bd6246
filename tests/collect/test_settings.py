"""The collector's configuration: checked and explained as the bridge's is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hjson
import pytest

from bridge.collect.settings import CollectSettings, Nats, load
from bridge.errors import ConfigError
from bridge.settings.explain import masked
from bridge.settings.models import Broker
from tests.harness import Keeper
from tests.harness.collector import SECRET, CollectorProcess
from tests.harness.process import ROOT

SHIPPED = ROOT / "config" / "collect.hjson"
GIVEN: dict[str, Any] = {"secret": {"value": SECRET}}
NATS: dict[str, Any] = {"servers": ["nats://127.0.0.1:4222"]}


def refused(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """Return the lines that say what is wrong."""
    file = tmp_path / "collect.hjson"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    return str(caught.value).splitlines()


def test_the_shipped_file_holds_every_key_and_the_defaults(tmp_path: Path) -> None:
    """But the keys of a stream, which it shows; as it is it asks for the secret."""
    shipped = hjson.loads(SHIPPED.read_text())
    assert set(shipped) == set(CollectSettings.model_fields)
    assert set(shipped["mqtt"]) == set(Broker.model_fields)
    assert all(f"{key}:" in SHIPPED.read_text() for key in Nats.model_fields)
    (line,) = refused(tmp_path, SHIPPED.read_text())
    assert line.startswith("secret.value: *** (0 characters) is not allowed; allowed is 16 to 255 characters")
    shipped["secret"]["value"] = SECRET
    assert CollectSettings.model_validate(shipped) == CollectSettings.model_validate({**GIVEN, "mqtt": {}})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"secret": None}, "secret: null is not allowed"),
        ({"secret": {"value": "short"}}, "secret.value: *** (5 characters) is not allowed"),
        ({"secret": {"value": "with a space in it"}}, "secret.value: *** (18 characters, with a space)"),
        ({"secret": {"value": SECRET, "header": "X Secret"}}, 'secret.header: "X Secret" is not allowed'),
        ({"listen": "8080"}, 'listen: "8080" is not allowed'),
        ({"listen": "127.0.0.1:99999"}, 'listen: "127.0.0.1:99999" is not allowed'),
        ({"listne": "a"}, "listne: unknown key 'listne'; did you mean 'listen'?"),
        ({"prefix": "a/#"}, 'prefix: "a/#" is not allowed'),
        ({"batch_topic": "a b"}, 'batch_topic: "a b" is not allowed'),
        ({"max_body": "1XB"}, 'max_body: "1XB" is not allowed'),
        ({"mqtt": {"port": 0}}, "mqtt.port: 0 is not allowed; allowed is 1 to 65535"),
        ({"mqtt": {"events": []}}, "mqtt.events: unknown key 'events'"),
        ({"mqtt": {}, "nats": NATS}, "nats: is given beside mqtt"),
        ({"nats": {}}, "nats.servers: is missing"),
        ({"nats": {"servers": ["http://a"]}}, 'nats.servers[0]: "http://a" is not allowed'),
        ({"nats": {"servers": ["nats://u:secret@a"]}}, "nats.servers[0]: holds a user"),
        ({"nats": {**NATS, "username": "u"}}, "nats.password: is missing"),
        ({"nats": {**NATS, "max_age": "1m"}}, "nats.duplicates: 3600 s is not allowed"),
        ({"nats": NATS, "prefix": "a.b"}, 'prefix: "a.b" is not allowed with nats'),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    """One line each, and no secret in it."""
    (got,) = refused(tmp_path, json.dumps({**GIVEN, **changes}))
    assert got.startswith(line)
    assert "secret@" not in got


def test_the_environment_wins_and_is_checked(tmp_path: Path) -> None:
    """Under names of its own: those of a bridge on the same machine say nothing."""
    file = tmp_path / "collect.hjson"
    file.write_text(json.dumps({**GIVEN, "mqtt": {"host": "a", "port": 5}}))
    file.chmod(0o600)
    loaded = load(file, {"HOLOGRAM_COLLECT__MQTT__HOST": "b", "HOLOGRAM_BRIDGE__X": "1"})
    assert (loaded.settings.broker.host, loaded.settings.broker.port, loaded.warnings) == ("b", 5, ())
    (line,) = refused(tmp_path, json.dumps(GIVEN), {"HOLOGRAM_COLLECT__MQTT__HOTS": "b"})
    assert "did you mean 'HOLOGRAM_COLLECT__MQTT__HOST'" in line
    alone = load(None, {"HOLOGRAM_COLLECT__SECRET__VALUE": SECRET}, default=tmp_path / "none")
    assert alone.settings == CollectSettings.model_validate(GIVEN)
    file.chmod(0o644)
    assert "chmod 640" in load(file, {}).warnings[0]
    assert masked(alone.settings)["secret"] == {"header": "X-Secret", "value": "***"}


def test_the_commands_say_what_is_wrong(keeper: Keeper, tmp_path: Path) -> None:
    """`check-config --collect` and `collect` end with 78 and the same line; a port that is taken with 1."""
    collector = CollectorProcess(keeper, tmp_path, listen="nowhere")
    for arguments in (("check-config", "--collect"), ("collect",)):
        done = collector.run(*arguments)
        assert (done.returncode, done.stdout) == (78, "")
        assert done.stderr.startswith(
            'hologram-bridge: listen: "nowhere" is not allowed; allowed is an address'
        )
    collector.settings["listen"] = "127.0.0.1:1"
    done = collector.run("check-config", "--collect")
    assert (done.returncode, json.loads(done.stdout)["secret"]["value"]) == (0, "***")


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from bridge.__main__ import main
sys.exit(main(sys.argv[2:]))
"""
"""A program in which a module cannot be imported."""


@pytest.mark.parametrize(
    ("module", "nats", "options"),
    [("uvicorn", None, ()), ("uvicorn", NATS, ()), ("nats", NATS, ()), ("nats", NATS, ("--setup",))],
)
def test_without_its_extras_the_command_says_what_to_install(
    tmp_path: Path, module: str, nats: dict[str, Any] | None, options: tuple[str, ...]
) -> None:
    """One line, whichever is missing and whatever is asked for; the bridge needs none of them."""
    file = tmp_path / "collect.hjson"
    file.touch(mode=0o600)
    file.write_text(json.dumps({**GIVEN, "nats": nats}))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, "collect", "-c", str(file), *options],
        capture_output=True, text=True, cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip
    extra = "nats" if nats else "collect"
    wanted = f"hologram-bridge: {module} is missing; run: pip install 'hologram-bridge[{extra}]'\n"
    assert (done.returncode, done.stderr) == (1, wanted)
