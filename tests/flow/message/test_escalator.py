"""Messages that were not delivered go as texts: when, to whom, how often, and what becomes of the texts."""

import pytest

from bridge.core.batching import Batching
from bridge.core.escalation import Escalation
from bridge.core.messages import CLOUD, Channel, Endpoint, Priority
from bridge.core.routing import Route
from bridge.flow.message.escalator import AT_ONCE, text_of
from bridge.protocol.sms.segments import cut, one_part
from bridge.store.outbox import Limits
from tests.doubles.heart import UNREACHED, Heart, answered, silent
from tests.flow.conftest import MakeHeart

ONE, TWO = "+15551234567", "+15557654321"
RULE = Escalation(120.0, (ONE,), limit=3, per=3600.0)


def routed(rule: Escalation = RULE, **options: object) -> list[tuple[str, Route]]:
    """Return the routes of a box whose alarms are escalated."""
    return [("a/#", Route(match="a/#", escalation=rule, priority=Priority.HIGH)._replace(**options))]  # type: ignore[arg-type]


def texts(heart: Heart) -> list[tuple[str, str]]:
    """Return the texts that went to the modem, in their order: recipient and body."""
    return [(job.request.split(b"+")[1].split()[0].decode(), body(job)) for job in heart.air.jobs]


def body(job: object) -> str:
    request: bytes = job.request  # type: ignore[attr-defined]
    return request.split(b" ", 1)[1].decode().rstrip("\n")


def said(heart: Heart) -> list[str]:
    """Return what these texts say."""
    return [each for _, each in texts(heart)]


def escalated(heart: Heart) -> list[dict[str, object]]:
    """Return the events of escalations."""
    return [fields for event, fields in heart.notices.events if event == "message.escalated"]


@pytest.fixture
def heart(make_heart: MakeHeart) -> Heart:
    """A box whose network is down, and whose modem texts."""
    heart = make_heart(routes=routed())
    heart.cloud.manner, heart.air.manner = UNREACHED, answered(b"00")
    return heart


def test_a_message_that_is_not_delivered_in_time_goes_as_a_text_once(heart: Heart) -> None:
    """With the message's id and priority, a result of its own and an event; the message goes on."""
    heart.publish("out/a/door", b"open\r\nnow", id="door-1")
    heart.turn(119.0)
    assert not heart.air.jobs, "its time has not passed"
    heart.turn(3.0)
    assert texts(heart) == [("15551234567", "a/door: open  now")]
    result = heart.ended()[0]
    assert (result["id"], result["channel"], result["to"], result["state"]) == (
        "door-1#sms-1", "sms", ONE, "delivered",
    )  # fmt: skip
    assert escalated(heart) == [
        {"id": "door-1", "channel": "cloud", "topics": ("a/door",), "to": (ONE,), "sms": ("door-1#sms-1",)}
    ]
    heart.turn(900.0)
    assert len(heart.air.jobs) == 1
    heart.cloud.manner = answered()
    heart.command("queue/set", b"flush")
    heart.turn(1.0)
    assert [each["state"] for each in heart.ended() if each["id"] == "door-1"] == ["delivered"]


def test_looking_for_timers_costs_nothing_without_any(heart: Heart) -> None:
    """Before the first alarm, and after the last one has ended."""
    heart.turn(5.0)
    idle = heart.time.pending
    heart.cloud.manner = answered()
    heart.publish("out/b")
    heart.turn(5.0)
    assert heart.time.pending == idle
    heart.cloud.manner = None
    heart.publish("out/a/door", b"open")
    heart.turn(5.0)
    assert heart.time.pending > idle
    heart.cloud.end(answered())
    heart.turn(5.0)
    assert heart.time.pending == idle


def test_one_that_is_delivered_in_time_costs_no_text(heart: Heart) -> None:
    """Its timer ends with it, and so does that of one that is purged."""
    heart.cloud.manner = answered()
    heart.publish("out/a/door", b"open")
    heart.cloud.manner = UNREACHED
    heart.turn(1.0)
    heart.publish("out/a/door", b"shut")
    heart.command("queue/set", b"purge")
    heart.turn(300.0)
    assert heart.states() == ["delivered", "dropped", "done"]
    assert not heart.air.jobs
    assert heart.outbox.escalations.timers == 0


@pytest.mark.parametrize("why", ["rejected", "expired", "failed", "dropped", "refused", "unreadable"])
def test_one_that_ends_before_its_time_is_escalated_at_once(make_heart: MakeHeart, why: str) -> None:
    """Whoever refuses it, and whether it was ever stored."""
    limits = Limits(max_messages=1, drop_oldest=why == "dropped")
    heart = make_heart(routes=routed(max_attempts=1 if why == "failed" else None), limits=limits)
    heart.cloud.manner, heart.air.manner = UNREACHED, answered(b"00")
    if why == "rejected":
        heart.cloud.manner = answered(b"[4,0]")
    elif why == "failed":
        heart.cloud.manner = silent()
    elif why == "refused":
        heart.uplink.paused = True
        heart.publish("out/b", b"fills the outbox", priority="high")
    topic = "out/a/with spaces" if why == "unreadable" else "out/a/door"
    heart.publish(topic, b"open", expiry=5 if why == "expired" else None, id="m")
    if why == "dropped":
        heart.publish("out/b", b"newer", priority="high")
    heart.uplink.paused = False
    heart.uplink.wake()
    heart.turn(7.0)
    assert said(heart) == [f"{topic.removeprefix('out/')}: open"]
    assert heart.ended()[0]["id"] == "m"
    assert heart.ended()[0]["state"] == {"refused": "dropped", "unreadable": "rejected"}.get(why, why)
    heart.turn(300.0)
    assert len(heart.air.jobs) == 1


