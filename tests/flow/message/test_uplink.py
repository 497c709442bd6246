"""Uplink: which message is sent next, and its fate after each exchange."""

import pytest

from bridge.core.destination import HOLD, SUSPECTS
from bridge.core.messages import CLOUD, CLOUD_SMS, MODEM_SMS, Channel, Endpoint
from bridge.core.retry import MAX_DELAY
from bridge.core.routing import Route
from bridge.flow.message.uplink import EXPIRE_BATCH
from bridge.store.outbox import Limits
from tests.doubles.heart import SPENT, UNREACHED, Disk, Heart, Link, Peer, answered, silent
from tests.flow.conftest import MakeHeart


def sent(peer: Peer) -> list[str]:
    """Return the payloads of the requests, in the order in which they began."""
    return [job.request.decode().split('"d":"', 1)[1].split('"', 1)[0] for job in peer.jobs]


# -- the good case ---------------------------------------------------------------------------------------


def test_a_delivered_message_leaves_with_one_result(heart: Heart) -> None:
    """The result has the bytes of the exchange, and the event follows."""
    heart.publish("out/a", b"1")
    heart.cloud.end(answered())
    heart.turn()
    (result,) = heart.ended()
    assert (result["state"], result["code"], result["attempts"]) == ("delivered", 0, 1)
    assert (result["bytes_up"], result["bytes_down"]) == SPENT
    assert heart.queued() == []
    assert "message.sent" in heart.events()
    assert heart.outbox.ledger.spent(heart.time.now().wall)[0] == SPENT


def test_a_lane_keeps_its_order(heart: Heart) -> None:
    """The second message starts when the result of the first is durable."""
    heart.publish("out/a", b"1")
    heart.publish("out/a", b"2")
    assert sent(heart.cloud) == ["1"]
    heart.cloud.end(answered())
    assert sent(heart.cloud) == ["1"]
    heart.turn()
    assert sent(heart.cloud) == ["1", "2"]


def test_lanes_go_side_by_side_up_to_the_slots(make_heart: MakeHeart) -> None:
    """Each other topic is a lane of its own."""
    heart = make_heart(slots=2)
    for topic in "abc":
        heart.publish(f"out/{topic}", topic.encode())
    assert sent(heart.cloud) == ["a", "b"]
    heart.uplink.set_slots(3)
    heart.uplink.wake()
    heart.turn()
    assert sent(heart.cloud) == ["a", "b", "c"]


def test_between_lanes_the_priority_decides(make_heart: MakeHeart) -> None:
    """High goes before normal, and normal before low, however long the others wait."""
    heart = make_heart(slots=1)
    heart.uplink.paused = True
    for priority in ("low", "normal", "high"):
        heart.publish(f"out/{priority}", priority.encode(), priority=priority)
    heart.cloud.manner = answered()
    heart.uplink.paused = False
    heart.uplink.wake()
    heart.turn(2.0)
    assert sent(heart.cloud) == ["high", "normal", "low"]


def test_a_newer_message_goes_before_what_was_read_ahead(make_heart: MakeHeart) -> None:
    """Heads are read for more slots than are free; a better priority that comes meanwhile is still first."""
    heart = make_heart(slots=1)
    for topic in "abc":
        heart.publish(f"out/{topic}", topic.encode())
    assert sent(heart.cloud) == ["a"]
    heart.publish("out/urgent", b"urgent", priority="high")
    for _ in range(4):
        heart.cloud.end(answered())
        heart.turn()
    assert sent(heart.cloud) == ["a", "urgent", "b", "c"]


def test_what_is_purged_after_it_was_read_ahead_is_not_sent(make_heart: MakeHeart) -> None:
    """A slot gets free while the purge is being committed."""
    disk = Disk()
    heart = make_heart(slots=1, worker=disk)
    for topic in "abc":
        heart.publish(f"out/{topic}", topic.encode())
    disk.hangs = True
    heart.command("queue/set", b"purge")
    heart.cloud.end(answered())
    heart.turn()
    disk.go_on()
    heart.turn(2.0)
    assert sent(heart.cloud) == ["a"]
    assert sorted(heart.states()) == ["delivered", "done", "dropped", "dropped"]


