"""Events: each kind that needs no modem, when it happens and with what."""

import socket

from tests.docs.pages import page, quoted
from tests.harness import BridgeProcess, Client, Cloud


def kinds(client: Client, message_id: str) -> list[str]:
    """Return the types of the events about one message, in order."""
    return [event["event_type"] for event in client.events() if event.get("id") == message_id]


def test_a_delivered_message_tells_its_way(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Queued, connected, closed, sent; and nothing else."""
    cloud.start()
    bridge.start()
    client.publish("hologram/out/t", "x", user={"id": "one"})
    client.wait_for(lambda: client.events("message.sent"))
    assert kinds(client, "one") == ["message.queued", "socket.connected", "socket.closed", "message.sent"]
    connected = client.events("socket.connected")[0]
    assert connected["channel"] == "cloud"


def test_what_comes_with_each_message_is_told_where_it_is_asked_for(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """By default a delivered message has one event; a pattern adds those of its socket."""
    cloud.start()
    del bridge.settings["mqtt"]["events"]
    bridge.start()
    client.publish("hologram/out/t", "x", user={"id": "one"})
    client.wait_for(lambda: client.events("message.sent"))
    assert kinds(client, "one") == ["message.sent"]
    bridge.stop()
    bridge.configure(mqtt={"events": ["socket.*", "message.sent"]})
    bridge.start()
    client.publish("hologram/out/t", "x", user={"id": "two"})
    client.wait_for(lambda: client.events("message.sent")[1:])
    assert kinds(client, "two") == ["socket.connected", "socket.closed", "message.sent"]


def test_a_socket_that_never_connected_is_not_told(bridge: BridgeProcess, client: Client) -> None:
    """While the cloud refuses connections there is no socket to tell of."""
    bridge.start()
    client.publish("hologram/out/t", "x", user={"id": "one", "expires": "2s"})
    assert client.wait_result("one", timeout=15)["state"] == "expired"
    client.wait_for(lambda: client.events("message.expired"))
    assert kinds(client, "one") == ["message.queued", "message.expired"]


def told(event_type: str) -> set[str]:
    """Return the keys that the reference lists for an event, beside those that all have."""
    lines = page("reference/events").text.splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
    (keys,) = [quoted(keys) for events, keys in rows if event_type in quoted(events)]
    return keys | {"event_type", "at"}


def test_an_event_about_a_message_has_what_the_readme_tells(bridge: BridgeProcess, client: Client) -> None:
    """All of it where the message has a destination and topics; neither more nor less."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        direct = {"match": "#", "channel": "udp", "host": "127.0.0.1", "port": peer.getsockname()[1]}
        bridge.configure(routes=[direct])
        bridge.start()
        client.publish("hologram/out/a", "x", user={"id": "sent"})
        client.wait_for(lambda: client.events("message.sent"))
        client.publish("hologram/queue/set", "pause")
        client.wait_health("paused")
        client.publish("hologram/out/a", "x", user={"id": "purged"})
        client.wait_for(lambda: client.events("message.queued")[1:])
        client.publish("hologram/queue/set", "purge")
        client.wait_for(lambda: client.events("message.dropped"))
    for event_type in ("message.queued", "message.sent", "message.dropped"):
        assert set(client.events(event_type)[0]) == told(event_type)


def test_the_network_status_is_repeated(bridge: BridgeProcess, client: Client) -> None:
    """Every `network.poll` seconds, changed or not."""
    bridge.configure(network={"poll": 1})
    bridge.start()
    client.wait_for(lambda: len(client.json("hologram/network/status")) >= 3, timeout=15)
    assert {status["state"] for status in client.json("hologram/network/status")} == {"unmanaged"}
