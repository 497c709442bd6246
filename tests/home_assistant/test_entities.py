"""What a user sees in Home Assistant: the device, its entities, and their states after what happens."""

import json
import socket
from typing import Any, NamedTuple

import pytest

from bridge.protocol.api.discovery import Device, Topics, payload
from tests.harness import eventually
from tests.home_assistant.conftest import DAY, Lab

pytestmark = pytest.mark.slow

DEVICE = "Cellular bridge"
TEXTER = "+15557654321"


class Entity(NamedTuple):
    """What the registry and the state say of an entity."""

    key: str
    name: str
    category: str | None = None
    device_class: str | None = None
    unit: str | None = None
    state_class: str | None = None
    enabled: bool = True


M, T = "measurement", "total_increasing"
ENTITIES = {
    "binary_sensor.cellular_bridge_cellular": Entity("connectivity", "Cellular", None, "connectivity"),
    "binary_sensor.cellular_bridge_cloud": Entity("cloud", "Cloud", "diagnostic", "connectivity"),
    "switch.cellular_bridge_connection": Entity("connection", "Connection"),
    "button.cellular_bridge_reconnect": Entity("reconnect", "Reconnect"),
    "button.cellular_bridge_reset_modem": Entity("modem_reset", "Reset modem", "config", "restart"),
    "button.cellular_bridge_flush_queue": Entity("flush", "Flush queue", "config"),
    "event.cellular_bridge_messages": Entity("activity", "Messages"),
    "notify.cellular_bridge_hologram_cloud": Entity("notify_cloud", "Hologram cloud"),
    "notify.cellular_bridge_operator": Entity("notify_15551234567", "Operator"),
    "sensor.cellular_bridge_signal_strength": Entity(
        "signal", "Signal strength", "diagnostic", "signal_strength", "dBm", M
    ),
    "sensor.cellular_bridge_signal_quality": Entity(
        "signal_percent", "Signal quality", "diagnostic", None, "%", M
    ),
    "sensor.cellular_bridge_operator": Entity("operator", "Operator", "diagnostic"),
    "sensor.cellular_bridge_technology": Entity("technology", "Technology", "diagnostic"),
    "sensor.cellular_bridge_registration": Entity("registration", "Registration", "diagnostic", "enum"),
    "sensor.cellular_bridge_local_ip_address": Entity(
        "local_ip", "Local IP address", "diagnostic", enabled=False
    ),
    "sensor.cellular_bridge_imei": Entity("imei", "IMEI", "diagnostic", enabled=False),
    "sensor.cellular_bridge_imsi": Entity("imsi", "IMSI", "diagnostic", enabled=False),
    "sensor.cellular_bridge_iccid": Entity("iccid", "ICCID", "diagnostic", enabled=False),
    "sensor.cellular_bridge_queue": Entity("queue", "Queue", None, None, "messages", M),
    "sensor.cellular_bridge_oldest_message": Entity(
        "oldest", "Oldest message", "diagnostic", "duration", "s", M
    ),
    "sensor.cellular_bridge_delivered": Entity("delivered", "Delivered", None, None, "messages", T),
    "sensor.cellular_bridge_failed": Entity("failed", "Failed", None, None, "messages", T),
    "sensor.cellular_bridge_data_today": Entity("data_today", "Data today", None, "data_size", "B", T),
    "sensor.cellular_bridge_data_this_month": Entity(
        "data_month", "Data this month", None, "data_size", "B", T
    ),
    "sensor.cellular_bridge_data_left_today": Entity("day_left", "Data left today", None, "data_size", "B"),
    "sensor.cellular_bridge_data_left_this_month": Entity(
        "month_left", "Data left this month", None, "data_size", "B"
    ),
    "sensor.cellular_bridge_sms_left_today": Entity("sms_day_left", "SMS left today", None, None, "SMS"),
    "sensor.cellular_bridge_sms_left_this_month": Entity(
        "sms_month_left", "SMS left this month", None, None, "SMS"
    ),
    "binary_sensor.cellular_bridge_budget": Entity("budget", "Budget", "diagnostic", "problem"),
    "sensor.cellular_bridge_cost_this_month": Entity(
        "cost_month", "Cost this month", None, "monetary", "EUR", "total"
    ),
    "sensor.cellular_bridge_last_sms": Entity("last_sms", "Last SMS"),
}