def test_more_slots_are_used_at_once(make_heart: MakeHeart) -> None:
    """Though more was to be had than was read ahead for the slots that there were."""
    heart = make_heart(slots=1)
    for topic in "abcdef":
        heart.publish(f"out/{topic}", topic.encode())
    heart.uplink.set_slots(6)
    heart.uplink.wake()
    heart.turn()
    assert sent(heart.cloud) == ["a", "b", "c", "d", "e", "f"]


def test_a_slot_is_free_when_the_exchange_ends(make_heart: MakeHeart) -> None:
    """The next exchange does not wait for the commit; messages in doubt are twice the slots at most."""
    disk = Disk()
    heart = make_heart(slots=2, worker=disk)
    for topic in "abcdefgh":
        heart.publish(f"out/{topic}", topic.encode())
    disk.hangs = True
    heart.cloud.end(answered())
    heart.cloud.end(answered())
    heart.turn(0.0)
    assert (sent(heart.cloud), heart.uplink.in_flight) == (["a", "b", "c", "d"], 4)
    heart.cloud.end(answered())
    heart.cloud.end(answered())
    heart.turn(5.0)
    assert (sent(heart.cloud), heart.uplink.in_flight) == (["a", "b", "c", "d"], 4)
    disk.go_on()
    heart.turn()
    assert sent(heart.cloud) == ["a", "b", "c", "d", "e", "f"]


def test_a_lane_is_free_when_the_result_is_durable(make_heart: MakeHeart) -> None:
    """So its order stays, whenever the power fails."""
    disk = Disk()
    heart = make_heart(slots=2, worker=disk)
    heart.publish("out/a", b"1")
    heart.publish("out/a", b"2")
    disk.hangs = True
    heart.cloud.end(answered())
    heart.turn(5.0)
    assert sent(heart.cloud) == ["1"]
    disk.go_on()
    heart.turn()
    assert sent(heart.cloud) == ["1", "2"]


def test_the_slot_of_an_sms_is_free_when_its_result_is_durable(make_heart: MakeHeart) -> None:
    """A crash then leaves no more than `slots` of them unconfirmed."""
    disk = Disk()
    heart = make_heart(slots=1, worker=disk)
    for number in (7, 8):
        heart.publish(f"sms/1555123456{number}", b"hello")
    disk.hangs = True
    heart.sms.end(answered())
    heart.turn(5.0)
    assert len(heart.sms.jobs) == 1
    disk.go_on()
    heart.turn()
    assert len(heart.sms.jobs) == 2


# -- failures --------------------------------------------------------------------------------------------


def test_while_a_destination_is_down_one_message_probes_it(heart: Heart) -> None:
    """The others wait without attempts, and all go after an answer."""
    for topic in "abcdefgh":
        heart.publish(f"out/{topic}", topic.encode())
    for _ in range(4):
        heart.cloud.end(UNREACHED)
    heart.turn(0.0)
    assert heart.condition(CLOUD) == "down"
    heart.cloud.manner = UNREACHED
    heart.turn(3600.0)
    assert heart.condition(CLOUD) == "down"
    assert heart.cloud.in_progress <= 1
    untouched = [each for each in heart.outbox.page(0, 1 << 60, 10) if each.payload in b"efgh"]
    assert [each.attempts for each in untouched] == [0, 0, 0, 0]
    heart.cloud.manner = answered()
    heart.turn(600.0)
    assert heart.states() == ["delivered"] * 8


def test_a_message_that_is_never_answered_stops_only_its_lane(heart: Heart) -> None:
    """It is one lane, which is no evidence against the destination."""
    heart.publish("out/a", b"1")
    for _ in range(SUSPECTS + 1):
        heart.cloud.end(silent())
        heart.turn(MAX_DELAY)
    assert heart.condition(CLOUD) == "up"
    heart.publish("out/b", b"2")
    assert sent(heart.cloud)[-1] == "2"


def test_several_lanes_without_an_answer_take_the_destination_down(heart: Heart) -> None:
    """No answer came in between."""
    for topic in "abc":
        heart.publish(f"out/{topic}")
    for _ in range(SUSPECTS):
        heart.cloud.end(silent())
    assert heart.condition(CLOUD) == "down"


