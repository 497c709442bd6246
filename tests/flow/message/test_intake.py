"""Intake: the outcome of each delivery, and the time of its acknowledgement."""

import json

import pytest

from bridge.core.messages import Channel, Endpoint, Priority
from bridge.core.routing import Route
from bridge.errors import InvalidCommand
from bridge.flow.message.ids import id_source
from bridge.flow.message.reader import MESSAGE_LIMIT, Policy
from bridge.store.outbox import Limits
from tests.doubles.heart import Heart, answered
from tests.flow.conftest import MakeHeart

# -- acknowledging ---------------------------------------------------------------------------------------


def test_a_message_is_acknowledged_once_it_is_durable(heart: Heart) -> None:
    """After the commit it is in the outbox, and an event is published."""
    heart.uplink.paused = True
    heart.intake.received(heart.session.delivery("out/a", b"1"), heart.session)
    assert heart.session.acked == []
    heart.turn()
    assert heart.session.acked == [1]
    assert heart.queued() == ["1"]
    assert heart.events() == ["message.queued"]


def test_a_delivery_that_the_broker_repeats_is_stored_once(heart: Heart) -> None:
    """The first acknowledgement was lost; the repetition gets another one."""
    heart.uplink.paused = True
    first = heart.publish("out/a")
    heart.intake.received(first._replace(dup=True), heart.session)
    heart.turn()
    assert heart.session.acked == [first.mid, first.mid]
    assert heart.queued() == ["x"]


def test_the_same_packet_id_in_another_session_is_another_message(heart: Heart) -> None:
    """A broker that lost its session counts its packets from the start."""
    heart.uplink.paused = True
    first = heart.publish("out/a")
    heart.session.number += 1
    heart.intake.received(first._replace(dup=True), heart.session)
    heart.turn()
    assert heart.queued() == ["x", "x"]


def test_a_refused_message_gets_one_result_before_its_acknowledgement(heart: Heart) -> None:
    """The result names the field; a repeated delivery brings no other one."""
    heart.intake.received(heart.session.delivery("send", b'{"data": 5}'), heart.session)
    assert heart.session.acked == []
    heart.turn()
    refused = heart.session.delivery("send", b'{"data": 5}')._replace(mid=1, dup=True)
    heart.intake.received(refused, heart.session)
    heart.turn()
    assert heart.session.acked == [1, 1]
    (result,) = heart.ended()
    assert (result["state"], result["description"]) == (
        "rejected",
        "data: 5 is not allowed; it must be a string",
    )
    assert heart.events() == ["message.rejected"]


def test_a_refused_message_answers_under_its_own_id_and_topic(heart: Heart) -> None:
    """The id and the Response Topic are used as far as they can be read."""
    heart.publish("send", b'{"data": 5, "id": "mine"}', reply="answers", correlation=b"7")
    ours, theirs = heart.reports()
    assert json.loads(ours.payload)["id"] == "mine"
    assert (theirs.topic, theirs.payload) == ("answers", ours.payload)


def test_an_unreadable_delivery_is_rejected_for_its_problem(heart: Heart) -> None:
    """Unacknowledged, the broker would repeat it for ever."""
    delivery = heart.publish("out/a", problem=InvalidCommand("qos", 3, "it is 0, 1 or 2"))
    assert heart.session.acked == [delivery.mid]
    assert "qos" in heart.ended()[0]["description"]


@pytest.mark.parametrize("payload", [b"1", b""])
def test_a_retained_copy_is_acknowledged_and_nothing_else(heart: Heart, payload: bytes) -> None:
    """Neither the broker's stored copy nor the message that clears it is sent."""
    heart.publish("out/a", payload, retain=True)
    assert (heart.session.acked, heart.queued(), heart.ended()) == ([1], [], [])


# -- idempotency -----------------------------------------------------------------------------------------


def test_the_same_id_is_not_sent_again(heart: Heart) -> None:
    """The payload does not matter. Its result is reported again, and on the new reply topic too."""
    heart.publish("out/a", b"1", id="mine")
    heart.publish("out/b", b"2", id="mine")
    heart.cloud.end(answered())
    heart.turn()
    heart.publish("out/a", b"3", id="mine", reply="late")
    assert [job.request for job in heart.cloud.jobs] == [b'{"k":"abcd1234","d":"1","t":"a"}\n\n']
    assert [(report.topic, json.loads(report.payload)["state"]) for report in heart.reports()] == [
        ("hologram/result", "delivered"),
        ("hologram/result", "delivered"),
        ("late", "delivered"),
    ]


