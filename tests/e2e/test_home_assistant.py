"""What Home Assistant is told, on the wire; that it understands it is tested with Home Assistant itself."""

from pathlib import Path
from typing import Any

import pytest

from tests.harness import BridgeProcess, Client, Keeper, Mosquitto, eventually
from tests.harness.modem import SimModem

OPERATOR = {"name": "Operator", "to": "+15551234567"}
NOTIFY = "notify_15551234567"
HEALTH = {"cloud", "queue", "oldest", "delivered", "failed", "data_today", "data_month", "flush"}
MESSAGES = {"activity", "last_sms", "notify_cloud"}
CELLULAR = {
    "connectivity", "connection", "reconnect", "modem_reset", "local_ip", "signal", "signal_percent",
    "operator", "technology", "registration", "imei", "imsi", "iccid",
}  # fmt: skip


@pytest.fixture
def watcher(keeper: Keeper, mosquitto: Mosquitto) -> Client:
    """A client that hears what Home Assistant would."""
    watcher = Client(mosquitto.port, "homeassistant/#", "elsewhere/#", "hologram/#").connect()
    keeper.finally_(watcher.close)
    return watcher


def announced(watcher: Client, prefix: str = "homeassistant") -> tuple[str, dict[str, Any]]:
    """Return the topic and the payload of the announcement."""
    topic = watcher.wait_for(lambda: _topic(watcher, prefix), what="an announcement")
    return topic, watcher.state(topic)


def _topic(watcher: Client, prefix: str) -> str:
    return next((topic for topic in watcher.topics() if topic.startswith(f"{prefix}/device/")), "")


def configure(bridge: BridgeProcess, **keys: Any) -> None:
    """Start the bridge with ``keys`` of ``home_assistant``, anew if it runs."""
    bridge.stop()
    bridge.configure(home_assistant=keys)
    bridge.start()


def test_one_device_with_all_its_entities(bridge: BridgeProcess, watcher: Client) -> None:
    """The announcement is retained, at QoS 1, and what is not managed is not in it."""
    configure(bridge, enabled=True, notify=[OPERATOR])
    topic, device = announced(watcher)
    assert (device["dev"]["name"], device["dev"]["mf"]) == ("Cellular bridge", "Hologram")
    assert device["o"]["name"] == "hologram-bridge"
    assert device["avty"] == [{"t": "hologram/bridge/state"}]
    components, (identifier,) = device["cmps"], device["dev"]["ids"]
    assert topic == f"homeassistant/device/{identifier}/config"
    assert set(components) == {*HEALTH, *MESSAGES, NOTIFY}
    assert components[NOTIFY]["cmd_t"] == "hologram/sms/15551234567"
    with Client(bridge.broker.port, "homeassistant/#") as late:
        assert (late.wait_last(topic).retain, late.wait_last(topic).qos) == (True, 1)


def test_a_modem_brings_its_entities(
    keeper: Keeper, tmp_path: Path, bridge: BridgeProcess, watcher: Client
) -> None:
    """With a cellular interface there are signal, identity, connection and reset, on the bridge's topics."""
    modem = SimModem(keeper, tmp_path / "modem", "bg96")
    bridge.configure(
        network={"interface": "cellular-bg96", "device": [str(modem.at), str(modem.dial)]},
        mqtt={"prefix": "elsewhere/box"},
    )
    configure(bridge, enabled=True)
    _, device = announced(watcher)
    components = device["cmps"]
    assert set(components) == {*HEALTH, *MESSAGES, *CELLULAR}
    hidden = {key for key, each in components.items() if each.get("en") is False}
    assert hidden == {"imei", "imsi", "iccid", "local_ip"}
    topics = {each[key] for each in components.values() for key in ("stat_t", "cmd_t") if key in each}
    assert {topic[:14] for topic in topics} == {"elsewhere/box/"}
    assert device["avty"] == [{"t": "elsewhere/box/bridge/state"}]


def test_it_is_told_again_after_its_birth_message(bridge: BridgeProcess, watcher: Client) -> None:
    """What it missed is told when it starts: what is gone once more, its end, the states; then no more."""
    configure(bridge, enabled=True, notify=[OPERATOR])
    topic, _ = announced(watcher)
    configure(bridge, notify=[])
    watcher.wait_for(lambda: watcher.state(topic)["cmps"][NOTIFY] == {"p": "notify"}, what="it is removed")
    told, states = len(watcher.messages(topic)), len(watcher.messages("hologram/bridge/info"))
    watcher.publish("homeassistant/status", "offline", qos=0)
    watcher.publish("homeassistant/status", "online", qos=0)
    watcher.wait_for(lambda: len(watcher.messages(topic)) >= told + 2, 20, what="it is announced again")
    recalled, removed = (each["cmps"][NOTIFY] for each in watcher.json(topic)[told : told + 2])
    assert recalled["cmd_t"] == "hologram/removed"
    assert removed == {"p": "notify"}
    watcher.wait_for(
        lambda: len(watcher.messages("hologram/bridge/info")) > states, 20, what="the states come again"
    )
    configure(bridge, notify=[])
    watcher.wait_for(lambda: NOTIFY not in watcher.state(topic)["cmps"], what="it is not named any more")


def test_what_was_announced_is_cleaned_up(
    bridge: BridgeProcess, watcher: Client, mosquitto: Mosquitto
) -> None:
    """Another prefix, and switching it off, take back what was announced: once, when there is a broker."""
    configure(bridge, enabled=True)
    topic, _ = announced(watcher)
    configure(bridge, prefix="elsewhere")
    moved, _ = announced(watcher, "elsewhere")
    watcher.wait_for(lambda: watcher.wait_last(topic).payload == b"", what="the old place is empty")
    bridge.stop()
    mosquitto.stop()
    bridge.configure(home_assistant={"enabled": False})
    bridge.start(wait=False)
    eventually(lambda: "no broker" in bridge.said(since_start=True), what="it looks for the broker")
    bridge.kill()
    mosquitto.start()
    watcher.wait_connected()
    bridge.start()
    watcher.wait_for(lambda: watcher.wait_last(moved).payload == b"", 20, what="the new place is empty too")
    emptied = len(watcher.messages(topic)), len(watcher.messages(moved))
    configure(bridge)
    watcher.publish("hologram/queue/set", "resume")
    watcher.wait_results(1)
    assert (len(watcher.messages(topic)), len(watcher.messages(moved))) == emptied
