"""Each kind of credentials against the simulated cloud, which verifies them on its own."""

from tests.harness import BridgeProcess, Client, Cloud

BINARY = bytes(range(1, 256))


def test_the_older_cloud_id_and_key_send_messages_and_sms(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """``s`` and ``c`` instead of ``k``; an SMS carries both together as its key."""
    cloud.start("--cloud-id", "ab12", "--cloud-key", "cd34")
    bridge.settings["credentials"] = {"cloud_id": "ab12", "cloud_key": "cd34"}
    bridge.start()
    client.publish("hologram/out/t", "hello", user={"id": "one"})
    assert client.wait_result("one")["state"] == "delivered"
    client.publish("hologram/sms/15551234567", "text", user={"id": "two"})
    assert client.wait_result("two")["state"] == "delivered"
    assert [(each.payload, each.to) for each in cloud.accepted] == [
        (b"hello", None),
        (b"text", "+15551234567"),
    ]


def test_totp_sends_bytes_as_they_are_and_no_sms(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Bytes need no base64 in this form; an SMS by the cloud is refused with the reason."""
    cloud.start("--device-id", "8944501104169548380", "--private-key", "234507094543380")
    bridge.settings["credentials"] = {"device_id": "8944501104169548380", "private_key": "234507094543380"}
    bridge.configure(cloud={"auth": "totp"})
    bridge.start()
    client.publish("hologram/out/t", BINARY, user={"id": "one"})
    assert client.wait_result("one")["state"] == "delivered"
    assert [(each.payload, each.topics) for each in cloud.accepted] == [(BINARY, ("t",))]
    client.publish("hologram/sms/15551234567", "text", user={"id": "two"})
    refused = client.wait_result("two")
    assert refused["state"] == "rejected"
    assert "TOTP" in refused["description"]


def test_a_wrong_totp_key_is_held_as_any_wrong_credentials(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Code 3 holds the channel whatever the credentials are."""
    cloud.start("--device-id", "8944501104169548380", "--private-key", "234507094543380")
    bridge.settings["credentials"] = {"device_id": "8944501104169548380", "private_key": "000000000000000"}
    bridge.configure(cloud={"auth": "totp"})
    bridge.start()
    client.publish("hologram/out/t", "x")
    client.wait_for(lambda: client.events("cloud.auth_failed"))
    assert client.results() == []