def test_the_last_to_ask_for_a_result_gets_it(heart: Heart) -> None:
    """A repetition while the message waits replaces the reply topic."""
    heart.publish("out/a", id="mine", reply="first")
    heart.publish("out/a", id="mine", reply="second")
    heart.cloud.end(answered())
    heart.turn()
    assert [report.topic for report in heart.reports()] == ["hologram/result", "second"]


def test_a_refused_id_is_remembered_too(heart: Heart) -> None:
    """The same mistake under the same id is reported again, and counted once."""
    for _ in range(2):
        heart.publish("send", b'{"data": 5, "id": "mine"}')
    assert heart.states() == ["rejected", "rejected"]
    assert heart.outbox.ledger.counts["rejected"] == 1


# -- a full outbox ---------------------------------------------------------------------------------------


def test_a_full_outbox_drops_the_new_message_with_a_result(make_heart: MakeHeart) -> None:
    """It is acknowledged, and its id may be used again."""
    heart = make_heart(limits=Limits(max_messages=1))
    heart.publish("out/a", b"1")
    heart.publish("out/b", b"2", id="mine")
    assert heart.session.acked == [1, 2]
    assert heart.queued() == ["1"]
    assert [(each["id"], each["state"]) for each in heart.ended()] == [("mine", "dropped")]
    heart.cloud.end(answered())
    heart.turn()
    heart.publish("out/b", b"2", id="mine")
    assert heart.queued() == ["2"]


def test_a_full_outbox_may_drop_the_oldest_of_the_lowest_priority(make_heart: MakeHeart) -> None:
    """The dropped message gets the result; a message of higher priority is never dropped."""
    heart = make_heart(limits=Limits(max_messages=2, drop_oldest=True))
    heart.uplink.paused = True
    heart.publish("out/a", b"high", priority="high")
    heart.publish("out/b", b"low", priority="low")
    heart.publish("out/c", b"normal")
    assert heart.queued() == ["high", "normal"]
    (dropped,) = heart.ended()
    assert (dropped["topics"], dropped["state"]) == (["b"], "dropped")
    heart.publish("out/d", b"later", priority="low")
    assert heart.queued() == ["high", "normal"]


# -- when results wait -----------------------------------------------------------------------------------


def fill(heart: Heart) -> None:
    """Have so many results wait that no message is taken."""
    heart.uplink.paused = True
    heart.write(lambda: heart.outbox.reports.add("hologram/in", b"x" * 2 * heart.outbox.limits.max_bytes))


def test_while_results_wait_the_broker_keeps_its_messages(make_heart: MakeHeart) -> None:
    """They stay unacknowledged, and are taken when the broker has the results."""
    heart = make_heart(limits=Limits(max_bytes=1000))
    fill(heart)
    heart.publish("out/a", b"1")
    assert (heart.session.acked, heart.queued()) == ([], [])
    heart.write(lambda: heart.outbox.reports.sent([1]))
    heart.intake.resume()
    heart.turn()
    assert (heart.session.acked, heart.queued()) == ([1], ["1"])


def test_a_held_delivery_that_comes_again_is_taken_once(make_heart: MakeHeart) -> None:
    """After a reconnection the broker repeats it."""
    heart = make_heart(limits=Limits(max_bytes=1000))
    fill(heart)
    delivery = heart.publish("out/a", b"1")
    heart.intake.received(delivery._replace(dup=True), heart.session)
    heart.write(lambda: heart.outbox.reports.sent([1]))
    heart.intake.resume()
    heart.turn()
    assert (heart.session.acked, heart.queued()) == ([1], ["1"])


def test_while_results_wait_messages_at_qos_0_are_dropped(make_heart: MakeHeart) -> None:
    """They are best effort; they are counted."""
    heart = make_heart(limits=Limits(max_bytes=1000))
    fill(heart)
    heart.publish("out/a", qos=0)
    assert (heart.queued(), heart.intake.lost) == ([], 1)


# -- what becomes of a message ---------------------------------------------------------------------------

DIRECT = Endpoint(Channel.TCP, "scada", 5020)


