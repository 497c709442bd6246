"""A broker that is absent, refuses, vanishes and returns."""

from functools import partial
from pathlib import Path

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually


def test_a_broker_that_is_absent_at_start(
    bridge: BridgeProcess, mosquitto: Mosquitto, cloud: Cloud, client: Client
) -> None:
    """The bridge says so and waits; the commands work meanwhile; it is there when the broker is."""
    cloud.start()
    mosquitto.stop()
    bridge.start(wait=False)
    eventually(lambda: f"no broker at 127.0.0.1:{mosquitto.port}" in bridge.said(), what="it says so")
    stats = bridge.queue("stats")
    assert stats["last_error"]["component"] == "mqtt"
    mosquitto.start()
    bridge.wait_online(20)
    client.wait_connected()
    client.publish("hologram/out/a", b"x", user={"id": "m"})
    assert client.wait_result("m")["state"] == "delivered"


def test_a_broker_that_refuses(keeper: Keeper, cloud: Cloud, tmp_path: Path) -> None:
    """A wrong password: the log names the keys to check, and not the password; the right one works."""
    broker = Mosquitto(keeper, tmp_path / "mosquitto", users={"box": "right-word"})
    broker.start()
    bridge = BridgeProcess(keeper, tmp_path / "bridge", broker, cloud.port)
    bridge.configure(mqtt={"username": "box", "password": "wrong-word"})
    bridge.start(wait=False)
    eventually(lambda: "the broker refused the connection" in bridge.said(), what="it says so")
    assert "mqtt.password" in bridge.said()
    assert "wrong-word" not in bridge.said()
    assert bridge.running
    assert bridge.queue("stats")["last_error"]["component"] == "mqtt"
    assert bridge.stop() == 0
    cloud.start()
    bridge.configure(mqtt={"password": "right-word"})
    bridge.start()
    with Client(broker.port, "hologram/#", user=("box", "right-word")) as client:
        client.publish("hologram/out/a", b"x", user={"id": "m"})
        assert client.wait_result("m")["state"] == "delivered"
        assert b"right-word" not in b"".join(each.payload for each in client.messages("hologram/bridge/info"))
    assert "right-word" not in bridge.said()


def test_a_broker_that_vanishes_and_returns(
    bridge: BridgeProcess, mosquitto: Mosquitto, cloud: Cloud, client: Client
) -> None:
    """Sending goes on without it; the results are kept, and told once each when it is back."""
    bridge.start()
    for number in range(10):
        client.publish("hologram/out/a", str(number), user={"id": f"m{number}"})
    client.wait_for(lambda: len(client.events("message.queued")) == 10)
    mosquitto.stop()
    cloud.start()
    eventually(lambda: len(cloud.accepted) == 10, 20, what="all are sent without the broker")
    mosquitto.start()
    bridge.wait_online(20)
    client.wait_connected()
    client.wait_results(10, 20)
    client.publish("hologram/out/a", b"end", user={"id": "end"})
    client.wait_result("end")
    assert [each["id"] for each in client.results()] == [*(f"m{number}" for number in range(10)), "end"]
    assert client.health()["sessions_lost"] == 0
    assert client.wait_last("hologram/bridge/state").payload == b"online"


def test_a_broker_that_loses_the_session_is_told_of(
    bridge: BridgeProcess, mosquitto: Mosquitto, cloud: Cloud, client: Client
) -> None:
    """Log and health say that a session was lost; what the bridge held is delivered; commands work again."""
    bridge.start()
    for number in range(10):
        client.publish("hologram/out/a", str(number))
    client.wait_for(lambda: len(client.events("message.queued")) == 10)
    mosquitto.kill()
    mosquitto.database.unlink(missing_ok=True)
    mosquitto.start()
    bridge.wait_online(20)
    client.wait_connected()
    client.wait_for(lambda: client.health().get("sessions_lost") == 1, what="health counts it")
    assert "the broker lost our session" in bridge.said()
    assert "session" in client.health()["last_error"]["description"]
    cloud.start()
    client.publish("hologram/out/a", b"after", user={"id": "after"})
    client.publish("hologram/queue/set", b'{"command": "flush", "id": "flush"}')
    assert client.wait_result("flush")["state"] == "done"
    assert client.wait_result("after", 20)["state"] == "delivered"
    assert cloud.payloads() == [*(str(number).encode() for number in range(10)), b"after"]


def test_the_first_connection_is_no_lost_session(
    bridge: BridgeProcess, mosquitto: Mosquitto, client: Client
) -> None:
    """A new bridge at a broker that never saw it has lost nothing, and says nothing of the kind."""
    bridge.start()
    assert client.wait_for(client.health)["sessions_lost"] == 0
    assert "lost" not in bridge.said()


def test_what_is_published_while_the_bridge_is_down_waits_in_the_broker(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """The session is persistent from the first connection on, over a stop and over a crash."""
    cloud.start()
    bridge.start()
    for number in (0, 1):
        if number == 0:
            bridge.stop()
        else:
            bridge.kill()
        client.publish("hologram/out/a", f"{number}")
        bridge.start()
        client.wait_results(number + 1)
    assert cloud.payloads() == [b"0", b"1"]


def test_another_prefix_obeys_nothing_of_the_one_before(
    bridge: BridgeProcess, mosquitto: Mosquitto, cloud: Cloud
) -> None:
    """What waited under it is refused in so many words, and what comes later is none of this bridge's."""
    cloud.start()
    bridge.start()
    assert bridge.stop() == 0
    with Client(mosquitto.port, "#") as client:
        client.publish("hologram/queue/set", "pause", user={"id": "waited"})
        client.publish("hologram/out/a", "x", user={"id": "message"})
        bridge.configure(mqtt={"prefix": "devices1"})  # as long as the one before
        bridge.start()
        for name in ("waited", "message"):
            result = client.wait_for(partial(client.results, name, "devices1"))[0]
            assert (result["state"], "/hologram/" in result["description"]) == ("rejected", True)
        client.publish("hologram/queue/set", '{"command": "pause", "id": "later"}')
        client.publish("hologram/out/a", "x", user={"id": "later-message"})
        client.publish("devices1/queue/set", '{"command": "flush", "id": "ours"}')
        client.publish("devices1/out/a", "y", user={"id": "our-message"})
        for name in ("ours", "our-message"):
            client.wait_for(partial(client.results, name, "devices1"))
    assert {each["id"] for each in client.results(prefix="devices1")} == {
        "waited",
        "message",
        "ours",
        "our-message",
    }
    assert [each.payload for each in cloud.accepted] == [b"y"]
    assert bridge.queue("stats")["queue"]["paused"] is False