def test_lanes_that_waited_for_a_dead_destination_go_when_it_answers(heart: Heart) -> None:
    """Their long delays were for its absence: after the first answer all go at once."""
    old = [f"old{number}" for number in range(SUSPECTS - 1)]
    for topic in old:
        heart.publish(f"out/{topic}")
    for _ in range(10):
        while heart.cloud.in_progress:
            heart.cloud.end(silent())
        heart.turn(MAX_DELAY)
    heart.cloud.manner = silent()
    while heart.cloud.in_progress:
        heart.cloud.end(silent())
    heart.publish("out/new")
    heart.turn()
    assert (heart.condition(CLOUD), heart.states()) == ("down", [])
    heart.cloud.manner = answered()
    while not heart.states():
        heart.turn(0.5)
    heart.turn(1.0)
    assert heart.states() == ["delivered"] * SUSPECTS


def test_refused_credentials_hold_the_destination(heart: Heart) -> None:
    """Nothing is lost, no attempt is counted, and one message tries again after five minutes."""
    heart.publish("out/a", b"1")
    heart.publish("out/b", b"2")
    heart.cloud.end(answered(b"[3,0]"))
    heart.cloud.end(answered(b"[3,0]"))
    heart.turn()
    assert (heart.condition(CLOUD), heart.states()) == ("held", [])
    heart.turn(HOLD - 5.0)
    assert len(heart.cloud.jobs) == 2
    heart.turn(10.0)
    assert len(heart.cloud.jobs) == 3
    assert {each.attempts for each in heart.outbox.page(0, 1 << 60, 10)} == {0}


def test_released_a_held_destination_is_tried_at_once(heart: Heart) -> None:
    """A reload with corrected credentials releases it."""
    heart.publish("out/a", b"1")
    heart.cloud.end(answered(b"[3,0]"))
    heart.turn()
    heart.access = heart.access._replace(credentials=heart.access.credentials._replace(key="efgh5678"))  # type: ignore[union-attr, call-arg]  # a device key
    heart.uplink.release()
    heart.turn()
    assert heart.cloud.jobs[-1].request.startswith(b'{"k":"efgh5678"')


@pytest.mark.parametrize("code", [2, 4, 5, 7, 8])
def test_a_permanent_code_is_final(heart: Heart, code: int) -> None:
    """The same bytes can never succeed."""
    heart.publish("out/a")
    heart.cloud.end(answered(b"[%d,0]" % code))
    heart.turn()
    (result,) = heart.ended()
    assert (result["state"], result["code"]) == ("rejected", code)


def test_attempts_may_run_out(make_heart: MakeHeart) -> None:
    """The route bounds them; the result counts the bytes of all attempts."""
    heart = make_heart(routes=[("#", Route(max_attempts=2))])
    heart.cloud.manner = silent()
    heart.publish("out/a")
    heart.turn(MAX_DELAY)
    (result,) = heart.ended()
    assert (result["state"], result["attempts"]) == ("failed", 2)
    assert result["bytes_up"] == 2 * SPENT.up


# -- the link --------------------------------------------------------------------------------------------


def test_without_a_link_nothing_is_tried(heart: Heart) -> None:
    """The uplink asks for an on-demand link, and sends when it is up."""
    link = heart.paths.link = Link(carries=False)
    heart.publish("out/a")
    heart.turn(600.0)
    assert heart.cloud.jobs == []
    assert link.wanted
    link.carries = True
    heart.uplink.link_back()
    heart.turn()
    assert len(heart.cloud.jobs) == 1


def test_a_link_that_goes_down_uses_up_no_attempt(heart: Heart) -> None:
    """The message had not left, and goes over the next link."""
    link = heart.paths.link = Link()
    heart.publish("out/a")
    link.carries = False
    heart.cloud.end(UNREACHED)
    heart.turn()
    (queued,) = heart.outbox.page(0, 1 << 60, 10)
    assert (queued.attempts, heart.condition(CLOUD)) == (0, "up")
    link.carries = True
    heart.uplink.link_back()
    heart.turn()
    assert len(heart.cloud.jobs) == 2


def test_a_link_over_which_nothing_is_reached_is_known(heart: Heart) -> None:
    """The link's owner dials again after a while."""
    heart.publish("out/a")
    assert heart.uplink.unreached_since() is None
    heart.cloud.end(UNREACHED)
    since = heart.time.now().mono
    heart.cloud.manner = UNREACHED
    heart.turn(100.0)
    assert heart.uplink.unreached_since() == since
    heart.cloud.manner = answered()
    heart.turn(600.0)
    assert heart.uplink.unreached_since() is None


