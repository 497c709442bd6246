"""Each flow at work: through the real bridge to the simulated cloud, and back as a result."""

import json
from datetime import UTC, datetime, timedelta

from tests.harness import Received
from tests.node_red.conftest import Alone, Lab
from tests.node_red.node_red import until

ALLOWED = "+15551234567"
SECOND = "+15557654321"
STRANGER = "+15550000001"


# -- 1 sensor readings -----------------------------------------------------------------------------------


def test_readings_reach_the_cloud(lab: Lab) -> None:
    """Readings go out under their local topics, in JSON or as text, and their results come back."""
    lab.client.publish("sensors/cellar", json.dumps({"temperature": 20.5}))
    lab.client.publish("sensors/attic/window", "open")
    until(lambda: lab.arrived("sensors/attic/window") and lab.arrived("sensors/cellar"), what="both arrive")
    assert lab.arrived("sensors/cellar") == [b'{"temperature":20.5}']
    assert lab.arrived("sensors/attic/window") == [b"open"]
    until(lambda: len(lab.said("reply/nodered/results")) >= 2, what="their results come")
    assert {json.loads(each)["state"] for each in lab.said("reply/nodered/results")[:2]} == {"delivered"}


def test_readings_that_hardly_move_stay(alone: Alone) -> None:
    """Only what differs by the dead band from the last one sent is worth its bytes; each topic for itself."""
    for celsius in (20.0, 20.4, 19.6, 20.5, 20.6, 24.0, 24.0):
        alone.client.publish("sensors/boiler", json.dumps({"temperature": celsius}))
    for state in ("shut", "shut", "open", "open", "shut"):
        alone.client.publish("sensors/hatch", state)
    until(lambda: len(alone.asked("out/sensors/hatch")) == 3, what="the hatch moved")
    assert [each.json()["temperature"] for each in alone.asked("out/sensors/boiler")] == [20, 20.5, 24]
    assert [each.payload for each in alone.asked("out/sensors/hatch")] == [b"shut", b"open", b"shut"]


def test_the_buttons_of_the_readings_do_something(lab: Lab) -> None:
    """Pressed in the editor, they send a kitchen reading and the state of the box."""
    lab.node_red.press(lab.node_red.node("a kitchen reading", "inject"))
    lab.node_red.press(lab.node_red.node("every hour", "inject"))
    until(lambda: lab.arrived("sensors/kitchen") and lab.arrived("box"), what="both arrive")
    assert 19 <= json.loads(lab.arrived("sensors/kitchen")[0])["temperature"] <= 23
    assert json.loads(lab.arrived("box")[0]).keys() == {"load", "mem_free_mb", "up_h"}


# -- 2 alarm ---------------------------------------------------------------------------------------------


def test_an_alarm_is_told_once_by_sms(lab: Lab) -> None:
    """It sends one SMS when it begins, none while it lasts, another after the all-clear; each is told."""
    topic = "alarms-told/water"
    lab.client.publish("alarms/water", "on")
    until(lambda: lab.said(topic), what="the result of the SMS is told")
    lab.client.publish("alarms/water", "on")
    lab.client.publish("alarms/water", "off")
    lab.client.publish("alarms/water", "on")
    until(lambda: len(lab.said(topic)) == 2, what="the second alarm is told")
    told = json.loads(lab.said(topic)[0])
    assert (told["state"], told["to"], told["attempts"]) == ("delivered", ALLOWED, 1)
    texts = [text for text in lab.texts(ALLOWED) if "water" in text]
    assert len(texts) == 2
    assert texts[0].startswith("Pump house: water at ")


def test_an_alarm_has_a_plan_b(lab: Lab) -> None:
    """Is the SMS refused, another goes to the second number and a message to the cloud."""
    with lab.faulty_cloud("code2:3"):
        lab.client.publish("hologram/out/plan", "1")
        lab.client.publish("hologram/out/plan", "2")
        until(lambda: len(lab.arrived("plan")) == 2, what="the next request will be refused")
        lab.client.publish("alarms/fire", "on")
        until(lambda: lab.arrived("alarms/fire") and lab.texts(SECOND), what="plan B")
    assert lab.texts(SECOND)[0].startswith("Pump house: fire at ")
    assert lab.texts(SECOND)[0].endswith(f"({ALLOWED}: rejected)")
    assert not any("fire" in text for text in lab.texts(ALLOWED))