def seen(lab: Lab, entity: str, entry: dict[str, Any], identifier: str) -> Entity:
    """Return what Home Assistant shows of an entity."""
    attributes = lab.home.entity(entity).get("attributes", {})
    return Entity(
        entry["unique_id"].removeprefix(identifier + "_"),
        entry["original_name"],
        entry["entity_category"],
        attributes.get("device_class"),
        attributes.get("unit_of_measurement"),
        attributes.get("state_class"),
        entry["disabled_by"] is None,
    )


def test_one_tidy_device(lab: Lab) -> None:
    """One device with exactly these entities, each as the guidelines want it."""
    (device,) = (each for each in lab.home.devices() if each["name"] == DEVICE)
    assert (device["manufacturer"], device["model"]) == ("Hologram", "Hologram bridge (cellular-nova-u201)")
    assert device["sw_version"]
    ((domain, identifier),) = device["identifiers"]
    assert domain == "mqtt"
    registry = lab.home.registry(DEVICE)
    assert {name: seen(lab, name, entry, identifier) for name, entry in registry.items()} == ENTITIES


def test_statistics_and_repairs_find_nothing_wrong(lab: Lab) -> None:
    """The recorder can keep long-term statistics of every sensor, and no repair is proposed."""
    assert lab.home.ask("recorder/validate_statistics") == {}
    assert lab.home.ask("repairs/list_issues")["issues"] == []


def test_what_the_modem_says(lab: Lab) -> None:
    """Signal, operator, technology and registration follow the modem; what it does not know is unknown."""
    home, modem = lab.home, lab.modem
    assert home.state("sensor.cellular_bridge_operator") == "Simulated Mobile"
    assert home.state("sensor.cellular_bridge_technology") == "3G"
    modem.tell("signal", rssi=31)
    home.wait_state("sensor.cellular_bridge_signal_strength", "-51")
    home.wait_state("sensor.cellular_bridge_signal_quality", "100")
    modem.tell("signal", rssi=99)
    home.wait_state("sensor.cellular_bridge_signal_strength", "unknown")
    home.wait_state("sensor.cellular_bridge_signal_quality", "unknown")
    modem.tell("signal", rssi=17)
    home.wait_state("sensor.cellular_bridge_signal_strength", "-79")
    for number, name in ((2, "searching"), (0, "not_registered"), (1, "home"), (5, "roaming")):
        modem.tell("registration", stat=number)
        home.wait_state("sensor.cellular_bridge_registration", name)


def test_the_link_goes_down_and_comes_back(lab: Lab) -> None:
    """Without its SIM the link is down, and the attributes say why; they hold nothing that changes often."""
    home, link = lab.home, "binary_sensor.cellular_bridge_cellular"
    lab.modem.tell("sim", state="absent")
    found = home.wait_state(link, "off")
    eventually(lambda: home.entity(link)["attributes"]["code_name"] == "CLOUD_ERR_SIM", what="it says why")
    found = home.entity(link)
    assert "no SIM" in found["attributes"]["error"]
    home.wait_state("switch.cellular_bridge_connection", "unknown")
    lab.modem.tell("sim", state="ready")
    found = home.wait_state(link, "on", 60)
    assert found["attributes"]["error"] is None
    assert set(found["attributes"]) == {
        "code_name", "error", "since", "interface", "modem", "device_class", "friendly_name",
    }  # fmt: skip
    home.wait_state("switch.cellular_bridge_connection", "on")


