"""The discovery payload: every component is whole, and what is gone can be removed."""

import json

import pytest

from bridge.protocol.api import discovery
from bridge.protocol.api.discovery import Device, Recipient, Topics

TOPICS = Topics("box", "box/state", "box/health", "box/network", "box/event", "box/in/sms/last")
KINDS = ("", "cellular", "wifi")
REQUIRED = {
    "binary_sensor": {"stat_t", "val_tpl"},
    "sensor": {"stat_t", "val_tpl"},
    "event": {"stat_t", "evt_typ"},
    "switch": {"cmd_t", "stat_t", "pl_on", "pl_off", "stat_on", "stat_off"},
    "button": {"cmd_t", "pl_prs"},
    "notify": {"cmd_t"},
}


def device(kind: str, *recipients: str) -> Device:
    people = tuple(Recipient(f"To {each}", each) for each in recipients)
    return Device("box_1", "1.0", kind, "Box", people, ("day", "month", "sms_day", "sms_month"), "USD")


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_is_whole(kind: str) -> None:
    """Each has its platform's keys, its own name and unique id, QoS 1, and topics below the prefix."""
    told = discovery.payload(device(kind, "+15551234567"), TOPICS)
    components = told["cmps"]
    for key, each in components.items():
        assert REQUIRED[each["p"]] <= set(each), key
        assert (each["uniq_id"], each["qos"]) == (f"box_1_{key}", 1)
        assert all(each[topic].startswith("box/") for topic in ("stat_t", "cmd_t") if topic in each)
    names = [each["name"] for each in components.values()]
    assert len(set(names)) == len(names)
    assert "object_id" not in json.dumps(told)
    assert "default_entity_id" not in json.dumps(told)


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_can_be_removed_and_recalled(kind: str) -> None:
    """What is gone is its platform alone; recalled it has what the platform needs, and its unique id."""
    removed = discovery.platforms(discovery.payload(device(kind, "+15551234567"), TOPICS))
    empty = device("")
    kept = set(discovery.platforms(discovery.payload(empty, TOPICS)))
    gone = {key: platform for key, platform in removed.items() if key not in kept}
    told = discovery.payload(empty, TOPICS, removed=gone)["cmps"]
    assert {key: told[key] for key in gone} == {key: {"p": platform} for key, platform in gone.items()}
    assert set(discovery.platforms({"cmps": told})) == kept
    recalled = discovery.recalled(empty, TOPICS, removed)["cmps"]
    for key, platform in removed.items():
        assert recalled[key]["uniq_id"] == f"box_1_{key}"
        assert (REQUIRED[platform] & {"stat_t", "cmd_t", "evt_typ"}) - {"stat_t"} <= set(recalled[key])


def test_a_box_with_a_backup_shows_which_way_messages_take() -> None:
    """Others have but one."""
    told = discovery.payload(device("cellular")._replace(backs_up=True), TOPICS)["cmps"]
    assert (told["path"]["stat_t"], told["path"]["ops"]) == ("box/network", ["own", "modem"])
    assert "path" not in discovery.payload(device("cellular"), TOPICS)["cmps"]


def test_recipients_have_their_number_as_key() -> None:
    """A recipient who is renamed is the same entity; the topic cannot hold a plus sign."""
    (key,) = (key for key in discovery.payload(device("", "+15551234567"), TOPICS)["cmps"] if "1555" in key)
    assert key == "notify_15551234567"
    assert (
        discovery.payload(device("", "+15551234567"), TOPICS)["cmps"][key]["cmd_t"] == "box/sms/15551234567"
    )


def test_money_is_announced_where_there_is_a_bound_or_a_price() -> None:
    """What is left of each bound, a problem while one holds, the cost in its currency."""
    plain = set(discovery.payload(Device("box_1", "1.0", "", "Box"), TOPICS)["cmps"])
    found = discovery.payload(Device("box_1", "1.0", "", "Box", (), ("month",), "EUR"), TOPICS)["cmps"]
    assert set(found) - plain == {"month_left", "budget", "cost_month"}
    assert (found["cost_month"]["unit_of_meas"], found["budget"]["dev_cla"]) == ("EUR", "problem")
