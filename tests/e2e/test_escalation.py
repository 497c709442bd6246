"""The last word: an alarm whose ways are all down but the modem's texts reaches its number, and once."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_sms_air import Rig
from tests.harness import BridgeProcess, Client, Keeper
from tests.harness.process import eventually

NUMBER = "+15551234567"


@pytest.fixture
def rig(keeper: Keeper, tmp_path: Path, bridge: BridgeProcess, client: Client) -> Rig:
    """A box whose modem texts; its link is down, and so is the cloud."""
    rig = Rig(keeper, tmp_path, bridge, client)
    escalate = {"after": "2s", "sms": [NUMBER], "limit": 100}
    bridge.configure(
        sms={"via": "cloud"}, routes=[{"match": "alarms/#", "priority": "high", "escalate": escalate}]
    )
    return rig


def texts(rig: Rig) -> list[str]:
    """Return what the modem has sent."""
    return rig.sent().get(NUMBER, [])


def result(rig: Rig, message_id: str) -> dict[str, Any] | None:
    """Return the result of one text."""
    return next((each for each in rig.client.json("hologram/result") if each["id"] == message_id), None)


def escalates(rig: Rig, message_id: str) -> dict[str, Any]:
    """Wait until the text of a message has its result; return that."""
    text = f"{message_id}#sms-1"
    rig.client.wait_for(lambda: result(rig, text), 30, f"the result of {text}")
    found = result(rig, text)
    assert found is not None
    return found


def alarm(rig: Rig, topic: str, message_id: str) -> None:
    rig.client.publish(f"hologram/out/alarms/{topic}", b"open", user={"id": message_id})


def test_an_alarm_reaches_its_number_once_over_kills(rig: Rig) -> None:
    """Killed after the text, and killed before it is due; the alarm itself waits all the time."""
    rig.start()
    alarm(rig, "door", "one")
    assert escalates(rig, "one")["state"] == "delivered"
    assert rig.client.json("hologram/event")[-1]["event_type"] in ("message.escalated", "sms.sent")
    alarm(rig, "gate", "two")
    rig.bridge.kill()
    rig.bridge.start()
    found = escalates(rig, "two")
    assert (found["channel"], found["to"], found["state"]) == ("sms", NUMBER, "delivered")
    assert texts(rig) == ["alarms/door: open", "alarms/gate: open"]
    assert result(rig, "one") is None, "the alarm itself still waits for its link"


@pytest.mark.slow
def test_alarms_reach_their_number_once_over_many_kills(rig: Rig) -> None:
    """At any moment: a text may end unconfirmed where a kill hit its sending, and is then not sent again."""
    chance = random.Random(17)
    rig.start()
    for number in range(12):
        alarm(rig, f"n{number}", f"m{number}")
        eventually(lambda n=number: _due(rig, n, chance), 20, what="the time of the next kill")  # type: ignore[misc]
        rig.bridge.kill()
        rig.bridge.start()
    states = Counter(escalates(rig, f"m{number}")["state"] for number in range(12))
    assert set(states) <= {"delivered", "unconfirmed"}
    sent = Counter(texts(rig))
    assert set(sent.values()) == {1}
    assert sum(sent.values()) >= states["delivered"]


def _due(rig: Rig, number: int, chance: random.Random) -> bool:
    """Whether the next kill is due: around the moment at which the text of a message is made and sent."""
    return chance.random() < 0.05 or len(texts(rig)) > number
