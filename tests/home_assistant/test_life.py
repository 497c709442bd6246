"""Home Assistant and the bridge come and go, and the configuration changes."""

import pytest

from tests.harness import Client, eventually
from tests.home_assistant.conftest import OPERATOR, Lab

pytestmark = pytest.mark.slow

DEVICE = "Cellular bridge"
CLEANS_UP = pytest.mark.complains("No device components to cleanup")
"""Home Assistant itself publishes an empty announcement for each disabled entity of a device that goes, and
complains of what it then receives."""

BIRTH = "homeassistant/status"
SIGNAL = "sensor.cellular_bridge_signal_strength"
NOTIFY = "notify.cellular_bridge_operator"


def test_a_restart_of_home_assistant(lab: Lab) -> None:
    """Every entity is back with its state, under its id, also one that a user has renamed."""
    home, renamed = lab.home, "sensor.field_quality"
    quality = home.state("sensor.cellular_bridge_signal_quality")
    assert quality is not None
    home.ask(
        "config/entity_registry/update",
        entity_id="sensor.cellular_bridge_signal_quality",
        new_entity_id=renamed,
    )
    home.wait_state(renamed, quality)
    before = set(home.registry(DEVICE))
    told, again = (len(lab.client.messages(each)) for each in (BIRTH, _announcement(lab)))
    home.restart()
    home.wait_state(renamed, quality)
    home.wait_state(SIGNAL, "-79")
    assert set(home.registry(DEVICE)) == before
    lab.client.wait_for(lambda: len(lab.client.messages(BIRTH)) >= told + 2, 30, what="its will and birth")
    lab.client.wait_for(
        lambda: len(lab.client.messages(_announcement(lab))) >= again + 2, 15, what="announcement and states"
    )
    home.wait_state(renamed, quality)


def _announcement(lab: Lab) -> str:
    return next(topic for topic in lab.client.topics() if topic.startswith("homeassistant/device/"))


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_restart_of_the_bridge(lab: Lab, how: str) -> None:
    """While the bridge is away its entities are unavailable, whether it said goodbye or not."""
    if how == "stopped":
        lab.bridge.stop()
    else:
        lab.bridge.kill()
    lab.home.wait_state(SIGNAL, "unavailable")
    assert lab.home.state(NOTIFY) == "unavailable"
    lab.bridge.start()
    lab.home.wait_state(SIGNAL, "-79", 60)
    lab.home.wait_state("binary_sensor.cellular_bridge_cellular", "on", 60)


@pytest.mark.complains("connection was lost", "Failed to connect to MQTT")
def test_the_broker_loses_everything(lab: Lab) -> None:
    """After a broker without persistence has restarted, the bridge has announced itself anew."""
    lab.mosquitto.kill()
    lab.mosquitto.database.unlink(missing_ok=True)
    lab.home.wait_state(SIGNAL, "unavailable")
    lab.mosquitto.start()
    lab.home.wait_state(SIGNAL, "-79", 60)
    lab.client.wait_connected()
    with Client(lab.mosquitto.port, "homeassistant/#") as late:
        assert late.wait_last(_announcement(lab)).retain


def test_a_recipient_goes_and_comes_back(lab: Lab) -> None:
    """Who is no longer configured is no longer in Home Assistant, and is there again when put back."""
    registry = set(lab.home.registry(DEVICE))
    lab.bridge.stop()
    lab.bridge.configure(home_assistant={"notify": []})
    lab.bridge.start()
    eventually(lambda: set(lab.home.registry(DEVICE)) == registry - {NOTIFY}, 20, what="he is gone")
    lab.bridge.stop()
    lab.bridge.configure(home_assistant={"notify": [OPERATOR]})
    lab.bridge.start()
    eventually(lambda: set(lab.home.registry(DEVICE)) == registry, 20, what="he is back")
    assert lab.home.state(NOTIFY) == "unknown"


