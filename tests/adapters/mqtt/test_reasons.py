"""What the broker says when it refuses or ends a connection, and what a person is told to do about it."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from bridge.adapters.mqtt.broker import Broker
from bridge.adapters.mqtt.once import ask
from tests.adapters.mqtt.test_session import Owner, session, settings, until
from tests.harness import Mosquitto
from tests.harness.doorman import ACCEPTED, Doorman, Rule, disconnect

FIXES = {
    0x80: "the broker's own log",
    0x81: 'mqtt.protocol to "3.1.1"',
    0x82: 'mqtt.protocol to "3.1.1"',
    0x83: "the broker's own log",
    0x84: 'mqtt.protocol to "3.1.1"',
    0x85: 'mqtt.client_id to one that the broker allows; it is "the-bridge"',
    0x86: "mqtt.username and mqtt.password",
    0x87: "what the broker lets that name do",
    0x88: "it is tried again",
    0x89: "it is tried again",
    0x8A: 'ban of the client id "the-bridge"',
    0x8C: "mqtt.username and mqtt.password, the one method",
    0x90: "mqtt.prefix",
    0x95: "larger packets",
    0x97: "quota",
    0x9A: "retained messages",
    0x9B: "QoS 1",
    0x9C: "mqtt.host",
    0x9D: "mqtt.host",
    0x9F: "more connections in a time",
}
"""A word of what is to be done, by the reason code of CONNACK [MQTT 5.0, section 3.2.2.2]."""

OLD_FIXES = {
    1: "mqtt.protocol to 5",
    2: "mqtt.client_id",
    3: "it is tried again",
    4: "mqtt.username and mqtt.password",
    5: "what the broker lets that name do",
}
"""The same for the return codes of MQTT 3.1.1, section 3.2.2.3."""

CASES = [(True, *each) for each in FIXES.items()] + [(False, *each) for each in OLD_FIXES.items()]


@contextmanager
def door(rule: Rule, behind: int = 1) -> Iterator[Broker]:
    """Return how to reach a door with a rule."""
    with closing(Doorman(behind, rule)) as found:
        yield Broker("127.0.0.1", found.port, "the-bridge", keepalive=30)


def reason_of(broker: Broker, *, ends: int = 1) -> list[str]:
    """Return what the session tells of the first connections that end."""
    owner = Owner()

    async def main() -> None:
        async with session(broker, owner, up=False):
            await until(lambda: len(owner.downs) >= ends, 60)

    asyncio.run(main())
    return owner.downs


@pytest.mark.parametrize(("version5", "code", "fix"), CASES)
def test_each_refusal_has_its_own_fix(version5: bool, code: int, fix: str) -> None:
    """The log and the doctor say the same."""
    with door(lambda hello: hello.connack(code)) as broker:
        said = reason_of(broker._replace(version5=version5))[0]
        asked = ask(broker._replace(version5=version5), None)
    assert said.startswith("the broker refused the connection: ")
    assert fix in said
    assert ("mqtt.username" in said) == (fix in (FIXES[0x86], FIXES[0x87], FIXES[0x8C]))
    assert said == f"{asked.problem}; {asked.fix}"


ENDS = {
    0x00: "the broker's own log",
    0x81: "mqtt.protocol",
    0x8B: "it is tried again",
    0x8D: "mqtt.keepalive",
    0x8E: 'another client uses the client id "the-bridge"',
    0x93: "the broker's own log",
    0x95: "larger packets",
    0x96: "more messages a second",
    0x97: "quota",
    0x98: "the broker's own log",
    0x9D: "mqtt.host",
}
"""A word of what is to be done, by the reason code of DISCONNECT [MQTT 5.0, section 3.14.2.1]."""


@pytest.mark.parametrize(("code", "fix"), ENDS.items())
def test_each_reason_to_end_a_connection_has_its_own_fix(code: int, fix: str) -> None:
    """The broker took us, and ends it with a word."""
    with door(lambda hello: hello.connack(ACCEPTED) + disconnect(code)) as broker:
        said = reason_of(broker)[0]
    assert said.startswith("the broker ended the connection: ")
    assert fix in said


@pytest.mark.parametrize("version5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_connections_that_end_without_a_word_name_the_likely_cause(version5: bool) -> None:
    """The first may be chance; from the third on the key is named: the session is there each time."""
    with door(lambda hello: hello.connack(ACCEPTED, session=True)) as broker:
        downs = reason_of(broker._replace(version5=version5), ends=3)
    assert ["mqtt.client_id" in each for each in downs[:3]] == [False, False, True]
    assert "likely another client uses the client id" in downs[2]


def test_two_boxes_with_one_client_id_leave_each_other_time(mosquitto: Mosquitto) -> None:
    """They do not take over each other's session several times a second, and both know why."""
    owners = Owner(), Owner()

    async def main() -> None:
        async with (
            session(settings(mosquitto), owners[0]) as first,
            session(settings(mosquitto), owners[1]) as second,
        ):
            await until(lambda: first.shared and second.shared, 60)

    asyncio.run(main())
    assert sum(len(owner.ups) for owner in owners) <= 10
    for owner in owners:
        assert any("mqtt.client_id" in reason for reason in owner.downs)