def test_a_route_gives_destination_and_defaults(make_heart: MakeHeart) -> None:
    """The message's own priority beats the route's, and of two deadlines the earlier counts."""
    route = Route(DIRECT, Priority.HIGH, lifetime=60.0, max_attempts=3)
    heart = make_heart(routes=[("scada/#", route)])
    heart.uplink.paused = True
    heart.publish("out/scada/pump", b"1", expires="10m")
    heart.publish("out/scada/pump", b"2", priority="low", expires="10s")
    first, second = heart.outbox.page(0, 1 << 60, 10)
    assert (first.lane.endpoint, first.lane.priority, first.max_attempts) == (DIRECT, Priority.HIGH, 3)
    assert (second.lane.endpoint, second.lane.priority) == (DIRECT, Priority.LOW)
    lifetimes = [each.deadline - each.queued_at for each in (first, second) if each.deadline]
    assert lifetimes == pytest.approx([60.0, 10.0])


@pytest.mark.parametrize("topic", ["out/a//b", "out/a b", "out/" + "a" * 32])
def test_a_topic_that_the_cloud_would_refuse_is_refused_here(heart: Heart, topic: str) -> None:
    """The cloud would refuse it after a paid exchange."""
    heart.publish(topic)
    assert heart.states() == ["rejected"]
    assert heart.ended()[0]["description"].startswith("topic: ")


def test_direct_ip_takes_any_topic_but_an_empty_level(make_heart: MakeHeart) -> None:
    """The rule is the cloud's own."""
    heart = make_heart(routes=[("scada/#", Route(DIRECT))])
    heart.publish("out/scada/a rather long name with spaces in it")
    heart.publish("out/scada//x")
    assert heart.states() == ["rejected"]
    assert len(heart.queued()) == 1


def test_a_message_that_the_outbox_could_never_hold_is_refused(make_heart: MakeHeart) -> None:
    """The outbox would drop it at each attempt."""
    heart = make_heart(limits=Limits(max_bytes=1000))
    heart.publish("out/a", b"x" * 1001)
    assert heart.states() == ["rejected"]
    assert "1000" in heart.ended()[0]["description"]
    assert Limits().max_bytes > MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("policy", "sms", "refused"),
    [
        ({"sms_refusal": "no SMS with TOTP"}, {"to": "+15551234567", "body": "x"}, "via"),
        ({"air_refusal": "no modem"}, {"to": "+15551234567", "body": "x", "via": "modem"}, "via"),
        ({}, {"to": "+15551234567", "body": "x" * 161}, "body"),
        (
            {"air_refusal": None, "max_segments": 1},
            {"to": "+15551234567", "body": "x" * 161, "via": "modem"},
            "body",
        ),
        ({}, {"to": "+15551234567", "body": ""}, "body"),
    ],
)
def test_an_sms_that_cannot_be_sent_is_refused(
    heart: Heart, policy: dict[str, object], sms: dict[str, str], refused: str
) -> None:
    """The way and the length decide."""
    heart.intake.reader.policy = Policy(heart.intake.reader.policy.router, **policy)  # type: ignore[arg-type]  # by name
    heart.publish("sms", json.dumps(sms).encode())
    (result,) = heart.ended()
    assert (result["channel"], result["state"]) == ("sms", "rejected")
    assert result["description"].startswith(f"{refused}: ")


def test_an_sms_takes_the_configured_way(heart: Heart) -> None:
    """A command may name another way."""
    heart.intake.reader.policy = Policy(
        heart.intake.reader.policy.router, default_via="modem", air_refusal=None
    )
    heart.publish("sms/15551234567", b"one")
    heart.publish("sms", b'{"to": "+15551234568", "body": "two", "via": "cloud"}')
    assert [job.request for job in heart.air.jobs] == [b"Sabcd1234+15551234567 one\n\n"]
    assert [job.request for job in heart.sms.jobs] == [b"Sabcd1234+15551234568 two\n\n"]


def test_a_topic_without_a_command_is_refused(heart: Heart) -> None:
    """A command about the bridge is refused on the session for messages."""
    heart.publish("network/set", b"connect")
    heart.publish("bridge/other")
    assert heart.states() == ["rejected", "rejected"]


def test_it_is_busy_while_a_delivery_waits(heart: Heart) -> None:
    """The watchdog sees that each delivery ends with its commit."""
    heart.intake.received(heart.session.delivery("out/a"), heart.session)
    (before,) = heart.intake.progress()
    heart.turn()
    (after,) = heart.intake.progress()
    assert (before.busy, after.busy) == (True, False)
    assert after.steps > before.steps


def test_ids_are_never_the_same() -> None:
    """Neither one run nor two runs make the same id twice."""
    one, other = id_source(), id_source()
    assert len({one(), one(), other(), other()}) == 4