def test_what_went_while_home_assistant_was_away(lab: Lab) -> None:
    """Recipients who went meanwhile are removed when it is back; one that it never knew does not matter."""
    registry = set(lab.home.registry(DEVICE))
    lab.home.stop(60)
    stranger = {"name": "Stranger", "to": "+15550001111"}
    for recipients in ([OPERATOR, stranger], []):
        lab.bridge.stop()
        lab.bridge.configure(home_assistant={"notify": recipients})
        lab.bridge.start()
    told = lab.client.state(_announcement(lab))["cmps"]
    assert told["notify_15550001111"] == told["notify_15551234567"] == {"p": "notify"}
    lab.home.start()
    lab.home.wait_state("binary_sensor.cellular_bridge_cellular", "on", 60)
    eventually(lambda: set(lab.home.registry(DEVICE)) == registry - {NOTIFY}, 20, what="he is gone")
    lab.home.wait_state(SIGNAL, "-79")


def test_without_a_modem_its_entities_go(lab: Lab) -> None:
    """With no interface to manage, what tells of it is gone; messages still have their entities."""
    network = dict(lab.bridge.settings["network"])
    lab.bridge.stop()
    lab.bridge.settings["network"] = {"interface": ""}
    lab.bridge.start()
    eventually(lambda: SIGNAL not in lab.home.registry(DEVICE), 20, what="the signal is gone")
    # Home Assistant removes no entity that is disabled.
    registry = lab.home.registry(DEVICE).items()
    assert {name for name, entry in registry if not entry["disabled_by"]} == {
        "binary_sensor.cellular_bridge_cloud",
        "button.cellular_bridge_flush_queue",
        "event.cellular_bridge_messages",
        "notify.cellular_bridge_hologram_cloud",
        "sensor.cellular_bridge_data_this_month",
        "sensor.cellular_bridge_data_today",
        "sensor.cellular_bridge_delivered",
        "sensor.cellular_bridge_failed",
        "sensor.cellular_bridge_last_sms",
        "sensor.cellular_bridge_oldest_message",
        "sensor.cellular_bridge_queue",
    }
    lab.bridge.stop()
    lab.bridge.settings["network"] = network
    lab.bridge.start()
    lab.home.wait_state(SIGNAL, "-79", 60)


def _gone(lab: Lab) -> bool:
    return DEVICE not in [each["name"] for each in lab.home.devices()]


def _switch(lab: Lab, *, enabled: bool) -> None:
    lab.bridge.stop()
    lab.bridge.configure(home_assistant={"enabled": enabled})
    lab.bridge.start()


@CLEANS_UP
def test_switched_off_it_is_gone(lab: Lab) -> None:
    """``home_assistant.enabled: false`` removes the device, once: a further start troubles nobody."""
    _switch(lab, enabled=False)
    eventually(lambda: _gone(lab), 20, what="the device is gone")
    assert lab.home.state(SIGNAL) is None
    lab.client.wait_for(
        lambda: lab.client.wait_last(_announcement(lab)).payload == b"", what="it is taken back"
    )
    assert "cleared an earlier announcement" in lab.bridge.said(since_start=True)
    lab.bridge.stop()
    lab.bridge.start()
    results = len(lab.client.results())
    lab.client.publish("hologram/queue/set", "resume")
    lab.client.wait_for(lambda: len(lab.client.results()) > results, what="the bridge works")
    assert "cleared an earlier announcement" not in lab.bridge.said(since_start=True)
    _switch(lab, enabled=True)
    lab.home.wait_state(SIGNAL, "-79", 60)


@CLEANS_UP
def test_switched_off_while_home_assistant_was_away(lab: Lab) -> None:
    """What went while it was away goes when it is back, and nothing is left with the broker."""
    lab.home.stop(60)
    _switch(lab, enabled=False)
    lab.home.start()
    assert not _gone(lab)
    eventually(lambda: _gone(lab), 30, what="the device is gone")
    topic = _announcement(lab)
    with Client(lab.mosquitto.port, "homeassistant/#", "hologram/bridge/state") as late:
        late.wait_last("hologram/bridge/state")
        assert late.last(topic) is None