# -- SMS -------------------------------------------------------------------------------------------------


def test_an_sms_in_doubt_is_not_sent_again(heart: Heart) -> None:
    """A second one costs and annoys."""
    heart.publish("sms/15551234567", b"hello")
    heart.sms.end(silent())
    heart.turn(3600.0)
    assert (heart.states(), len(heart.sms.jobs)) == (["unconfirmed"], 1)
    assert "sms.unconfirmed" in heart.events()


def test_an_sms_of_which_nothing_left_is_sent_again(heart: Heart) -> None:
    """Nothing was sent, so there is no doubt."""
    heart.publish("sms/15551234567", b"hello")
    heart.sms.end(silent(written=False))
    heart.sms.manner = answered(b"00")
    heart.turn(3600.0)
    assert (heart.states(), len(heart.sms.jobs)) == (["delivered"], 2)


def test_a_crash_during_an_sms_ends_it_as_unconfirmed(make_heart: MakeHeart) -> None:
    """A durable mark precedes its first byte."""
    heart = make_heart()
    heart.publish("sms/15551234567", b"hello")
    assert heart.sms.in_progress
    heart = make_heart()
    heart.turn(600.0)
    assert (heart.states(), heart.sms.jobs, heart.queued()) == (["unconfirmed"], [], [])


def test_a_crash_after_an_sms_that_had_to_wait_sends_it(make_heart: MakeHeart) -> None:
    """An attempt that sent nothing clears the mark."""
    heart = make_heart()
    heart.publish("sms/15551234567", b"hello")
    heart.sms.end(UNREACHED)
    heart.turn(0.0)
    heart = make_heart()
    heart.turn(600.0)
    assert (heart.states(), len(heart.sms.jobs)) == ([], 1)


def test_a_modem_gets_one_sms_at_a_time(heart: Heart) -> None:
    """The slots do not count, because a marked SMS should be on its way."""
    for number in (7, 8):
        heart.publish("sms", b'{"to": "+1555123456%d", "body": "x", "via": "modem"}' % number)
        heart.publish("sms", b'{"to": "+1555123456%d", "body": "x", "via": "cloud"}' % number)
    assert (len(heart.air.jobs), len(heart.sms.jobs)) == (1, 2)
    assert {MODEM_SMS, CLOUD_SMS} <= set(heart.uplink.conditions)


# -- deadlines -------------------------------------------------------------------------------------------


def test_a_message_past_its_deadline_expires_with_a_result(heart: Heart) -> None:
    """It is not sent any more."""
    heart.uplink.paused = True
    heart.publish("out/a", expires="10s")
    heart.turn(9.0)
    assert heart.states() == []
    heart.turn(2.0)
    assert (heart.states(), heart.queued(), heart.cloud.jobs) == (["expired"], [], [])


def test_a_message_in_flight_does_not_expire(heart: Heart) -> None:
    """Its exchange decides its result."""
    heart.publish("out/a", expires="10s")
    heart.turn(60.0)
    assert heart.states() == []
    heart.cloud.end(answered())
    heart.turn()
    assert heart.states() == ["delivered"]


def test_very_many_messages_expire_in_portions(make_heart: MakeHeart) -> None:
    """Each gets its result when ``store.max_age`` is over."""
    heart = make_heart(limits=Limits(max_age=60.0))
    heart.uplink.paused = True
    for number in range(EXPIRE_BATCH + 10):
        heart.intake.received(heart.session.delivery(f"out/{number}"), heart.session)
    heart.turn(70.0)
    assert heart.states() == ["expired"] * (EXPIRE_BATCH + 10)


# -- control ---------------------------------------------------------------------------------------------


def test_paused_nothing_begins(heart: Heart) -> None:
    """An exchange in progress ends."""
    heart.publish("out/a")
    heart.uplink.paused = True
    heart.publish("out/b")
    heart.cloud.end(answered())
    heart.turn(600.0)
    assert (heart.states(), len(heart.cloud.jobs)) == (["delivered"], 1)


