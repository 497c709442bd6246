"""The start of the add-on: options, the broker of the Supervisor, the line for what is wrong."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.add_on.supervisor import NOT_ENABLED, TOKEN, Supervisor
from tests.harness import Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.bridge import PROGRAM
from tests.harness.process import ROOT, Process

OPTIONS = {
    "credentials": {"devicekey": "abcd1234"},
    "mqtt": {},
    "network": {"interface": "none"},
    "notify": [],
    "log": {"level": "info"},
}
"""As the add-on's page saves them."""


@pytest.fixture
def supervisor(keeper: Keeper) -> Supervisor:
    found = Supervisor()
    keeper.finally_(found.close)
    return found


class AddOn(Process):
    """The add-on: its folder /data, its configuration folder, and the start."""

    def __init__(self, keeper: Keeper, folder: Path, supervisor: Supervisor) -> None:
        super().__init__("add-on", folder / "add-on.log")
        self.config = folder / "bridge.hjson"
        self._folder, self._options = folder, folder / "options.json"
        self._arguments = [
            *("add-on", "--options", str(self._options), "--data", str(folder)),
            *("--config", str(self.config), "--supervisor", supervisor.url),
        ]
        keeper.keep(self)

    def start(self, options: Any, token: str = TOKEN) -> None:
        self._options.write_text(options if isinstance(options, str) else json.dumps(options))
        (self._folder / "outbox").mkdir(exist_ok=True)
        self.launch([*PROGRAM, *self._arguments], {"SUPERVISOR_TOKEN": token})


@pytest.fixture
def add_on(keeper: Keeper, tmp_path: Path, supervisor: Supervisor) -> AddOn:
    return AddOn(keeper, tmp_path, supervisor)


@pytest.fixture
def guarded(keeper: Keeper, tmp_path: Path) -> Mosquitto:
    """A broker that asks for a login."""
    broker = Mosquitto(keeper, tmp_path / "mosquitto", users={"addons": "secret", "test": "test"})
    broker.start()
    return broker