def test_a_result_that_does_not_come(alone: Alone) -> None:
    """After the time-out plan B begins; the result that comes later is told and starts nothing new."""

    def texts(about: str) -> list[Received]:
        return [each for each in alone.asked("sms") if about in each.json()["body"]]

    alone.client.publish("alarms/gas", "on")
    until(lambda: len(texts("gas")) == 2 and alone.asked("out/alarms/gas"), what="plan B begins")
    assert [each.json()["to"] for each in texts("gas")] == [ALLOWED, SECOND]
    assert texts("gas")[1].json()["body"].endswith(f"({ALLOWED}: waiting)")
    assert texts("gas")[0].json()["expires"] == "10m"
    assert alone.asked("out/alarms/gas")[0].properties["user"]["priority"] == "high"
    alone.answer(texts("gas")[0], channel="sms", to=ALLOWED, state="rejected", description="late")
    alone.client.publish("alarms/smoke", "on")
    until(lambda: len(texts("smoke")) == 2, what="the next alarm takes its way")
    assert len(texts("gas")) == 2
    assert len(alone.asked("out/alarms/gas")) == 1


def test_the_bridge_texts_where_its_route_escalates(alone: Alone) -> None:
    """The alarm is one message then; what became of it and of the bridge's texts is told."""
    escalate = {"after": 60, "sms": [ALLOWED], "limit": 10, "per": 3600}
    routes = [{"match": "alarms/leak/#", "escalate": None}, {"match": "alarms/#", "escalate": escalate}]
    alone.say("bridge/info", {"version": "1", "configuration": {"routes": routes}}, retain=True)
    alone.client.publish("alarms/roof 1", "on")
    until(lambda: alone.asked("out/alarms/roof-1"), what="it goes to the bridge")
    (asked,) = alone.asked("out/alarms/roof-1")
    name = asked.properties["user"]["id"]
    assert asked.payload.startswith(b"Pump house: roof 1 at ")
    assert asked.properties["user"]["priority"] == "high"

    def told() -> list[dict[str, object]]:
        # The flow beside the bridge hears of the alarm too, and tells of a text of its own.
        found = alone.client.json("alarms-told/roof 1")
        return [each for each in found if each["to"] is None or each["text"] is None]

    until(told, what="no result is told")
    alone.say("result", {"id": "other#sms-1", "to": SECOND, "state": "delivered", "attempts": 1})
    alone.say("result", {"id": f"{name}#sms-1", "to": ALLOWED, "state": "delivered", "attempts": 1})
    until(lambda: len(told()) == 2, what="the text is told")
    assert [(each["to"], each["state"]) for each in told()] == [(None, "waiting"), (ALLOWED, "delivered")]
    assert not [each for each in alone.asked("sms") if "roof" in each.json()["body"]]
    alone.say("bridge/info", {"version": "1", "configuration": {"routes": []}}, retain=True)
    alone.client.publish("alarms/dike", "on")
    until(
        lambda: [each for each in alone.asked("sms") if "dike" in each.json()["body"]], what="the flow texts"
    )


# -- 3 commands from afar --------------------------------------------------------------------------------


def test_an_allowed_number_commands(lab: Lab) -> None:
    """Its SMS switches the pump, asks for the state, gets help; the answers arrive as SMS at the cloud."""
    answered = len(lab.answers(ALLOWED))
    lab.sms(ALLOWED, " Pump  ON ", "c-1")
    until(lambda: lab.said("actuators/pump/set"), what="the pump is switched")
    assert lab.said("actuators/pump/set")[-1] == b"on"
    lab.sms(ALLOWED, "status", "c-2")
    lab.sms(ALLOWED, "open sesame", "c-3")
    lab.sms(ALLOWED, "pump maybe", "c-4")
    until(lambda: len(lab.answers(ALLOWED)) == answered + 4, what="four answers")
    answers = lab.answers(ALLOWED)[answered:]
    assert answers[0] == "Pump switched on"
    assert "Commands: status, pump on, pump off" in answers
    assert "Say: pump on, or pump off" in answers
    state = next(text for text in answers if text.startswith("Link "))
    assert state.startswith("Link unmanaged, ")
    assert " delivered, " in state
    assert len(state) <= 160