def test_a_message_is_delivered_and_counted(lab: Lab) -> None:
    """Delivered, failed, data and the cloud's answer are shown; unknown before there was any."""
    home = lab.home
    assert home.state("binary_sensor.cellular_bridge_cloud") == "unknown"
    assert home.state("sensor.cellular_bridge_delivered") == "0"
    lab.client.publish("hologram/out/field", "21.5")
    lab.wait_event("message.sent", channel="cloud", topics=["field"])
    lab.client.publish("hologram/out/a//b", "x")
    attributes = lab.wait_event("message.rejected")
    assert "topic" in attributes["description"]
    lab.health()
    home.wait_state("sensor.cellular_bridge_delivered", "1")
    home.wait_state("sensor.cellular_bridge_failed", "1")
    home.wait_state("binary_sensor.cellular_bridge_cloud", "on")
    lab.client.wait_for(lambda: lab.client.health()["results"]["delivered"], what="the health counts it")
    spent = lab.client.health()["bytes"]["today"]
    assert spent["up"] + spent["down"] > 10
    home.wait_state("sensor.cellular_bridge_data_today", str(spent["up"] + spent["down"]))
    home.wait_state("sensor.cellular_bridge_data_this_month", str(spent["up"] + spent["down"]))


def test_what_is_left_and_what_it_costs(lab: Lab) -> None:
    """Both follow each message, a text is counted by itself, and a bound that holds is a problem.

    What is left is unknown while a command has lifted the bound.
    """
    home, problem = lab.home, "binary_sensor.cellular_bridge_budget"
    left, cost = "sensor.cellular_bridge_data_left_today", "sensor.cellular_bridge_cost_this_month"
    lab.client.publish("hologram/out/field", "21.5")
    lab.client.publish("hologram/sms/15551234567", "counted")
    lab.wait_event("sms.sent")
    lab.health()
    eventually(lambda: home.state("sensor.cellular_bridge_sms_left_today") == "19", 20, what="one SMS less")
    told = lab.client.health()
    assert home.state("sensor.cellular_bridge_sms_left_this_month") == "89"
    home.wait_state(left, str(DAY - told["budget"]["day"]["use"]))
    home.wait_state("sensor.cellular_bridge_data_left_this_month", str(told["budget"]["month"]["left"]))
    assert float(home.wait_state(cost, str(told["cost"]["month"]))["state"]) > 0.19
    assert home.state(problem) == "off"
    lab.client.publish("hologram/budget/set", '{"day": 1}')
    lab.client.publish("hologram/out/field", "waits")
    home.wait_state(problem, "on")
    home.wait_state(left, "0")
    lab.client.publish("hologram/budget/set", '{"day": null}')
    home.wait_state(left, "unknown")
    home.wait_state(problem, "off")
    lab.client.publish("hologram/budget/set", "reset")
    eventually(lambda: home.state(left) not in ("unknown", None), 20, what="the bound is back")


def test_a_queue_that_waits(lab: Lab) -> None:
    """While the cloud is away the queue and its age are shown, and the cloud is disconnected."""
    home = lab.home
    lab.cloud.stop()
    lab.client.publish("hologram/out/field", "waits")
    lab.client.wait_health("degraded")
    home.wait_state("binary_sensor.cellular_bridge_cloud", "off")
    lab.health()
    home.wait_state("sensor.cellular_bridge_queue", "1")
    eventually(lambda: _age(lab) > 1, 20, what="the age of the oldest message grows")
    lab.cloud.start()
    home.call("button.press", "button.cellular_bridge_flush_queue")
    lab.wait_event("message.sent", channel="cloud")
    lab.health()
    home.wait_state("sensor.cellular_bridge_queue", "0")
    home.wait_state("sensor.cellular_bridge_oldest_message", "0")


def _age(lab: Lab) -> float:
    lab.health()
    return float(lab.home.state("sensor.cellular_bridge_oldest_message") or 0)