@pytest.mark.parametrize("held_by", ["pause", "stop"])
def test_what_is_being_noted_before_its_first_byte_does_not_begin(
    make_heart: MakeHeart, held_by: str
) -> None:
    """An SMS in front of which its mark is being written: it is taken back, and the SMS is sent once."""
    disk = Disk()
    heart = make_heart(worker=disk)
    heart.uplink.paused = True
    heart.publish("sms/15551234567", b"hello")
    heart.uplink.paused = False
    disk.hangs = True
    heart.uplink.wake()
    heart.turn()
    assert heart.uplink.in_flight == 1
    if held_by == "pause":
        heart.uplink.paused = True
    else:
        heart.uplink.stop()
    disk.go_on()
    heart.turn()
    assert (heart.sms.jobs, heart.uplink.in_flight, heart.outbox.started()) == ([], 0, [])
    heart = make_heart()
    heart.turn()
    heart.sms.end(answered())
    heart.turn()
    assert heart.states() == ["delivered"]


def test_stopped_nothing_begins(heart: Heart) -> None:
    """An exchange in progress ends, with its result."""
    heart.publish("out/a")
    heart.uplink.stop()
    heart.publish("out/b")
    heart.cloud.end(answered())
    heart.turn(600.0)
    assert (heart.states(), heart.queued()) == (["delivered"], ["x"])


def test_a_flush_tries_what_waits(heart: Heart) -> None:
    """The delays of lanes and destinations end."""
    heart.publish("out/a")
    heart.cloud.end(UNREACHED)
    heart.turn(0.0)
    heart.uplink.flush()
    heart.turn(0.01)
    assert len(heart.cloud.jobs) == 2


def test_what_an_earlier_run_left_is_sent(make_heart: MakeHeart) -> None:
    """The start is reason enough."""
    heart = make_heart()
    heart.uplink.paused = True
    heart.publish("out/a", b"1")
    heart = make_heart()
    heart.turn()
    assert sent(heart.cloud) == ["1"]


# -- Direct IP -------------------------------------------------------------------------------------------


def test_each_destination_goes_by_itself(make_heart: MakeHeart) -> None:
    """A dead host does not hold the cloud's messages."""
    scada = Endpoint(Channel.TCP, "scada", 5020)
    heart = make_heart(routes=[("scada", Route(scada))])
    heart.publish("out/scada", b"\0raw")
    heart.tcp.end(UNREACHED)
    heart.publish("out/a")
    assert (heart.condition(scada), heart.condition(CLOUD)) == ("down", "up")
    assert (heart.tcp.jobs[0].request, heart.tcp.jobs[0].host) == (b"\0raw", "scada")
    assert len(heart.cloud.jobs) == 1


def test_a_connection_is_told_from_its_begin_to_its_end(make_heart: MakeHeart) -> None:
    """The events name the peer and the message; a datagram has none."""
    routes = [
        ("tcp", Route(Endpoint(Channel.TCP, "scada", 5020))),
        ("udp", Route(Endpoint(Channel.UDP, "scada", 5020))),
    ]
    heart = make_heart(routes=routes)
    heart.publish("out/tcp", id="mine")
    heart.publish("out/udp")
    heart.tcp.end(answered())
    heart.udp.end(answered())
    about = {"channel": "tcp", "to": "scada:5020", "id": "mine"}
    sockets = [each for each in heart.notices.events if each[0].startswith("socket.")]
    assert sockets == [("socket.connected", about), ("socket.closed", about)]


def test_a_datagram_too_large_is_rejected_without_an_exchange(make_heart: MakeHeart) -> None:
    """It can never be sent; the next of its lane goes."""
    heart = make_heart(routes=[("udp", Route(Endpoint(Channel.UDP, "scada", 5020)))])
    heart.publish("out/udp", b"x" * 65508)
    heart.publish("out/udp", b"y")
    assert heart.states() == ["rejected"]
    assert [job.request for job in heart.udp.jobs] == [b"y"]


# -- for the watchdog ------------------------------------------------------------------------------------


def test_it_is_busy_while_an_exchange_is_out(heart: Heart) -> None:
    """The limit of the exchange is part of the progress."""
    heart.publish("out/a")
    looks, cloud = heart.uplink.progress()
    assert (looks.name, looks.busy, cloud.name) == ("looks", True, "uplink cloud")
    assert (cloud.busy, cloud.extra) == (True, heart.cloud.jobs[0].limit)
    heart.cloud.end(answered())
    heart.turn()
    _, after = heart.uplink.progress()
    assert (after.busy, after.steps) == (False, cloud.steps + 1)
