"""What a will is made without, for a broker that does not answer CONNECT."""

import pytest

from bridge.adapters.mqtt.client import Limits
from bridge.adapters.mqtt.concessions import FULL, Concessions


def connect(concessions: Concessions, broker: Limits, *, at_most: int = 20) -> int:
    """Connect until a broker that does what ``broker`` says takes it; return how often it was tried."""
    for number in range(1, at_most + 1):
        asked = concessions.limits
        if asked.qos > broker.qos or asked.retain > broker.retain:
            concessions.cut()
        elif concessions.taken():
            return number
    raise AssertionError("it never connected")


@pytest.mark.parametrize("broker", [FULL, Limits(retain=False), Limits(qos=0), Limits(qos=0, retain=False)])
def test_it_connects_with_what_the_broker_does(broker: Limits) -> None:
    """In a few tries the first time, in two later."""
    concessions = Concessions()
    assert connect(concessions, broker) <= 8
    assert concessions.limits.retain <= broker.retain
    assert concessions.limits.qos <= broker.qos
    concessions.ended()
    assert connect(concessions, broker) <= 2


@pytest.mark.parametrize("cuts", range(1, 12))
def test_a_broker_that_was_only_away(cuts: int) -> None:
    """However often a proxy took the connection and ended it, all is asked for in the end."""
    concessions = Concessions()
    for _ in range(cuts):
        concessions.cut()
    connect(concessions, FULL)
    assert concessions.limits == FULL
