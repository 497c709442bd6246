"""What a user does in Home Assistant, and what becomes of it at the modem and the cloud."""

import pytest

from tests.harness import eventually
from tests.home_assistant.conftest import OPERATOR, Lab

pytestmark = pytest.mark.slow

LINK = "binary_sensor.cellular_bridge_cellular"
SWITCH = "switch.cellular_bridge_connection"
SET = "hologram/network/set"


def test_the_switch_hangs_up_and_connects(lab: Lab) -> None:
    """Off hangs up and stays so; on connects again."""
    home = lab.home
    home.wait_state(SWITCH, "on")
    home.call("switch.turn_off", SWITCH)
    home.wait_state(SWITCH, "off")
    home.wait_state(LINK, "off")
    lab.client.wait_for(
        lambda: lab.client.state("hologram/network/status")["state"] == "disconnected", what="it is hung up"
    )
    home.call("switch.turn_on", SWITCH)
    home.wait_state(LINK, "on")
    home.wait_state(SWITCH, "on")


def test_the_buttons(lab: Lab) -> None:
    """Reconnect makes a new link, reset restarts the modem, flush tries what waits at once."""
    home = lab.home
    before = home.wait_state(LINK, "on")["attributes"]["since"]
    home.call("button.press", "button.cellular_bridge_reconnect")
    eventually(lambda: home.entity(LINK)["attributes"]["since"] not in (before, None), 30, what="a new link")
    restarts = len(lab.modem.events("restart"))
    home.call("button.press", "button.cellular_bridge_reset_modem")
    eventually(lambda: len(lab.modem.events("restart")) > restarts, 30, what="the modem restarts")
    home.wait_state(LINK, "off")
    home.wait_state(LINK, "on", 60)
    home.call("button.press", "button.cellular_bridge_flush_queue")
    assert lab.client.wait_last("hologram/queue/set").payload == b"flush"
    lab.client.wait_for(lambda: _done(lab, "queue"), what="the flush has its result")


def _done(lab: Lab, channel: str) -> bool:
    return any((each["channel"], each["state"]) == (channel, "done") for each in lab.client.results())


def test_an_operator_is_texted(lab: Lab) -> None:
    """A notification to a recipient is an SMS, as it was written."""
    text = 'Pump 3: "high" {pressure} at 7 bar, isn\'t it? é'
    lab.home.call("notify.send_message", "notify.cellular_bridge_operator", message=text)
    eventually(lambda: lab.texts(OPERATOR["to"]) == [text], 20, what="the SMS is at the cloud")
    lab.wait_event("sms.sent", to=OPERATOR["to"])


def test_a_notification_to_the_cloud(lab: Lab) -> None:
    """A notification to the cloud is a message without a topic."""
    lab.home.call("notify.send_message", "notify.cellular_bridge_hologram_cloud", message="from home 😀")
    eventually(
        lambda: (
            ("from home 😀".encode(), (), None)
            in [(each.payload, each.topics, each.to) for each in lab.cloud.accepted]
        ),
        20,
        what="the message is at the cloud",
    )


def test_commands_travel_at_qos_1_and_are_not_retained(lab: Lab) -> None:
    """Whatever Home Assistant told the bridge above is neither lost on its way nor kept by the broker."""
    for topic in (SET, "hologram/queue/set", "hologram/out", "hologram/sms/15551234567"):
        assert {(each.qos, each.retain) for each in lab.client.messages(topic)} == {(1, False)}, topic
