"""Every documented answer code of the cloud, and what a user sees of it."""

import pytest

from tests.harness import BridgeProcess, Client, Cloud


def send(client: Client, message_id: str = "one") -> None:
    """Publish one message under an id of its own."""
    client.publish("hologram/out/topic", b"x", user={"id": message_id})


def test_code_0_is_delivered(bridge: BridgeProcess, cloud: Cloud, client: Client) -> None:
    """Accepted: delivered, with the code and its name."""
    cloud.start()
    bridge.start()
    send(client)
    result = client.wait_result("one")
    assert (result["state"], result["code"], result["attempts"]) == ("delivered", 0, 1)
    assert "ERR_OK" in result["description"]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (2, "ERR_MSGINVALID"),
        (4, "ERR_PAYLOADINVALID"),
        (5, "ERR_PROTINVALID"),
        (7, "ERR_METADATA"),
        (8, "ERR_TOPICINVALID"),
    ],
)
def test_a_permanent_code_is_rejected_at_once(
    bridge: BridgeProcess, cloud: Cloud, client: Client, code: int, name: str
) -> None:
    """The same bytes can never succeed: one attempt, ``rejected``, the code and its name."""
    cloud.start("--fault", f"code{code}:1")
    bridge.start()
    send(client)
    result = client.wait_result("one")
    assert (result["state"], result["code"], result["attempts"]) == ("rejected", code, 1)
    assert name in result["description"]
    assert client.wait_for(lambda: client.events("message.rejected"))[0]["id"] == "one"
    assert len(cloud.arrived) == 1


@pytest.mark.parametrize("code", [1, 6])
def test_a_passing_code_is_retried_until_it_is_accepted(
    bridge: BridgeProcess, cloud: Cloud, client: Client, code: int
) -> None:
    """Codes 1 and 6 are tried again: delivered with more than one attempt, one result."""
    cloud.start("--fault", f"code{code}:1")
    bridge.start()
    send(client)
    client.wait_for(lambda: len(cloud.arrived) >= 1, what="a first attempt")
    cloud.stop()
    cloud.start()
    client.publish("hologram/queue/set", "flush")
    result = client.wait_result("one", timeout=20)
    assert (result["state"], result["code"]) == ("delivered", 0)
    assert result["attempts"] >= 2
    assert len(client.results("one")) == 1
    assert result["bytes_up"] > 400, "both attempts are counted"


def test_code_3_holds_and_a_reload_with_a_new_key_delivers(
    bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """Refused credentials lose nothing: an event, the health, delivery after a reload with the right key."""
    cloud.start("--devicekey", "rightkey")
    bridge.configure(credentials={"devicekey": "wrongkey"})
    bridge.start()
    for number in range(5):
        client.publish(f"hologram/out/t{number}", str(number))
    event = client.wait_for(lambda: client.events("cloud.auth_failed"))[0]
    assert "ERR_AUTHINVALID" in event["description"]
    client.wait_for(lambda: client.health().get("state") == "auth_failed")
    assert client.results() == []
    bridge.configure(credentials={"devicekey": "rightkey"})
    bridge.reload()
    client.wait_for(lambda: len(client.results()) == 5, what="what was held is delivered")
    assert {result["state"] for result in client.results()} == {"delivered"}
    assert sorted(cloud.payloads()) == [b"0", b"1", b"2", b"3", b"4"]
    assert "rightkey" not in bridge.said()
    assert "wrongkey" not in bridge.said()
