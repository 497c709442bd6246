"""MQTT 5 properties, MQTT 3.1.1, and retained commands."""

import json

import pytest

from tests.harness import BridgeProcess, Client, Cloud


def test_the_response_topic_gets_the_result_too(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Response Topic and Correlation Data bring the same result to the sender."""
    cloud.start()
    bridge.start()
    properties = {"ResponseTopic": "reply/me", "CorrelationData": b"\x00\xffabc"}
    client.publish("hologram/out/a", b"x", properties=properties)
    reply = client.wait_last("reply/me")
    result = client.wait_for(client.results)[0]
    assert reply.json() == result
    assert reply.properties["CorrelationData"] == b"\x00\xffabc"
    assert result["state"] == "delivered"


def test_a_rejected_command_answers_on_its_response_topic(bridge: BridgeProcess, client: Client) -> None:
    """A message and a control command that are refused here tell the sender where it asked to be told."""
    bridge.start()
    for topic, payload, channel in (
        ("hologram/out/no spaces", b"x", "cloud"),
        ("hologram/send", b"[]", "cloud"),
        ("hologram/queue/set", b"explode", "queue"),
        ("hologram/network/set", b'{"command": "connect", "timeout": "long"}', "network"),
    ):
        where = f"reply/{topic}"
        client.publish(topic, payload, properties={"ResponseTopic": where, "CorrelationData": b"7"})
        reply = client.wait_last(where)
        assert (reply.json()["state"], reply.json()["channel"]) == ("rejected", channel)
        assert reply.properties["CorrelationData"] == b"7"


def test_control_commands_answer_on_their_response_topic(bridge: BridgeProcess, client: Client) -> None:
    """Pausing with a Response Topic brings the result there as well."""
    bridge.start()
    client.publish("hologram/queue/set", b"pause", properties={"ResponseTopic": "reply/queue"})
    reply = client.wait_last("reply/queue")
    assert (reply.json()["state"], reply.json()["channel"]) == ("done", "queue")


@pytest.mark.parametrize("topic", ["hologram/result", "hologram/out/loop", "hologram"])
def test_a_response_topic_under_the_prefix_is_refused(
    bridge: BridgeProcess, cloud: Cloud, client: Client, topic: str
) -> None:
    """It could make the bridge talk to itself: the message is rejected, and nothing is sent."""
    cloud.start()
    bridge.start()
    client.publish("hologram/out/a", b"x", properties={"ResponseTopic": topic}, user={"id": "me"})
    result = client.wait_result("me")
    assert result["state"] == "rejected"
    assert "response_topic" in result["description"]
    client.publish("hologram/out/a", b"y", user={"id": "after"})
    client.wait_result("after")
    assert cloud.payloads() == [b"y"]
    assert len(client.results()) == 2


def test_user_properties_do_what_the_json_keys_do(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """``id``, ``topics`` and ``priority`` are honoured on ``hologram/out``; ``expires`` is a deadline."""
    bridge.start()
    client.publish("hologram/out/a", b"1", user={"id": "low", "priority": "low", "topics": "b,c/d"})
    client.publish("hologram/out/a", b"2", user={"id": "short", "expires": "1s"})
    assert client.wait_result("short")["state"] == "expired"
    (listed,) = bridge.queue("list")["messages"]
    assert (listed["id"], listed["priority"], listed["topics"]) == ("low", "low", ["a", "b", "c/d"])
    cloud.start()
    assert client.wait_result("low", 20)["state"] == "delivered"
    assert [(each.payload, each.topics) for each in cloud.accepted] == [(b"1", ("a", "b", "c/d"))]


def test_the_earliest_of_several_deadlines_counts(bridge: BridgeProcess, client: Client) -> None:
    """Message Expiry Interval, ``expires`` and the route's: each of them can be the one that ends it."""
    bridge.configure(routes=[{"match": "quick/#", "expires": "1s"}])
    bridge.start()
    for name, topic, properties, user in (
        ("interval", "a", {"MessageExpiryInterval": 1}, {"expires": "1h"}),
        ("property", "a", {"MessageExpiryInterval": 3600}, {"expires": "1s"}),
        ("route", "quick/a", {"MessageExpiryInterval": 3600}, {"expires": "1h"}),
    ):
        client.publish(f"hologram/out/{topic}", b"x", properties=properties, user={"id": name, **user})
    for name in ("interval", "property", "route"):
        assert client.wait_result(name, 8)["state"] == "expired"
    assert {each["id"] for each in client.events("message.expired")} == {"interval", "property", "route"}


@pytest.mark.parametrize(
    ("field", "user"),
    [
        ("priority", {"priority": "urgent"}),
        ("expires", {"expires": "soon"}),
        ("topics", {"topics": "a,,b"}),
        ("id", {"id": "x" * 129}),
    ],
)
def test_a_bad_user_property_is_named(
    bridge: BridgeProcess, client: Client, field: str, user: dict[str, str]
) -> None:
    """The result of a message with a property that cannot be read says which one."""
    bridge.start()
    client.publish("hologram/out/a", b"x", user=user)
    result = client.wait_for(client.results)[0]
    assert result["state"] == "rejected"
    assert result["description"].startswith(field)


def test_mqtt_3_1_1_does_the_same_without_properties(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """The same topics and states; a sender with MQTT 5 is served, its properties cannot be seen."""
    cloud.start()
    bridge.configure(mqtt={"protocol": "3.1.1"})
    bridge.start()
    with Client(bridge.broker.port, "hologram/result", version5=False) as old:
        old.publish("hologram/out/a/b", b"old")
        assert old.wait_for(old.results)[0]["state"] == "delivered"
    client.publish("hologram/send", json.dumps({"data": "new", "id": "n"}), user={"priority": "low"})
    assert client.wait_result("n")["state"] == "delivered"
    assert cloud.payloads() == [b"old", b"new"]


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
def test_a_stored_retained_command_is_never_acted_on(
    bridge: BridgeProcess, cloud: Cloud, client: Client, protocol: object
) -> None:
    """What the broker kept from before is nobody's wish of now; published live it is acted on once."""
    cloud.start()
    bridge.configure(mqtt={"protocol": protocol})
    client.publish("hologram/out/kept", b"old wish", retain=True)
    client.publish("hologram/queue/set", b"pause", retain=True)
    bridge.start()
    client.publish("hologram/out/live", b"new wish", retain=True)
    assert client.wait_for(client.results)[0]["topics"] == ["live"]
    for _ in range(2):
        assert bridge.stop() == 0
        bridge.start()
    client.publish("hologram/out/last", b"end")
    client.wait_for(lambda: len(client.results()) == 2)
    assert cloud.payloads() == [b"new wish", b"end"]
