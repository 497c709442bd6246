"""The plain way: a message in, its bytes at the cloud, its result, and the retained states."""

import json
import re

import pytest

from tests.harness import BridgeProcess, Client, Cloud, Mosquitto, eventually

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_a_message_reaches_the_cloud_and_its_sender_learns_of_it(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Payload and topic arrive exactly; the result has every field of the contract; two events tell of it."""
    cloud.start()
    bridge.start()
    client.publish("hologram/out/sensors/kitchen", b'{"temperature":21.5,"text":"\xc3\xa9"}')
    result = client.wait_for(client.results)[0]
    (arrived,) = cloud.arrived
    assert (arrived.payload, arrived.topics) == (
        b'{"temperature":21.5,"text":"\xc3\xa9"}',
        ("sensors/kitchen",),
    )
    assert set(result) == {
        "id", "channel", "to", "topics", "state", "code", "description", "attempts", "queued_at",
        "finished_at", "bytes_up", "bytes_down",
    }  # fmt: skip
    assert result["channel"] == "cloud"
    assert result["to"] is None
    assert result["topics"] == ["sensors/kitchen"]
    assert (result["state"], result["code"], result["attempts"]) == ("delivered", 0, 1)
    assert TIME.fullmatch(result["queued_at"])
    assert TIME.fullmatch(result["finished_at"])
    assert result["queued_at"] <= result["finished_at"]
    assert 200 < result["bytes_up"] < 600
    assert 100 < result["bytes_down"] < 400
    (queued,), (sent,) = (
        client.wait_for(lambda: client.events("message.queued")),
        client.wait_for(lambda: client.events("message.sent")),
    )
    for event in (queued, sent):
        assert (event["id"], event["channel"], event["topics"]) == (
            result["id"],
            "cloud",
            ["sensors/kitchen"],
        )
        assert TIME.fullmatch(event["at"])


def test_hologram_out_alone_has_no_topic(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """``hologram/out`` sends without a topic."""
    cloud.start()
    bridge.start()
    client.publish("hologram/out", b"plain")
    assert client.wait_for(client.results)[0]["topics"] == []
    assert [(each.payload, each.topics) for each in cloud.arrived] == [(b"plain", ())]


def test_hologram_send_takes_topics_and_options(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """The JSON command sends text or base64 under several topics and under the id that it names."""
    cloud.start()
    bridge.start()
    client.send({"data": "a", "topics": ["x", "y/z"], "id": "one", "priority": "high", "expires": "10m"})
    client.send({"data_base64": "/wA=", "topics": ["raw"], "id": "two"})
    one, two = client.wait_result("one"), client.wait_result("two")
    assert (one["state"], one["topics"]) == ("delivered", ["x", "y/z"])
    assert (two["state"], two["topics"]) == ("delivered", ["raw"])
    by_topic = {each.topics: each.payload for each in cloud.arrived}
    assert by_topic == {("x", "y/z"): b"a", ("raw", "base64"): b"/wA="}


def test_a_cloud_sms_goes_out_once(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """By JSON and by ``hologram/sms/<digits>``; the result names the recipient, an event says sent."""
    cloud.start()
    bridge.start()
    client.publish("hologram/sms", json.dumps({"to": "+15551234567", "body": "hello", "id": "s1"}))
    client.publish("hologram/sms/15557654321", "text")
    first = client.wait_result("s1")
    assert (first["state"], first["channel"], first["to"]) == ("delivered", "sms", "+15551234567")
    client.wait_for(lambda: len(client.events("sms.sent")) == 2)
    assert sorted((each.to, each.payload) for each in cloud.arrived) == [
        ("+15551234567", b"hello"),
        ("+15557654321", b"text"),
    ]


def test_an_sms_without_a_clear_answer_is_unconfirmed_and_not_sent_again(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Bytes were handed over and garbage came back: unconfirmed, one request in all."""
    cloud.start("--fault", "garbage:1")
    bridge.start()
    client.publish("hologram/sms", json.dumps({"to": "+15551234567", "body": "hello", "id": "s1"}))
    assert client.wait_result("s1")["state"] == "unconfirmed"
    assert client.wait_for(lambda: client.events("sms.unconfirmed"))[0]["id"] == "s1"
    bridge.stop()
    assert len(cloud.arrived) == 1


def test_an_sms_waits_for_a_cloud_that_is_absent(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """No connection means no byte was handed over: it is kept and sent once the cloud is there."""
    bridge.start()
    client.publish("hologram/sms", json.dumps({"to": "+15551234567", "body": "hello", "id": "s1"}))
    client.wait_health("degraded")
    assert client.results() == []
    cloud.start()
    assert client.wait_result("s1", 20)["state"] == "delivered"
    assert len(cloud.arrived) == 1


def test_an_sms_under_way_at_a_crash_is_unconfirmed(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """The durable mark before the first byte: after kill -9 it is not sent again, and its sender is told."""
    cloud.start("--delay", "5")
    bridge.configure(cloud={"timeout": 20})
    bridge.start()
    client.publish("hologram/sms", json.dumps({"to": "+15551234567", "body": "hello", "id": "s1"}))
    eventually(lambda: cloud.arrived, what="the request is at the cloud")
    bridge.kill()
    bridge.start()
    assert client.wait_result("s1")["state"] == "unconfirmed"
    bridge.stop()
    assert len(cloud.arrived) == 1


def test_the_retained_states_are_there_for_late_comers(
    bridge: BridgeProcess, cloud: Cloud, mosquitto: Mosquitto
) -> None:
    """State, info without secrets, health and network status are retained and as the contract says."""
    cloud.start()
    bridge.configure(credentials={"devicekey": "s3cret77"})
    bridge.start()
    with Client(mosquitto.port, "hologram/#") as late:
        late.wait_for(lambda: late.last("hologram/network/status") and late.last("hologram/bridge/info"))
        late.wait_for(lambda: late.last("hologram/bridge/health"))
        for topic in ("bridge/state", "bridge/info", "bridge/health", "network/status"):
            (message,) = late.messages(f"hologram/{topic}")
            assert message.retain, topic
            assert b"s3cret77" not in message.payload
        info = late.state("hologram/bridge/info")
        assert info["version"]
        assert "cloud" in info["capabilities"]
        assert info["configuration"]["cloud"]["port"] == cloud.port
        health = late.health()
        assert (health["state"], health["queue"]["messages"], health["last_error"]) == ("ok", 0, None)
        assert health["memory"] > 1_000_000
        status = late.state("hologram/network/status")
        assert (status["state"], status["code"], status["code_name"]) == ("unmanaged", 1, "CLOUD_CONNECTED")
        assert status["signal"] == {"rssi_dbm": None, "percent": None, "ber": None}
        assert {status[name] for name in ("imei", "modem", "local_ip", "operator", "since", "error")} == {
            None
        }
    assert "s3cret77" not in bridge.said()


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
def test_offline_is_said_on_a_clean_stop_and_by_the_will(
    bridge: BridgeProcess, client: Client, protocol: object
) -> None:
    """SIGTERM ends with 0 and ``offline``; kill -9 leaves it to the will; both are retained."""
    bridge.configure(mqtt={"protocol": protocol})

    def state() -> bytes:
        last = client.last("hologram/bridge/state")
        return last.payload if last else b""

    bridge.start()
    client.wait_for(lambda: state() == b"online")
    assert bridge.stop() == 0
    client.wait_for(lambda: state() == b"offline", 2)
    bridge.start()
    client.wait_for(lambda: state() == b"online")
    bridge.kill()
    client.wait_for(lambda: state() == b"offline", 2)
    with Client(bridge.broker.port, "hologram/bridge/state") as late:
        late.wait_for(lambda: late.last("hologram/bridge/state"))
        (message,) = late.messages("hologram/bridge/state")
        assert (message.payload, message.retain) == (b"offline", True)