def test_a_producer_that_repeats_what_was_refused_costs_one_text(make_heart: MakeHeart) -> None:
    """Refused or in the end stored: under one id it is one message, for a day."""
    heart = make_heart(routes=routed(), limits=Limits(max_messages=1))
    heart.air.manner = answered(b"00")
    heart.cloud.manner = UNREACHED
    heart.publish("out/b", b"fills the outbox", priority="high")
    for _ in range(3):
        heart.publish("out/a/door", b"open", id="m")
        heart.turn(10.0)
    heart.command("queue/set", b"purge")
    heart.publish("out/a/door", b"open", id="m")
    heart.turn(130.0)
    assert said(heart) == ["a/door: open"]
    heart.publish("out/a/door", b"refused too", id="other")
    heart.turn(5.0)
    assert said(heart) == ["a/door: open", "a/door: refused too"]


def test_a_text_that_still_waits_is_dropped_when_its_message_is_delivered(heart: Heart) -> None:
    """Nobody is alarmed about what has been heard."""
    heart.modem.air, air = None, heart.modem.air
    heart.publish("out/a/door", b"open", id="m")
    heart.turn(122.0)
    assert heart.queued() == ["open", "a/door: open"]
    heart.cloud.manner = answered()
    heart.command("queue/set", b"flush")
    heart.turn(1.0)
    heart.modem.air = air
    heart.turn(60.0)
    assert not heart.air.jobs
    assert {each["id"]: each["state"] for each in heart.ended() if each["channel"] != "queue"} == {
        "m": "delivered", "m#sms-1": "dropped",
    }  # fmt: skip
    assert "its message was delivered first" in [each["description"] for each in heart.ended()]


def test_each_number_gets_one_and_the_limit_counts_each(make_heart: MakeHeart) -> None:
    """Of a message that has not room for all its numbers none goes."""
    heart = make_heart(routes=routed(RULE._replace(numbers=(ONE, TWO))))
    heart.cloud.manner, heart.air.manner = UNREACHED, answered(b"00")
    heart.publish("out/a/1", b"x", id="m")
    heart.publish("out/a/2", b"x")
    heart.turn(130.0)
    assert [to for to, _ in texts(heart)] == ["15551234567", "15557654321"]
    assert sorted(each["id"] for each in heart.ended()) == ["m#sms-1", "m#sms-2"]


def test_many_at_once_send_as_many_as_the_limit_and_the_last_says_how_many_were_left_out(
    heart: Heart,
) -> None:
    """However many: the work of one turn is bounded, and the outbox does not fill with texts."""
    heart.air.manner = None
    number = 5 * AT_ONCE
    for each in range(number):
        heart.intake.received(heart.session.delivery("out/a/door", b"%d" % each), heart.session)
    heart.turn(140.0)
    assert len(heart.queued()) == number + 3
    heart.air.manner = answered(b"00")
    heart.air.end(answered(b"00"))
    heart.turn(5.0)
    assert said(heart) == ["a/door: 0", "a/door: 1", f"a/door: 2 ({number - 3} left out)"]
    heart.turn(3700.0)
    assert len(heart.air.jobs) == 3, "nothing was left out without a word"


def test_what_was_left_out_later_is_told_when_there_is_room_again(heart: Heart) -> None:
    """The newest goes then, with the number of the others."""
    for number in range(6):
        heart.publish("out/a/door", b"%d" % number)
        heart.turn(130.0)
    assert said(heart) == ["a/door: 0", "a/door: 1", "a/door: 2"]
    heart.turn(3600.0)
    assert said(heart)[3:] == ["a/door: 5 (2 left out)"]
    assert escalated(heart)[-1]["left_out"] == 2


def test_what_was_left_out_is_not_told_when_the_newest_was_delivered(heart: Heart) -> None:
    """Then the others were too, or the next text tells of them."""
    for number in range(5):
        heart.publish("out/a/door", b"%d" % number)
        heart.turn(130.0)
    heart.cloud.manner = answered()
    heart.command("queue/set", b"flush")
    heart.turn(4000.0)
    assert len(heart.air.jobs) == 3