@pytest.mark.parametrize(
    "text",
    [
        "pump 3 on",
        """{"a": 'b'} {{ states('sun.sun') }} {% raw %} \\ "quoted" 😀 é""",
        "long 😀 " * 80,
        "two\nlines",
    ],
    ids=["plain", "awkward", "long", "lines"],
)
def test_an_sms_comes_in(lab: Lab, text: str) -> None:
    """The newest SMS is shown, up to 255 characters; all of it, and who sent it, is in the attributes."""
    lab.modem.tell("sms", from_=TEXTER, text=text)
    lab.wait_event("sms.received", **{"from": TEXTER})
    eventually(lambda: _last(lab)["attributes"].get("body") == text, 20, what="the SMS is shown")
    assert _last(lab)["state"] == text[:255].strip()
    assert _last(lab)["attributes"]["from"] == TEXTER


def _last(lab: Lab) -> dict[str, Any]:
    return lab.home.entity("sensor.cellular_bridge_last_sms")


def test_what_is_no_text_is_unknown(lab: Lab) -> None:
    """An SMS of bytes has no text: the state is unknown rather than an earlier one's."""
    earlier = lab.client.state("hologram/in/sms/last")
    of_bytes = {**earlier, "id": "bytes", "body": None, "data_base64": "AAE="}
    lab.client.publish("hologram/in/sms/last", json.dumps(of_bytes))
    found = lab.home.wait_state("sensor.cellular_bridge_last_sms", "unknown")
    assert found["attributes"]["data_base64"] == "AAE="


def test_a_message_comes_in(lab: Lab) -> None:
    """What the cloud sends to the inbound port is an event."""
    with socket.create_connection(("127.0.0.1", lab.inbound)) as sender:
        sender.sendall(b"open the gate")
    lab.wait_event("message.received")


def test_every_listed_type_is_told_and_no_other(lab: Lab) -> None:
    """Each type that is listed makes an event with its fields; the others pass by without a complaint."""
    listed = lab.home.entity("event.cellular_bridge_messages")["attributes"]["event_types"]
    assert {"message.received", "message.sent", "message.rejected", "sms.received", "sms.report"} <= set(
        listed
    )
    others = ("message.queued", "network.connected", "socket.closed", "modem.recovery", "store.full")
    for number, event_type in enumerate([*listed, *others, "message.sent"]):
        told = {"event_type": event_type, "at": "2026-01-01T00:00:00.000Z", "id": f"told-{number}"}
        lab.client.publish("hologram/event", json.dumps(told), qos=0)
        if event_type in listed:
            lab.wait_event(event_type, id=f"told-{number}")


def test_wifi_with_and_without_a_connection(lab: Lab) -> None:
    """Signal and network name of Wi-Fi are shown, and unknown where there is no connection."""
    topics = Topics("box", "state", "health", "network", "event", "last")
    told = payload(Device("box", "1", "wifi", "Box"), topics)["cmps"]
    signal, ssid = told["wifi_signal"]["val_tpl"], told["wifi_ssid"]["val_tpl"]
    connection = {"ssid": "Field", "ap": "02:00:00:00:00:01", "avg_signal_dbm": -61, "max_signal_dbm": -58}
    assert lab.home.render(signal, {"wifi": connection}) == "-61"
    assert lab.home.render(ssid, {"wifi": connection}) == "Field"
    for nothing in ({}, {"wifi": None}, {"wifi": dict.fromkeys(connection)}):
        assert lab.home.render(signal, nothing) == lab.home.render(ssid, nothing) == "None"


def test_disabled_entities_have_their_values_once_enabled(lab: Lab) -> None:
    """Who enables the identity and the address sees them; this loads the integration anew."""
    hidden = {name: entity.key for name, entity in ENTITIES.items() if not entity.enabled}
    for name in hidden:
        lab.home.ask("config/entity_registry/update", entity_id=name, disabled_by=None)
    (entry,) = lab.home.get("/api/config/config_entries/entry?domain=mqtt")
    lab.home.post(f"/api/config/config_entries/entry/{entry['entry_id']}/reload", {})
    status = lab.client.state("hologram/network/status")
    for name, key in hidden.items():
        lab.home.wait_state(name, status[key])
