"""The package of automations that users are given, loaded by Home Assistant and at work with the bridge."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.harness import eventually
from tests.harness.process import ROOT
from tests.home_assistant.conftest import OPERATOR, Lab

pytestmark = pytest.mark.slow

PACKAGE = ROOT / "config" / "home-assistant" / "hologram_bridge.yaml"
LINK = "binary_sensor.cellular_bridge_cellular"
STRANGER = "+15559990000"

_AROUND = """\
input_boolean:
  pump_runs:
switch:
  - platform: template
    switches:
      pump:
        friendly_name: Pump
        value_template: "{{ is_state('input_boolean.pump_runs', 'on') }}"
        turn_on: {action: input_boolean.turn_on, target: {entity_id: input_boolean.pump_runs}}
        turn_off: {action: input_boolean.turn_off, target: {entity_id: input_boolean.pump_runs}}
"""
"""What the user of the package has already: a pump."""


@pytest.fixture(scope="module")
def started(fresh_lab: Lab) -> Lab:
    """All the parts, with the package; of its times one is cut short."""
    fresh_lab.start()
    text = PACKAGE.read_text()
    assert "minutes: 10" in text
    packages = fresh_lab.home.packages
    (packages / PACKAGE.name).write_text(text.replace("minutes: 10", "seconds: 2"))
    (packages / "around.yaml").write_text(_AROUND)
    fresh_lab.home.restart()
    fresh_lab.home.wait_state(LINK, "on", 60)
    return fresh_lab


@pytest.fixture(autouse=True)
def _off(started: Lab) -> None:
    """Every test begins with a pump that stands still."""
    started.home.call("switch.turn_off", "switch.pump")


def notifications(lab: Lab) -> dict[str, dict[str, Any]]:
    """Return what Home Assistant notifies of, by id."""
    return {each["notification_id"]: each for each in lab.home.ask("persistent_notification/get")}


def test_the_package_as_it_is_given_is_valid(lab: Lab, tmp_path: Path) -> None:
    """Home Assistant has all its automations, on, and no complaint about the file as it is shipped."""
    states = lab.home.get("/api/states")
    found = {
        each["attributes"]["id"]: each["state"] for each in states if each["entity_id"][:11] == "automation."
    }
    names = ("alarm", "sms_command", "data", "link")
    assert found == {f"hologram_bridge_{name}": "on" for name in names}
    assert lab.home.problems() == []
    (lab.home.packages / PACKAGE.name).write_text(PACKAGE.read_text())
    checked = lab.home.post("/api/config/core/check_config", {})
    assert (checked["result"], checked["errors"], checked["warnings"]) == ("valid", None, None)


def test_an_alarm_is_an_sms(lab: Lab) -> None:
    """A sensor that turns on texts the operator, once; one that was unknown before does not."""
    sensor, before = "/api/states/binary_sensor.water_leak", len(lab.texts(OPERATOR["to"]))
    named = {"attributes": {"friendly_name": "Water in the cellar"}}
    lab.home.post(sensor, {"state": "on", **named})
    lab.home.post(sensor, {"state": "off", **named})
    lab.home.post(sensor, {"state": "on", **named})
    eventually(lambda: len(lab.texts(OPERATOR["to"])) > before, 20, what="the operator is texted")
    (text,) = lab.texts(OPERATOR["to"])[before:]
    assert text.startswith("ALARM: Water in the cellar, ")
    assert len(text) <= 160


def receive(lab: Lab, text: str, sender: str = OPERATOR["to"]) -> None:
    """Have the modem receive an SMS, and wait until the bridge has told of it."""
    told = len(lab.client.messages("hologram/in/sms"))
    lab.modem.tell("sms", from_=sender, text=text)
    lab.client.wait_for(lambda: len(lab.client.messages("hologram/in/sms")) > told, what="the SMS is told")


def test_an_sms_switches_the_pump_and_is_answered(lab: Lab) -> None:
    """The allowed number switches on and off, whatever the case, and hears what became of it."""
    before = len(lab.texts(OPERATOR["to"]))
    for text, state in (("Pump ON ", "on"), ("pump", "on"), ("pump off", "off")):
        receive(lab, text)
        lab.home.wait_state("switch.pump", state)
        answered = before + 1
        eventually(lambda: len(lab.texts(OPERATOR["to"])) >= answered, 20, what="an answer")  # noqa: B023
        assert lab.texts(OPERATOR["to"])[before:] == [f"Pump is {state}"]
        before += 1
    receive(lab, "what?")
    eventually(lambda: len(lab.texts(OPERATOR["to"])) > before, 20, what="an answer")
    assert lab.texts(OPERATOR["to"])[before].startswith("Not understood.")


def test_a_stranger_and_an_old_sms_switch_nothing(lab: Lab) -> None:
    """Other numbers, and SMS that the network kept for long, are passed over without an answer."""
    before = len(lab.texts(OPERATOR["to"]))
    receive(lab, "pump on", STRANGER)
    old = (datetime.now(UTC) - timedelta(hours=2)).isoformat(timespec="seconds").replace("+00:00", "Z")
    stale = {"id": "old", "from": OPERATOR["to"], "body": "pump on", "sent_at": old, "received_at": old}
    lab.client.publish("hologram/in/sms", json.dumps(stale))
    # The automation takes them in order: when this one is answered the others have been looked at.
    receive(lab, " Pump ")
    eventually(lambda: len(lab.texts(OPERATOR["to"])) > before, 20, what="an answer")
    assert lab.texts(OPERATOR["to"])[before:] == ["Pump is off"]
    assert lab.texts(STRANGER) == []
    assert lab.home.state("switch.pump") == "off"


def test_data_that_runs_high(lab: Lab) -> None:
    """When the month's data passes the limit there is a notification and an SMS, once."""
    before = len(lab.texts(OPERATOR["to"]))
    health = lab.client.wait_last("hologram/bridge/health").json()
    for used in (19_000_000, 20_500_000, 21_000_000):
        health["bytes"]["month"] = {"up": used - 1000, "down": 1000}
        lab.client.publish("hologram/bridge/health", json.dumps(health))
        lab.home.wait_state("sensor.cellular_bridge_data_this_month", str(used))
    eventually(lambda: len(lab.texts(OPERATOR["to"])) > before, 20, what="the operator is texted")
    assert "20500000 B" in notifications(lab)["hologram_bridge_data"]["message"]
    (text,) = lab.texts(OPERATOR["to"])[before:]
    assert text == "Cellular data runs high: 20500000 B this month."


def told_of_link(lab: Lab) -> str:
    """Return what is notified of the link, empty where nothing is."""
    return str(notifications(lab).get("hologram_bridge_link", {}).get("message", ""))


def test_a_link_that_stays_down(lab: Lab) -> None:
    """A link that is down for long is told with the reason, and no longer when it is back."""
    assert not told_of_link(lab)
    lab.modem.tell("sim", state="absent")
    lab.home.wait_state(LINK, "off")
    went = time.monotonic()
    eventually(lambda: "no SIM" in told_of_link(lab), 20, what="it is notified")
    assert time.monotonic() - went > 1
    lab.modem.tell("sim", state="ready")
    lab.home.wait_state(LINK, "on", 60)
    eventually(lambda: not told_of_link(lab), 20, what="the notification goes")


def test_a_bridge_that_stays_away(lab: Lab) -> None:
    """A bridge that does not run is told as such."""
    lab.bridge.stop()
    eventually(lambda: "not running" in told_of_link(lab), 20, what="it is notified")
    lab.bridge.start()
    lab.home.wait_state(LINK, "on", 60)
    eventually(lambda: not told_of_link(lab), 20, what="the notification goes")