def test_the_latest_takes_over_the_time_of_the_older(make_heart: MakeHeart) -> None:
    """A reading each minute does not put the text off for ever."""
    heart = make_heart(routes=routed(latest=True))
    heart.cloud.manner, heart.air.manner = UNREACHED, answered(b"00")
    heart.uplink.paused = True
    for number in range(3):
        heart.publish("out/a/door", b"%d" % number)
        heart.turn(50.0)
    heart.uplink.paused = False
    heart.uplink.wake()
    heart.turn(1.0)
    assert said(heart) == ["a/door: 2"]
    heart.uplink.paused = True
    heart.publish("out/a/door", b"3")
    heart.turn(100.0)
    assert len(heart.air.jobs) == 1, "of the older one was told; the newer one has its own time"
    heart.uplink.paused = False
    heart.turn(30.0)
    assert said(heart)[1:] == ["a/door: 3"]


def test_a_reload_that_changes_the_numbers_counts_and_one_that_removes_the_route_ends_it(
    heart: Heart,
) -> None:
    """The present configuration says who is told; the time is that of the message's acceptance."""
    heart.publish("out/a/door", b"1")
    heart.route(routed(RULE._replace(numbers=(TWO,), after=600.0)))
    heart.turn(130.0)
    assert texts(heart) == [("15557654321", "a/door: 1")]
    heart.publish("out/a/door", b"2")
    heart.route([])
    heart.turn(700.0)
    assert len(heart.air.jobs) == 1
    assert heart.outbox.escalations.timers == 0


def test_messages_in_batches_are_escalated_each(make_heart: MakeHeart) -> None:
    """With their own topics and contents."""
    heart = make_heart(routes=routed(batching=Batching(3600.0, 200, 4000, "batch", plain=False)))
    heart.cloud.manner, heart.air.manner = UNREACHED, answered(b"00")
    heart.publish("out/a/1", b"x")
    heart.publish("out/a/2", b"y")
    heart.turn(130.0)
    assert sorted(said(heart)) == ["a/1: x", "a/2: y"]


def test_a_text_whose_end_is_in_doubt_is_not_sent_twice(heart: Heart) -> None:
    """Its result says so."""
    heart.air.manner = silent()
    heart.publish("out/a/door", b"open")
    heart.turn(1000.0)
    assert len(heart.air.jobs) == 1
    assert heart.states() == ["unconfirmed"]


def test_without_a_modem_the_texts_go_by_the_cloud(heart: Heart) -> None:
    """As they do without any network interface of the bridge's own."""
    heart.intake.reader.policy = heart.intake.reader.policy._replace(air_refusal="no modem is managed")
    heart.sms.manner = answered(b"00")
    heart.publish("out/a/door", b"open")
    heart.turn(130.0)
    assert body(heart.sms.jobs[0]) == "a/door: open"


def test_a_direct_route_is_escalated_too(make_heart: MakeHeart) -> None:
    """Whatever the destination that is not reached."""
    heart = make_heart(routes=routed(endpoint=Endpoint(Channel.TCP, "scada", 5020)))
    heart.tcp.manner, heart.air.manner = UNREACHED, answered(b"00")
    heart.publish("out/a/pump", b"\xff\x00dry")
    heart.turn(130.0)
    assert said(heart) == ["a/pump:   dry"]
    assert CLOUD not in heart.uplink.conditions


# -- over a restart --------------------------------------------------------------------------------------


def test_it_survives_a_restart_and_happens_once(make_heart: MakeHeart) -> None:
    """A timer goes on, a text that was made stays, and what was escalated is not escalated again."""
    heart = make_heart(routes=routed())
    heart.modem.air = None
    heart.publish("out/a/door", b"1")
    heart.turn(130.0)
    heart.publish("out/a/door", b"2")
    heart.turn(60.0)
    again = make_heart(routes=routed(), clock=heart.time.clock)
    again.cloud.manner, again.air.manner = UNREACHED, answered(b"00")
    again.turn(50.0)
    assert said(again) == ["a/door: 1"]
    again.turn(15.0)
    assert said(again) == ["a/door: 1", "a/door: 2"]


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("x" * 200, "", "x" * 160),
        ("x" * 200, " (3 left out)", "x" * 147 + " (3 left out)"),
        ("€" * 200, "", "€" * 80),
        ("ж" * 200, "", "ж" * 70),
        ("a" + "😀" * 40, "", "a" + "😀" * 34),
        ("x" * 90 + "ж" * 90, "", "x" * 90),
        ("x" * 60 + "ж" * 90, "", "x" * 60 + "ж" * 10),
        ("", "", ""),
    ],
)
def test_a_text_is_cut_to_one_part(text: str, end: str, expected: str) -> None:
    """Between characters, and so that as much as possible is in it."""
    made = one_part(text, end)
    assert made == expected
    assert len(cut(made).parts) == 1


def test_what_is_not_text_becomes_spaces() -> None:
    """So the text can be read on any phone."""
    assert text_of(("a", "b"), b"1\n\x00\xc3\x28\xe2\x82") == "a: 1   ("
    assert text_of((), "ä\u2028b".encode()) == "ä b"
    assert text_of(("a",), b"") == "a:"
