"""Inbound messages: durable before their sender is closed, and bounded while the broker is away."""

import json

from bridge.core.budget import Bounds, Way
from bridge.core.inbound import Received
from bridge.core.messages import Traffic
from bridge.flow.message.budget import Budget, Plan, Source
from bridge.flow.message.downlink import SPEND_EVERY
from bridge.store.outbox import Limits
from tests.doubles.heart import Heart
from tests.flow.conftest import MakeHeart


def message(data: bytes = b"\0\xff") -> Received:
    return Received("tcp", "10.176.0.1:40000", 4010, data, Traffic(100, 200))


def receive(heart: Heart, data: bytes = b"\0\xff") -> list[str]:
    """Have a message come in; return what happened to its sender."""
    done: list[str] = []
    heart.downlink.received(message(data), lambda: done.append("closed"))
    assert done == []
    heart.turn()
    return done


def test_a_message_is_durable_before_its_sender_is_closed(heart: Heart) -> None:
    """The payload is published byte for byte, with the peer and the time as user properties."""
    assert receive(heart) == ["closed"]
    (report,) = heart.reports()
    assert (report.topic, report.payload, bool(report.retain)) == ("hologram/in", b"\0\xff", False)
    assert report.properties is not None
    _, user = json.loads(report.properties)
    assert dict(user) | {"id": ""} == {
        "id": "",
        "peer": "10.176.0.1:40000",
        "protocol": "tcp",
        "port": "4010",
        "received_at": "2023-11-14T22:13:20.000Z",
    }
    assert heart.notices.reports == 1
    ((event, fields),) = heart.notices.events
    assert (event, fields["id"], fields["bytes"]) == ("message.received", dict(user)["id"], 2)


def test_what_it_cost_is_counted(heart: Heart) -> None:
    """Connections without a message are added up for a second, so that a port scan causes few commits."""
    receive(heart)
    wall = heart.time.now().wall
    assert heart.outbox.ledger.spent(wall)[0] == (100, 200)
    (before,) = heart.writer.progress()
    for _ in range(1000):
        heart.downlink.count_overhead(Traffic(1, 2))
    heart.turn(2 * SPEND_EVERY)
    (after,) = heart.writer.progress()
    assert heart.outbox.ledger.spent(wall)[0] == (1100, 2200)
    assert after.steps == before.steps + 1


def test_what_comes_over_the_modems_own_sockets_goes_over_the_sim(heart: Heart) -> None:
    """Although the bridge's own messages do not, as with the scope "hologram": message and overhead count."""
    plan, source = Plan(Bounds(day=10_000)), Source(lambda: Way.OFF)
    budget = Budget(heart.journal, heart.notices, plan, heart.uplink, source)
    receive(heart)
    heart.downlink.count_overhead(Traffic(1, 2))
    heart.turn(2 * SPEND_EVERY)
    assert budget.figures()["day"]["use"] == 0, "over the machine's own network"
    heart.downlink.received(message()._replace(over_modem=True), lambda: None)
    heart.downlink.count_overhead(Traffic(10, 20), over_modem=True)
    heart.turn(2 * SPEND_EVERY)
    assert budget.figures()["day"]["use"] == 330
    assert heart.outbox.ledger.spent()[0] == (211, 422)


def test_while_too_much_waits_for_the_broker_nothing_comes_in(make_heart: MakeHeart) -> None:
    """The problem is reported once, and ends when the broker has taken enough."""
    heart = make_heart(limits=Limits(max_bytes=1000))
    assert heart.downlink.taking
    for _ in range(4):
        receive(heart, b"x" * 400)
    assert not heart.downlink.taking
    ((component, text),) = heart.notices.problems
    assert component == "inbound"
    assert "access list" in text
    heart.write(lambda: heart.outbox.reports.sent([1, 2, 3, 4]))
    assert heart.downlink.taking
    for _ in range(4):
        receive(heart, b"x" * 400)
    assert len(heart.notices.problems) == 2