def test_strangers_are_refused(lab: Lab) -> None:
    """A number and an address that are not listed switch nothing and get no answer; it is said at home."""
    switched = len(lab.said("actuators/pump/set"))
    refused = len(lab.said("commands/refused"))
    lab.sms(STRANGER, "pump on", "s-1")
    lab.push(b"pump on", source="127.0.0.2")
    until(lambda: len(lab.said("commands/refused")) == refused + 2, what="both are refused")
    told = [json.loads(each) for each in lab.said("commands/refused")[refused:]]
    assert {each["sender"] for each in told} == {STRANGER, "127.0.0.2"}
    assert {each["reason"] for each in told} == {"the sender is not on the list"}
    lab.sms(ALLOWED, "pump off", "s-2")
    until(lambda: len(lab.said("actuators/pump/set")) > switched, what="an allowed one is heard")
    assert lab.said("actuators/pump/set")[switched:] == [b"off"]
    assert lab.texts(STRANGER) == []


def test_a_message_from_the_cloud_commands(lab: Lab) -> None:
    """What comes to the bridge's port from a listed address is carried out; the answer goes to the cloud."""
    switched = len(lab.said("actuators/pump/set"))
    lab.push(b"just some data")
    lab.push(b"pump off\n")
    until(lambda: lab.arrived("replies"), what="the answer arrives")
    assert lab.arrived("replies") == [b"Pump switched off"], "what is no command gets no answer"
    until(lambda: lab.said("actuators/pump/set")[switched:] == [b"off"], what="it is switched")


def test_a_command_counts_once_and_not_for_ever(lab: Lab) -> None:
    """The same id again is left out; one that is older than 15 minutes is refused."""
    switched = len(lab.said("actuators/pump/set"))
    refused = len(lab.said("commands/refused"))
    lab.sms(ALLOWED, "pump on", "twice")
    lab.sms(ALLOWED, "pump on", "twice")
    lab.sms(ALLOWED, "pump on", "old", at=datetime.now(UTC) - timedelta(minutes=20))
    lab.sms(ALLOWED, "pump off", "after")
    until(lambda: lab.said("actuators/pump/set")[switched:][-1:] == [b"off"], what="the last is heard")
    assert lab.said("actuators/pump/set")[switched:] == [b"on", b"off"]
    assert [json.loads(each)["reason"] for each in lab.said("commands/refused")[refused:]] == [
        "it is 20 minutes old"
    ]


# -- what may go away ------------------------------------------------------------------------------------


def test_what_comes_while_node_red_is_away_is_done_when_it_is_back(lab: Lab) -> None:
    """The broker keeps commands for it: nothing is lost by a restart."""
    switched = len(lab.said("actuators/pump/set"))
    lab.node_red.stop()
    lab.sms(ALLOWED, "pump on", "away")
    lab.push(b"pump off")
    until(lambda: len(lab.said("hologram/in")) > 0)
    lab.node_red.start()
    until(lambda: len(lab.said("actuators/pump/set")) == switched + 2, what="both are carried out")


def test_what_is_sent_while_the_broker_is_away_arrives_once(lab: Lab) -> None:
    """A message that the broker could not take is published again, under the same id."""
    before = len(lab.arrived("box"))
    lab.mosquitto.stop()
    lab.node_red.press(lab.node_red.node("every hour", "inject"))
    lab.mosquitto.start()
    until(lambda: len(lab.arrived("box")) > before, what="it arrives")
    lab.client.wait_connected()
    lab.node_red.press(lab.node_red.node("every hour", "inject"))
    until(lambda: len(lab.arrived("box")) >= before + 2, what="the next one too")
    assert len(lab.arrived("box")) == before + 2