def test_it_takes_broker_and_login_from_the_supervisor_when_there_is_one(
    keeper: Keeper, add_on: AddOn, supervisor: Supervisor, guarded: Mosquitto, cloud: Cloud
) -> None:
    """Until then it waits and says so once; what is no option stands in the file; a message then arrives."""
    cloud.start()
    add_on.config.write_text(
        f'{{ cloud: {{ host: "127.0.0.1", port: {cloud.port} }}, inbound: {{ enabled: false }} }}'
    )
    add_on.start({**OPTIONS, "notify": [{"name": "Ann", "to": "+15551234567"}]})
    eventually(lambda: "no MQTT broker yet (Service not enabled)" in add_on.said(), what="it waits")
    supervisor.offer(guarded.port, "addons", "secret")
    eventually(lambda: "connected to the broker" in add_on.said(), 20, what="it connects")
    assert add_on.said().count("no MQTT broker yet") == 1
    client = Client(guarded.port, "#", user=("test", "test")).connect()
    keeper.finally_(client.close)
    client.publish("hologram/out/a", "x", user={"id": "m"})
    assert client.wait_result("m")["state"] == "delivered"
    eventually(
        lambda: any("notify_15551234567" in str(client.last(topic)) for topic in client.topics()),
        what="Home Assistant hears of the person",
    )
    assert add_on.stop() == 0
    assert "secret" not in add_on.said()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({**OPTIONS, "credentials": {"devicekey": ""}}, "credentials.devicekey: is missing; enter it"),
        (
            {**OPTIONS, "credentials": {"devicekey": "too-long-a-key"}},
            "credentials.devicekey: *** (14 characters) is not allowed; allowed is 8 characters",
        ),
        ({**OPTIONS, "budget": {"day": "lots"}}, 'budget.day: "lots" is not allowed'),
        ({**OPTIONS, "notify": [{"name": "Ann", "to": "123"}]}, 'notify[0].to: "123" is not allowed'),
        ({**OPTIONS, "netwrk": {"apn": "x"}}, "HOLOGRAM_BRIDGE__NETWRK__APN: unknown name"),
        ("[]", "options.json: is not an object"),
        ("{", "options.json: is not JSON"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_told_as_check_config_tells_it(
    add_on: AddOn, supervisor: Supervisor, options: Any, line: str
) -> None:
    """At once, with exit code 78, before anybody is asked for a broker; its value is not shown if secret."""
    add_on.start(options)
    assert add_on.wait(30) == 78
    assert line in add_on.said()
    assert "too-long-a-key" not in add_on.said()
    assert not supervisor.asked


def test_the_line_is_that_of_check_config(add_on: AddOn, tmp_path: Path) -> None:
    """Of the same mistake in a file."""
    wrong = {"credentials": {"devicekey": "abcd1234"}, "budget": {"day": "lots"}, "log": {"level": "loud"}}
    file = tmp_path / "wrong.hjson"
    file.write_text(json.dumps(wrong))
    told = subprocess.run(
        [*PROGRAM, "check-config", "-c", str(file)],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    add_on.start({**OPTIONS, **wrong})
    assert add_on.wait(30) == told.returncode == 78
    lines = told.stderr.strip().splitlines()
    assert lines
    assert all(line in add_on.said() for line in lines)


def test_a_refused_token_ends_it_with_what_to_do(add_on: AddOn) -> None:
    """Asking again with the same token cannot help."""
    add_on.start(OPTIONS, token="another")
    assert add_on.wait(30) == 1
    assert (
        "the Supervisor refuses the add-on's token (HTTP status 401); restart the add-on, or set mqtt"
        in add_on.said()
    )


def test_another_broker_is_used_without_asking(
    add_on: AddOn, supervisor: Supervisor, mosquitto: Mosquitto
) -> None:
    """The options name it; tls that is off is none."""
    mqtt = {"host": "127.0.0.1", "port": mosquitto.port, "tls": False, "username": ""}
    inbound = {"enabled": False}
    add_on.start({**OPTIONS, "mqtt": mqtt, "inbound": inbound})
    eventually(lambda: "connected to the broker" in add_on.said(), 20, what="it connects")
    assert not supervisor.asked


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (NOT_ENABLED, "Service not enabled"),
        ((502, b"<html>"), "the Supervisor's answer cannot be read (HTTP status 502)"),
        ((200, {"result": "ok", "data": {}}), "the Supervisor's answer cannot be read (HTTP status 200)"),
        ((200, {"result": "ok", "data": {"host": "x", "port": "many"}}), "cannot be read (HTTP status 200)"),
        ((200, []), "cannot be read (HTTP status 200)"),
    ],
)
def test_what_may_be_better_next_time_is_waited_for(
    supervisor: Supervisor, answer: tuple[int, Any], why: str
) -> None:
    """No service yet, a Supervisor that starts, and an answer that is none: each is told, none ends it."""
    from bridge.adapters.system.supervisor import NotOffered, broker

    supervisor.answer = answer
    with pytest.raises(NotOffered) as caught:
        broker(supervisor.url, TOKEN)
    assert why in str(caught.value)


def test_a_supervisor_that_is_away_is_waited_for(supervisor: Supervisor) -> None:
    """It restarts at each of its updates."""
    from bridge.adapters.system.supervisor import NotOffered, broker

    with pytest.raises(NotOffered, match="the Supervisor does not answer"):
        broker("http://127.0.0.1:1", TOKEN)


def test_a_login_and_tls_come_with_the_broker(supervisor: Supervisor) -> None:
    """Each as the Supervisor gives it, none where it gives none."""
    from bridge.adapters.system.supervisor import broker

    supervisor.answer = (200, {"result": "ok", "data": {"host": "h", "port": 8883, "ssl": True}})
    assert broker(supervisor.url, TOKEN) == ("h", 8883, None, None, True)
    supervisor.offer(1883, "u", "p")
    assert broker(supervisor.url, TOKEN) == ("127.0.0.1", 1883, "u", "p", False)


def test_it_is_for_an_add_on(tmp_path: Path) -> None:
    """Anywhere else it says so."""
    done = subprocess.run(
        [*PROGRAM, "add-on", "--options", str(tmp_path / "none")],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot be read (No such file or directory); is this an add-on?" in done.stderr
