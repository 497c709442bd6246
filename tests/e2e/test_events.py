"""Events: each kind that needs no modem, when it happens and with what."""

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


def test_a_socket_that_never_connected_is_not_told(bridge: BridgeProcess, client: Client) -> None:
    """While the cloud refuses connections there is no socket to tell of."""
    bridge.start()
    client.publish("hologram/out/t", "x", user={"id": "one", "expires": "2s"})
    assert client.wait_result("one", timeout=15)["state"] == "expired"
    client.wait_for(lambda: client.events("message.expired"))
    assert kinds(client, "one") == ["message.queued", "message.expired"]


def test_the_network_status_is_repeated(bridge: BridgeProcess, client: Client) -> None:
    """Every `network.poll` seconds, changed or not."""
    bridge.configure(network={"poll": 1})
    bridge.start()
    client.wait_for(lambda: len(client.json("hologram/network/status")) >= 3, timeout=15)
    assert {status["state"] for status in client.json("hologram/network/status")} == {"unmanaged"}
