"""Batches in the uplink: when they go, what is in them, and what becomes of their messages."""

import base64
import json
import random
import re
import sys
import tracemalloc
from typing import Any

import pytest

from bridge.batch import Batch, decode
from bridge.core.batching import REFUSED_FOR, Batching
from bridge.core.budget import Bounds
from bridge.core.messages import CLOUD, Traffic
from bridge.core.routing import Route, Router
from bridge.flow.link.demand import Demand
from bridge.flow.message.budget import Budget, Plan
from bridge.store.outbox import Limits
from tests.doubles.heart import SPENT, TIMEOUT, UNREACHED, Disk, Heart, Link, answered, silent
from tests.doubles.time import NOON, Clock
from tests.flow.conftest import MakeHeart

REFUSAL = answered(b"[5,0]")
EVERY = 900.0
TICK = 1.0
"""Seconds between two looks of the uplink."""

BATCHING = Batching(every=EVERY, messages=10)


def route(batching: Batching | None = BATCHING, **options: Any) -> list[tuple[str, Route]]:
    """Return the routes of a flow in which all but ``alone/#`` goes in batches."""
    return [("alone/#", Route()), ("#", Route(match="#", batching=batching, **options))]


@pytest.fixture
def heart(make_heart: MakeHeart) -> Heart:
    return make_heart(routes=route())


def fields(request: bytes) -> dict[str, Any]:
    """Return the keys of a request."""
    found: dict[str, Any] = json.loads(request)
    return found


def requests(heart: Heart) -> list[Batch | bytes]:
    """Return what was sent, in order: batches, or the payloads of ordinary requests."""
    found: list[Batch | bytes] = []
    for job in heart.cloud.jobs:
        request = fields(job.request)
        found.append(decode(request["d"]) if request.get("t") == "batch" else request["d"].encode())
    return found


def payloads(heart: Heart) -> list[list[str] | str]:
    """Return the payloads of `requests`."""
    return [
        each.decode() if isinstance(each, bytes) else [reading.payload.decode() for reading in each.readings]
        for each in requests(heart)
    ]


def batch(heart: Heart, place: int = -1) -> Batch:
    """Return one of the batches that were sent."""
    found = requests(heart)[place]
    assert isinstance(found, Batch)
    return found


def publish(heart: Heart, *texts: str, topic: str = "s/a", **options: Any) -> None:
    for text in texts:
        heart.publish(f"out/{topic}", text.encode(), **options)


def finish(heart: Heart, *answers: Any) -> None:
    """End one exchange after the other."""
    for answer in answers or (answered(),):
        heart.cloud.end(answer)
        heart.turn()


# -- when it goes ----------------------------------------------------------------------------------------


def test_the_oldest_waits_for_its_time_and_takes_the_others_along(heart: Heart) -> None:
    """One request with the topic of batches, and in it each message with its own topics and time."""
    publish(heart, "1", topic="s/a")
    heart.turn(600.0)
    publish(heart, "2", topic="s/b")
    publish(heart, "3", topic="s/a", topics="x,y")
    heart.turn(EVERY - 602)
    assert heart.cloud.jobs == []
    heart.turn(2.0)
    sent = batch(heart)
    assert [(each.topics, each.payload) for each in sent.readings] == [
        (("s/a",), b"1"),
        (("s/b",), b"2"),
        (("s/a", "x", "y"), b"3"),
    ]
    assert [round(each.seconds / 10) for each in sent.readings] == [0, 60, 60]
    assert abs((sent.readings[0].at or 0) + EVERY - heart.time.now().wall) <= 3
    assert fields(heart.cloud.jobs[0].request)["t"] == "batch"


def test_a_full_number_goes_at_once(heart: Heart) -> None:
    """And the rest waits for its own time."""
    publish(heart, *map(str, range(12)))
    assert payloads(heart) == [[str(n) for n in range(10)]]
    finish(heart)
    heart.turn(EVERY - 20)
    assert heart.cloud.in_progress == 0
    heart.turn(20.0)
    assert payloads(heart)[1] == ["10", "11"]


def test_the_size_as_it_is_sent_decides(make_heart: MakeHeart) -> None:
    """The batch goes when one more would not fit; its request has at most that many bytes."""
    heart = make_heart(routes=route(Batching(every=EVERY, messages=1000, bytes=600)))
    noise = [base64.b64encode(bytes((n * 7 + k * k) % 251 for k in range(40))).decode() for n in range(60)]
    publish(heart, *noise)
    assert heart.cloud.jobs, "sent by its size"
    for _ in range(20):
        if heart.cloud.in_progress:
            finish(heart)
    heart.command("queue/set", b"flush")
    finish(heart)
    sent = [job.request for job in heart.cloud.jobs]
    assert all(len(each) <= 600 for each in sent)
    assert all(len(each) > 450 for each in sent[:-1]), "and nearly that"
    assert [text for each in payloads(heart) for text in each] == noise


def test_a_deadline_hurries_the_batch(heart: Heart) -> None:
    """It goes twice the timeout before the earliest deadline in it."""
    publish(heart, "1")
    publish(heart, "2", expires="100s")
    publish(heart, "3")
    heart.turn(100 - 2 * TIMEOUT - 2)
    assert heart.cloud.jobs == []
    heart.turn(3.0)
    assert payloads(heart) == [["1", "2", "3"]]


def test_the_age_at_which_messages_end_hurries_it_too(make_heart: MakeHeart) -> None:
    """Else messages whose batch waits longer than `store.max_age` would never be sent."""
    heart = make_heart(routes=route(), limits=Limits(max_age=60.0))
    publish(heart, "1")
    heart.turn(52.0)
    assert payloads(heart) == [["1"]]


def test_a_flush_sends_what_is_there(heart: Heart) -> None:
    """All of it, in as many batches as it takes; what comes afterwards waits again."""
    heart.uplink.paused = True
    publish(heart, *map(str, range(13)))
    heart.uplink.paused = False
    heart.command("queue/set", b"flush")
    publish(heart, "later")
    finish(heart)
    finish(heart)
    assert [len(each) for each in payloads(heart)] == [10, 4]
    publish(heart, "last")
    heart.turn(10.0)
    assert heart.cloud.in_progress == 0


def test_a_lone_message_is_a_batch_of_one(heart: Heart) -> None:
    """So that receivers see one form."""
    publish(heart, "1")
    heart.turn(EVERY + TICK)
    assert payloads(heart) == [["1"]]


def test_priorities_have_batches_of_their_own(heart: Heart) -> None:
    """A batch of each is in flight at a time, and the better priority goes first."""
    publish(heart, *"abcdefghi", priority="low")
    publish(heart, *"ABCDEFGHI", priority="high")
    heart.uplink.set_slots(1)
    publish(heart, "j", priority="low")
    finish(heart)
    heart.command("queue/set", b"flush")
    assert payloads(heart) == [list("abcdefghij"), list("ABCDEFGHI")]


def test_one_batch_of_a_route_and_priority_is_in_flight(heart: Heart) -> None:
    """Order is kept from batch to batch, whatever their topics; ordinary messages go beside it."""
    for n in range(25):
        publish(heart, str(n), topic=f"s/{n}")
    publish(heart, "alone", topic="alone/a")
    assert payloads(heart) == [[str(n) for n in range(10)], "alone"]
    finish(heart)
    assert payloads(heart)[2] == [str(n) for n in range(10, 20)]


def test_what_waits_through_a_restart_goes_at_its_time(make_heart: MakeHeart) -> None:
    """The time that it waited before counts."""
    heart = make_heart(routes=route())
    publish(heart, "1", "2")
    heart.turn(EVERY - 60)
    heart = make_heart(routes=route(), clock=heart.time.clock)
    heart.turn(50.0)
    assert heart.cloud.jobs == []
    heart.turn(20.0)
    assert payloads(heart) == [["1", "2"]]


# -- too large for a batch -------------------------------------------------------------------------------


def test_a_message_that_fits_in_no_batch_goes_alone_and_in_order(make_heart: MakeHeart) -> None:
    """As an ordinary request with its own topics, after what waits before it."""
    heart = make_heart(routes=route(Batching(every=EVERY, bytes=300)))
    large = "".join(chr(33 + (n * n + n // 7) % 90) for n in range(900)).replace('"', "'").replace("\\", "/")
    publish(heart, "1", "2")
    publish(heart, large, topic="s/large")
    publish(heart, "3")
    finish(heart)
    assert payloads(heart) == [["1", "2"], large]
    assert fields(heart.cloud.jobs[1].request)["t"] == "s/large"
    finish(heart)
    assert heart.cloud.in_progress == 0
    heart.turn(EVERY + TICK)
    finish(heart)
    assert payloads(heart)[2] == ["3"]
    assert heart.states() == ["delivered"] * 4
    assert ["batch" in each for each in heart.ended()] == [True, True, False, True]


# -- results ---------------------------------------------------------------------------------------------


def test_each_message_has_its_result_and_its_share(heart: Heart) -> None:
    """With its own topics; the shares add up to the exchange, which is counted once."""
    for n in range(7):
        publish(heart, str(n), topic=f"s/{n}")
    heart.command("queue/set", b"flush")
    finish(heart)
    results = [each for each in heart.ended() if each["channel"] == "cloud"]
    assert [each["topics"] for each in results] == [[f"s/{n}"] for n in range(7)]
    assert {each["state"] for each in results} == {"delivered"}
    named = {json.dumps(each["batch"]) for each in results}
    assert named == {json.dumps({"id": batch(heart).id, "messages": 7})}
    assert (sum(each["bytes_up"] for each in results), sum(each["bytes_down"] for each in results)) == SPENT
    assert max(each["bytes_up"] for each in results) - min(each["bytes_up"] for each in results) <= 1
    assert heart.outbox.ledger.spent(heart.time.now().wall)[0] == SPENT
    assert heart.outbox.ledger.messages == 0
    assert re.fullmatch("[a-z2-7]{16}", str(batch(heart).id))


def test_a_repeat_is_the_same_batch_and_its_cost_is_told(heart: Heart) -> None:
    """The same id and content, whatever has come since; the results tell all attempts and all bytes."""
    publish(heart, "1", "2")
    heart.command("queue/set", b"flush")
    publish(heart, "3")
    finish(heart, silent())
    heart.turn(400.0)
    finish(heart)
    first, second = (job.request for job in heart.cloud.jobs)
    assert first == second
    results = [each for each in heart.ended() if each["channel"] == "cloud"]
    assert [each["attempts"] for each in results] == [2, 2]
    assert sum(each["bytes_up"] for each in results) == 2 * SPENT.up
    assert heart.outbox.ledger.spent(heart.time.now().wall)[0] == Traffic(2 * SPENT.up, 2 * SPENT.down)
    assert heart.queued() == ["3"]


def test_a_restart_repeats_the_batch_that_was_in_flight(make_heart: MakeHeart) -> None:
    """Its content was on disk before its first byte: a receiver that keeps ids sees each message once."""
    heart = make_heart(routes=route())
    publish(heart, *map(str, range(10)))
    (before,) = heart.cloud.jobs
    heart = make_heart(routes=route())
    publish(heart, "new")
    heart.turn()
    finish(heart)
    assert heart.cloud.jobs[0].request == before.request
    assert heart.states() == ["delivered"] * 10
    assert heart.queued() == ["new"]


def test_no_byte_leaves_before_the_batch_is_on_disk(make_heart: MakeHeart) -> None:
    """The exchange starts after the commit."""
    held: list[Any] = []
    heart = make_heart(routes=route(), worker=lambda call, done: held.append((call, done)))
    delivery = heart.session.delivery("queue", b"")
    assert delivery.mid
    for text in ("1", "2"):
        heart.intake.received(heart.session.delivery("out/s", text.encode()), heart.session)
    heart.turn()
    call, done = held.pop()
    call()
    done(None)
    heart.uplink.flush()
    for _ in range(3):
        heart.turn()
        if held and not heart.outbox.batches.division(1).formed:
            call, done = held.pop()
            call()
            done(None)
    assert heart.outbox.batches.division(1).formed, "the batch is being committed"
    assert heart.cloud.jobs == []
    call, done = held.pop()
    call()
    done(None)
    heart.turn()
    assert payloads(heart) == [["1", "2"]]


def test_an_expired_message_has_its_result_and_stays_in_the_repeat(heart: Heart) -> None:
    """Its share falls to the others."""
    publish(heart, "1", "2", "3")
    publish(heart, "short", expires="60s")
    heart.command("queue/set", b"flush")
    heart.cloud.manner = UNREACHED
    finish(heart, silent())
    heart.turn(70.0)
    (expired,) = [each for each in heart.ended() if each["state"] == "expired"]
    assert expired["bytes_up"] == 0
    assert expired["batch"]["messages"] == 4
    heart.cloud.manner = answered()
    heart.turn(600.0)
    assert payloads(heart)[-1] == ["1", "2", "3", "short"]
    done = [each for each in heart.ended() if each["state"] == "delivered"]
    spent = heart.outbox.ledger.spent(heart.time.now().wall)[0]
    assert len(done) == 3
    assert sum(each["bytes_up"] for each in done) == spent.up


def took_all(heart: Heart, *states: str) -> list[dict[str, Any]]:
    """Return the results of a batch after its one exchange; check their ``states`` and that they bear it."""
    results = [each for each in heart.ended() if each["channel"] == "cloud"]
    assert sorted(each["state"] for each in results) == sorted(states)
    spent = heart.outbox.ledger.spent(heart.time.now().wall)[0]
    assert spent.up > 0
    assert (sum(each["bytes_up"] for each in results), sum(each["bytes_down"] for each in results)) == spent
    assert {each["batch"]["messages"] for each in results} == {len(states)}
    assert min(each["attempts"] for each in results) >= 1
    return results


@pytest.mark.parametrize("expires", [["60s", "60s", "60s"], ["60s", "80s", "70s"]])
def test_what_a_batch_has_cost_is_the_last_ones_where_all_expire(heart: Heart, expires: list[str]) -> None:
    """Whether they end in one transaction or each in its own."""
    for number, lifetime in enumerate(expires):
        publish(heart, f"{number}", expires=lifetime)
    heart.command("queue/set", b"flush")
    heart.cloud.manner = UNREACHED
    finish(heart, silent())
    heart.turn(100.0)
    results = took_all(heart, "expired", "expired", "expired")
    assert [each["bytes_up"] for each in results[:2]] == [0, 0]


def test_what_a_batch_has_cost_is_the_last_ones_where_all_are_purged(heart: Heart) -> None:
    """After one that has expired too."""
    publish(heart, "1", "2")
    publish(heart, "short", expires="60s")
    heart.command("queue/set", b"flush")
    heart.command("queue/set", b"pause")
    finish(heart, silent())
    heart.turn(70.0)
    heart.command("queue/set", b"purge")
    took_all(heart, "expired", "dropped", "dropped")


def test_what_a_batch_has_cost_is_the_last_ones_where_all_are_dropped(make_heart: MakeHeart) -> None:
    """For newer ones, because the outbox is full."""
    heart = make_heart(routes=route(), limits=Limits(max_messages=2, drop_oldest=True))
    publish(heart, "1", "2")
    heart.command("queue/set", b"flush")
    heart.command("queue/set", b"pause")
    finish(heart, silent())
    publish(heart, "3", "4")
    took_all(heart, "dropped", "dropped")


def test_a_batch_of_which_none_waits_is_not_repeated(heart: Heart) -> None:
    """Purged as a whole, it is forgotten; the next messages are another batch."""
    publish(heart, "1", "2")
    heart.command("queue/set", b"flush")
    first = batch(heart).id
    heart.command("queue/set", b"pause")
    finish(heart, silent())
    heart.command("queue/set", b"purge")
    heart.command("queue/set", b"resume")
    assert heart.states().count("dropped") == 2
    assert heart.outbox.batches.division(1).formed is None
    publish(heart, "3")
    heart.turn(EVERY + TICK)
    assert payloads(heart) == [["1", "2"], ["3"]]
    assert batch(heart).id != first


def test_a_purge_leaves_the_batch_in_flight(heart: Heart) -> None:
    """What may have been delivered is not called dropped."""
    publish(heart, *map(str, range(12)))
    heart.command("queue/set", b"purge")
    assert heart.states().count("dropped") == 2
    finish(heart)
    assert heart.states().count("delivered") == 10


def test_attempts_that_run_out_end_the_messages_one_by_one(make_heart: MakeHeart) -> None:
    """A reload may have changed the limit: each message has the one that it came with."""
    heart = make_heart(routes=route(max_attempts=2))
    publish(heart, "1", "2")
    heart.intake.reader.policy = heart.intake.reader.policy._replace(router=Router(route(max_attempts=3)))
    publish(heart, "3")
    heart.command("queue/set", b"flush")
    finish(heart, silent())
    assert [each for each in heart.ended() if each["channel"] == "cloud"] == []
    heart.turn(10.0)
    finish(heart, silent())
    failed = [each for each in heart.ended() if each["channel"] == "cloud"]
    assert [(each["state"], each["attempts"]) for each in failed] == [("failed", 2)] * 2
    heart.turn(20.0)
    finish(heart, silent())
    ended = [each for each in heart.ended() if each["channel"] == "cloud"]
    assert [(each["state"], each["attempts"]) for each in ended[2:]] == [("failed", 3)]
    assert sum(each["bytes_up"] for each in ended) == 3 * SPENT.up
    assert heart.queued() == []


def test_a_known_id_asks_for_the_result_again_while_its_message_is_in_a_batch(heart: Heart) -> None:
    """The reply goes to the topic that was asked for last."""
    publish(heart, "1", id="mine", reply="r/1")
    heart.command("queue/set", b"flush")
    publish(heart, "1", id="mine", reply="r/2")
    finish(heart)
    assert [each.topic for each in heart.reports() if each.topic.startswith("r/")] == ["r/2"]


# -- the network -----------------------------------------------------------------------------------------


def test_a_path_that_closes_costs_no_attempt(heart: Heart) -> None:
    """The batch stays what it is, and goes when the path is open."""
    link = Link()
    heart.paths.link = link
    publish(heart, "1", "2")
    heart.command("queue/set", b"flush")
    link.carries = False
    finish(heart, UNREACHED)
    heart.turn(EVERY + TICK)
    assert len(heart.cloud.jobs) == 1
    link.carries = True
    heart.uplink.link_back()
    heart.turn()
    finish(heart)
    assert heart.cloud.jobs[0].request == heart.cloud.jobs[1].request
    assert [each["attempts"] for each in heart.ended() if each["channel"] == "cloud"] == [1, 1]


def test_what_waits_for_its_batch_needs_no_link(heart: Heart) -> None:
    """Until it is due; then it does."""
    demand = Demand(heart.outbox, lambda: False, lambda: False)
    heart.paths.link = Link(carries=False)
    publish(heart, "1")
    assert not demand()
    heart.turn(EVERY + TICK)
    assert demand()


def test_a_link_that_comes_up_takes_along_what_waits(heart: Heart) -> None:
    """Once: what comes afterwards waits for its batch."""
    publish(heart, "1")
    assert heart.uplink.send_batches()
    heart.turn()
    assert payloads(heart) == [["1"]]
    finish(heart)
    assert not heart.uplink.send_batches()
    publish(heart, "2")
    heart.turn(10.0)
    assert len(heart.cloud.jobs) == 1


def test_refused_credentials_hold_batches_too(heart: Heart) -> None:
    """No attempt is counted, and nothing is divided."""
    publish(heart, "1", "2")
    heart.command("queue/set", b"flush")
    finish(heart, answered(b"[3,0]"))
    assert heart.condition(CLOUD) == "held"
    heart.turn(301.0)
    finish(heart)
    assert payloads(heart) == [["1", "2"]] * 2
    assert [each["attempts"] for each in heart.ended() if each["channel"] == "cloud"] == [1, 1]


def test_pause_holds_batches(heart: Heart) -> None:
    """A full batch waits until sending is resumed."""
    heart.command("queue/set", b"pause")
    publish(heart, *map(str, range(10)))
    heart.turn(EVERY + TICK)
    assert heart.cloud.jobs == []
    heart.command("queue/set", b"resume")
    assert len(heart.cloud.jobs) == 1


def test_a_pause_holds_a_batch_that_is_being_written(make_heart: MakeHeart) -> None:
    """No byte of it has left; with the end of the pause it goes as it was fixed."""
    disk = Disk()
    heart = make_heart(routes=route(), worker=disk)
    publish(heart, *map(str, range(9)))
    heart.uplink.paused = True
    publish(heart, "9")
    heart.uplink.paused = False
    disk.hangs = True
    heart.uplink.wake()
    heart.turn()
    fixed = heart.outbox.batches.division(1).formed
    assert fixed, "it is being written"
    heart.uplink.paused = True
    disk.go_on()
    heart.turn()
    assert heart.cloud.jobs == []
    assert heart.outbox.in_flight == set()
    heart.uplink.paused = False
    heart.uplink.wake()
    heart.turn()
    assert batch(heart).id == fixed.id


# -- refusals --------------------------------------------------------------------------------------------


def bad(heart: Heart, *, takes_batches: bool = True, refused: tuple[str, ...] = ()) -> None:
    """Answer requests until there are none: those with a message in ``refused`` are refused for good."""
    for _ in range(200):
        if not heart.cloud.in_progress:
            return
        last = payloads(heart)[-heart.cloud.in_progress]
        texts = [last] if isinstance(last, str) else last
        refuse = bool(set(texts) & set(refused)) or (isinstance(last, list) and not takes_batches)
        finish(heart, REFUSAL if refuse else answered())
    raise AssertionError("it never ends")


def test_a_refused_batch_is_divided_until_the_bad_message_is_found(heart: Heart) -> None:
    """It alone is `rejected`, after an ordinary request; all else is delivered, in order."""
    publish(heart, *map(str, range(8)))
    heart.command("queue/set", b"flush")
    bad(heart, refused=("5",))
    assert payloads(heart) == [
        list("01234567"), list("0123"), list("4567"), list("45"), ["4"], ["5"], "5", list("67")
    ]  # fmt: skip
    ids = [each.id for each in requests(heart) if isinstance(each, Batch)]
    assert len(set(ids)) == len(ids), "each has an id of its own"
    results = [each for each in heart.ended() if each["channel"] == "cloud"]
    assert [each["state"] for each in results] == ["delivered"] * 5 + ["rejected"] + ["delivered"] * 2
    assert (results[5]["code"], "batch" in results[5]) == (5, False)
    assert [each["attempts"] for each in results] == [2, 2, 2, 2, 4, 5, 3, 3]
    spent = heart.outbox.ledger.spent(heart.time.now().wall)[0]
    assert sum(each["bytes_up"] for each in results) == spent.up == len(heart.cloud.jobs) * SPENT.up


def test_a_restart_goes_on_with_the_division(make_heart: MakeHeart) -> None:
    """How far it is is on disk."""
    heart = make_heart(routes=route())
    publish(heart, *map(str, range(8)))
    heart.command("queue/set", b"flush")
    finish(heart, REFUSAL, answered(), REFUSAL)
    heart = make_heart(routes=route())
    heart.turn()
    bad(heart, refused=("5",))
    assert payloads(heart) == [list("45"), ["4"], ["5"], "5", list("67")]


def test_messages_that_come_meanwhile_are_in_no_half(heart: Heart) -> None:
    """A half is a half of what was refused."""
    publish(heart, *map(str, range(4)))
    heart.command("queue/set", b"flush")
    publish(heart, "new")
    bad(heart, refused=("3",))
    assert payloads(heart) == [list("0123"), list("01"), list("23"), ["2"], ["3"], "3"]
    assert heart.queued() == ["new"]


def test_a_refused_form_makes_the_batches_wait(make_heart: MakeHeart) -> None:
    """What is accepted alone was refused as a batch for its form: nothing more is divided, nothing lost."""
    heart = make_heart(routes=route(), slots=1)
    publish(heart, *map(str, range(4)))
    publish(heart, "low", priority="low")
    heart.command("queue/set", b"flush")
    bad(heart, takes_batches=False)
    (alone,) = [each for each in payloads(heart) if isinstance(each, str)]
    assert heart.events().count("cloud.batch_refused") == 1
    assert heart.states().count("delivered") == 1
    left = [each for each in ("0", "1", "2", "3", "low") if each != alone]
    assert heart.queued() == left
    sent = len(heart.cloud.jobs)
    heart.turn(REFUSED_FOR - 10)
    assert len(heart.cloud.jobs) == sent, "also what is due waits"
    heart.turn(20.0)
    whole = [each for each in left if each != "low"]
    assert payloads(heart)[sent:] == [whole]
    finish(heart, REFUSAL)
    assert heart.cloud.in_progress == 0
    heart.turn(REFUSED_FOR + TICK)
    bad(heart)
    assert payloads(heart)[sent:] == [whole, whole, *([["low"]] if alone != "low" else [])]
    assert heart.queued() == []
    publish(heart, *map(str, range(10)))
    assert payloads(heart)[-1] == [str(n) for n in range(10)], "and batches go as before"


def test_a_refused_form_is_tried_with_a_changed_configuration(heart: Heart) -> None:
    """Under its new topic; a restart tries it too."""
    publish(heart, "1", "2")
    heart.command("queue/set", b"flush")
    bad(heart, takes_batches=False)
    assert heart.queued() == ["2"]
    heart.turn(EVERY + TICK)
    sent = len(heart.cloud.jobs)
    heart.route_batches(route(BATCHING._replace(topic="other")))
    heart.uplink.try_again()
    heart.turn(1.0)
    assert len(heart.cloud.jobs) == sent + 1
    assert fields(heart.cloud.jobs[-1].request)["t"] == "other"


def test_a_reload_that_changes_nothing_about_batches_is_no_reason_to_try(heart: Heart) -> None:
    """The next try comes after its hour; another cloud or other routes are a reason."""
    publish(heart, "1", "2")
    heart.command("queue/set", b"flush")
    bad(heart, takes_batches=False)
    heart.turn(EVERY + TICK)
    sent = len(heart.cloud.jobs)
    heart.route_batches(route())
    heart.uplink.try_again()
    heart.turn(5.0)
    assert len(heart.cloud.jobs) == sent
    heart.access = heart.access._replace(host="another")
    heart.route_batches(route())
    heart.uplink.try_again()
    heart.turn(5.0)
    assert len(heart.cloud.jobs) == sent + 1


def test_a_restart_knows_that_the_form_is_refused(make_heart: MakeHeart) -> None:
    """It tries the whole batch once, and does not divide it again."""
    heart = make_heart(routes=route())
    publish(heart, "1", "2", "3")
    heart.command("queue/set", b"flush")
    bad(heart, takes_batches=False)
    heart.turn(EVERY + TICK)
    heart = make_heart(routes=route(), clock=heart.time.clock)
    heart.turn(1.0)
    bad(heart, takes_batches=False)
    assert payloads(heart) == [["2", "3"]]
    assert "cloud.batch_refused" not in heart.events()


def test_a_refusal_uses_up_no_attempt(make_heart: MakeHeart) -> None:
    """Not of those that are halved, nor each hour of those that wait for a cloud that takes batches again."""
    heart = make_heart(routes=route(max_attempts=2))
    publish(heart, "1", "2", "3")
    heart.command("queue/set", b"flush")
    bad(heart, takes_batches=False)
    heart.turn(EVERY)
    for _ in range(3):
        heart.turn(REFUSED_FOR + TICK)
        bad(heart, takes_batches=False)
    heart.turn(REFUSED_FOR + TICK)
    finish(heart, silent())
    assert heart.queued() == ["2", "3"], "the first that was not answered"
    heart.turn(60.0)
    finish(heart, silent())
    failed = [each for each in heart.ended() if each["state"] == "failed"]
    assert len(failed) == 2
    of_the_month = heart.outbox.ledger.spent(heart.time.now().wall)[1]
    assert sum(each["bytes_up"] for each in heart.ended()) == of_the_month.up == 9 * SPENT.up


# -- changed routes --------------------------------------------------------------------------------------


def test_messages_whose_route_has_no_batches_any_more_go_alone(heart: Heart) -> None:
    """In their order, with their own topics."""
    publish(heart, "1", topic="s/a")
    publish(heart, "2", topic="s/b")
    heart.route_batches([])
    heart.uplink.try_again()
    heart.turn(1.0)
    assert payloads(heart) == ["1"]
    finish(heart)
    finish(heart)
    assert payloads(heart) == ["1", "2"]
    assert fields(heart.cloud.jobs[1].request)["t"] == "s/b"
    assert ["batch" in each for each in heart.ended()] == [False, False]


def test_other_settings_count_for_what_waits(heart: Heart) -> None:
    """A shorter time, another number: what waits follows the present configuration, whatever its match."""
    publish(heart, "1", "2", "3")
    heart.route_batches([("s/+", Route(match="s/+", batching=BATCHING._replace(messages=2)))])
    heart.uplink.try_again()
    heart.turn(1.0)
    assert payloads(heart) == [["1", "2"]]
    finish(heart)
    heart.turn(EVERY + TICK)
    assert payloads(heart)[1] == ["3"]


def test_a_batch_in_doubt_stays_what_it_is_under_another_configuration(heart: Heart) -> None:
    """Its topic too: the receiver may have it already."""
    publish(heart, "1", "2")
    heart.command("queue/set", b"flush")
    finish(heart, silent())
    heart.route_batches([])
    heart.turn(60.0)
    assert payloads(heart) == [["1", "2"]] * 2
    assert heart.cloud.jobs[0].request == heart.cloud.jobs[1].request


# -- the plain form --------------------------------------------------------------------------------------


def test_the_plain_form_is_json_that_needs_no_decoder(make_heart: MakeHeart) -> None:
    """It has no id, and what it says of its size holds for the request with its escapes."""
    heart = make_heart(routes=route(Batching(every=EVERY, bytes=1000, plain=True)))
    for n in range(12):
        publish(heart, json.dumps({"temperature": 21.5, "seq": n}), topic="s/a")
    finish(heart)
    heart.turn(EVERY + TICK)
    finish(heart)
    first, second = (fields(job.request) for job in heart.cloud.jobs)
    assert (first["t"], second["t"]) == ("batch", "batch")
    rows = json.loads(first["d"]) + json.loads(second["d"])
    assert [row["data"]["seq"] for row in rows] == list(range(12))
    assert rows[0]["topic"] == "s/a"
    assert all(len(job.request) <= 1000 for job in heart.cloud.jobs)
    results = heart.ended()
    assert {each["batch"]["id"] for each in results} == {None}


# -- what they cost here ---------------------------------------------------------------------------------


def test_a_full_outbox_drops_the_oldest_from_a_batch_that_waits(make_heart: MakeHeart) -> None:
    """The rest of the batch goes on; one in flight loses nothing."""
    heart = make_heart(routes=route(), limits=Limits(max_messages=3, drop_oldest=True))
    publish(heart, "1", "2", "3", "4")
    assert heart.states() == ["dropped"]
    heart.command("queue/set", b"flush")
    publish(heart, "5")
    finish(heart)
    assert payloads(heart) == [["2", "3", "4"]]


def test_binary_and_empty_payloads_come_out_as_they_were(heart: Heart) -> None:
    """Byte for byte, and without the topic `base64`."""
    for payload in (b"", b"\xff\x00", "ä\n".encode()):
        heart.publish("out/s/a", payload)
    heart.command("queue/set", b"flush")
    assert [(each.topics, each.payload) for each in batch(heart).readings] == [
        (("s/a",), b""),
        (("s/a",), b"\xff\x00"),
        (("s/a",), "ä\n".encode()),
    ]


# -- a box that does not know the time -------------------------------------------------------------------


def test_readings_wait_for_the_time_and_are_dated_by_it(make_heart: MakeHeart) -> None:
    """Those that came before the box knew the time have the right one, to the second."""
    clock = Clock(wall=1_000_000.0)
    heart = make_heart(routes=route(), clock=clock, knows_time=False)
    publish(heart, "1")
    heart.turn(100.0)
    publish(heart, "2")
    heart.command("queue/set", b"flush")
    heart.turn(200.0)
    assert heart.cloud.jobs == [], "it may still learn it"
    clock.step(NOON - clock.wall)
    heart.time.known = True
    heart.turn(3.0)
    finish(heart)
    times = [each.at for each in batch(heart).readings]
    assert [round((each or 0) - NOON, -1) for each in times] == [-300, -200]


def test_a_box_that_never_learns_the_time_sends_without_it(make_heart: MakeHeart) -> None:
    """After 10 minutes; the seconds between the messages are right all the same."""
    clock = Clock(wall=1_000_000.0)
    heart = make_heart(routes=route(), clock=clock, knows_time=False)
    publish(heart, "1")
    heart.turn(60.0)
    publish(heart, "2")
    heart.command("queue/set", b"flush")
    heart.turn(500.0)
    assert heart.cloud.jobs == []
    heart.turn(100.0)
    assert [each.at for each in batch(heart).readings] == [None, None]
    assert [round(each.seconds, -1) for each in batch(heart).readings] == [0, 60]


def test_a_batch_that_was_fixed_without_a_time_does_not_wait_for_it_again(make_heart: MakeHeart) -> None:
    """A restart of the bridge begins a new wait, and the repeat is the same whatever the box learns."""
    clock = Clock(wall=1_000_000.0)
    heart = make_heart(routes=route(), clock=clock, knows_time=False)
    publish(heart, "1")
    heart.command("queue/set", b"flush")
    heart.turn(620.0)
    (before,) = heart.cloud.jobs
    heart = make_heart(routes=route(), clock=clock, knows_time=False)
    publish(heart, "2")
    heart.command("queue/set", b"flush")
    heart.turn(5.0)
    assert [job.request for job in heart.cloud.jobs] == [before.request]
    finish(heart)
    heart.turn(5.0)
    assert heart.queued() == ["2"], "which waits for the time"


def test_messages_without_a_time_never_share_a_batch_with_others(make_heart: MakeHeart) -> None:
    """Not with those whose producer dated them, nor with those of another boot."""
    clock = Clock(wall=1_000_000.0)
    heart = make_heart(routes=route(), clock=clock, knows_time=False)
    publish(heart, "1", "2")
    publish(heart, "dated", at="1700000000")
    publish(heart, "3")
    heart.command("queue/set", b"flush")
    heart.turn(620.0)
    for _ in range(3):
        if heart.cloud.in_progress:
            finish(heart)
    assert payloads(heart) == [["1", "2"], ["dated"], ["3"]]
    assert [batch(heart, n).readings[0].at for n in range(3)] == [None, 1_700_000_000, None]


def test_a_stamp_is_in_the_batch_too(make_heart: MakeHeart) -> None:
    """The payload is what an ordinary request would carry."""
    heart = make_heart(routes=route(stamp="at"))
    publish(heart, '{"t":1}')
    heart.command("queue/set", b"flush")
    (reading,) = batch(heart).readings
    assert json.loads(reading.payload) == {"t": 1, "at": reading.at}


def test_a_flow_takes_no_memory_for_what_waits(make_heart: MakeHeart) -> None:
    """Of 2,000 messages in a lane what is kept is as much as of 20."""
    heart = make_heart(routes=route(BATCHING._replace(messages=1000, bytes=100_000)))
    heart.uplink.paused = True
    kept = []
    for number in (20, 2000):
        for n in range(number):
            heart.intake.received(heart.session.delivery("out/s/a", b"%d" % n), heart.session)
        heart.turn(5.0)
        (line,) = heart.uplink.batches.lanes._lines.values()
        kept.append(sum(sys.getsizeof(getattr(line, name)) for name in line.__slots__))
    assert kept[1] - kept[0] < 100
    assert not heart.outbox.in_flight


def test_other_messages_read_nothing_of_what_waits(heart: Heart) -> None:
    """Only a lane that has grown is looked at again."""
    statements: list[str] = []
    publish(heart, "1")
    publish(heart, "2", priority="high")
    heart.journal.database._connection.set_trace_callback(statements.append)
    publish(heart, "alone", topic="alone/a")
    finish(heart)
    heart.turn(5.0)
    looks = [each for each in statements if "length(payload)" in each and "WHERE lane" in each]
    assert statements
    assert looks == []
    publish(heart, "3")
    looks = [each for each in statements if "length(payload)" in each and "WHERE lane" in each]
    assert len(looks) == 1


def test_of_large_messages_no_more_are_read_than_may_fit(make_heart: MakeHeart) -> None:
    """However many wait in the lane."""
    heart = make_heart(routes=route(BATCHING._replace(messages=1000)))
    heart.uplink.paused = True
    noise = [base64.b64encode(random.randbytes(200_000)).decode() for _ in range(50)]
    publish(heart, *noise)
    heart.uplink.batches.lanes._lines.clear()
    tracemalloc.start()
    heart.turn(2.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
    heart.uplink.paused = False
    heart.uplink.wake()
    heart.turn()
    assert payloads(heart) == [noise[0]]


# -- beside `keep` ---------------------------------------------------------------------------------------


def test_keep_latest_replaces_a_message_of_its_topics_alone(make_heart: MakeHeart) -> None:
    """At its place; the batch does not wait longer for that, or it would never go."""
    heart = make_heart(routes=route(latest=True))
    for n in range(20):
        publish(heart, f"a{n}", topic="s/a")
        publish(heart, f"b{n}", topic="s/b")
        heart.turn(EVERY / 20)
    finish(heart)
    assert payloads(heart) == [["a19", "b19"]]
    assert heart.states().count("superseded") == 38


def test_nothing_in_a_batch_that_was_sent_is_superseded(make_heart: MakeHeart) -> None:
    """What comes afterwards is replaced as ever."""
    heart = make_heart(routes=route(latest=True))
    publish(heart, "1")
    heart.command("queue/set", b"flush")
    heart.command("queue/set", b"pause")
    finish(heart, silent())
    publish(heart, "2", "3")
    assert heart.queued() == ["1", "3"]
    heart.command("queue/set", b"resume")
    heart.turn(10.0)
    finish(heart)
    heart.turn(EVERY + TICK)
    finish(heart)
    assert payloads(heart) == [["1"], ["1"], ["3"]]
    assert [each["state"] for each in heart.ended() if each["channel"] == "cloud"] == [
        "superseded", "delivered", "delivered"
    ]  # fmt: skip


def test_a_newer_message_goes_in_a_batch_where_the_older_one_went_alone(make_heart: MakeHeart) -> None:
    """No batch of it was refused, so that its delivery is no sign of a refused form."""
    heart = make_heart(routes=route(latest=True))
    publish(heart, "1")
    heart.command("queue/set", b"flush")
    finish(heart, REFUSAL, silent())
    heart.command("queue/set", b"pause")
    if heart.cloud.in_progress:
        finish(heart, silent())
    publish(heart, "2")
    heart.command("queue/set", b"resume")
    heart.turn(30.0)
    finish(heart)
    assert payloads(heart)[-1] == ["2"]
    assert "cloud.batch_refused" not in heart.events()


def test_a_newer_message_brings_its_own_deadline(make_heart: MakeHeart) -> None:
    """It hurries the batch as that of any other message."""
    heart = make_heart(routes=route(latest=True))
    publish(heart, "1")
    publish(heart, "2", expires="60s")
    heart.turn(60 - 2 * TIMEOUT + TICK)
    assert payloads(heart) == [["2"]]


def test_what_expires_behind_a_batch_in_flight_leaves_that_alone(make_heart: MakeHeart) -> None:
    """A message of the same lane that ends by itself is no end of the batch."""
    heart = make_heart(routes=route(BATCHING._replace(messages=3)))
    publish(heart, "1", "2", "3")
    publish(heart, "short", expires="2s")
    heart.turn(4.0)
    assert heart.states() == ["expired"]
    heart.command("queue/set", b"purge")
    assert heart.outbox.ledger.messages == 3, "in flight"
    finish(heart)
    assert heart.states().count("delivered") == 3
    assert heart.queued() == []


# -- beside the budget -----------------------------------------------------------------------------------


def test_a_batch_is_held_by_the_budget_and_goes_as_one(heart: Heart) -> None:
    """It dials nothing while it is held; the bytes of the whole request count while it is in flight."""
    budget = Budget(heart.journal, heart.notices, Plan(Bounds(day=sum(SPENT), reserve=0.0), 1), heart.uplink)
    budget.start()
    demand = Demand(heart.outbox, lambda: False, lambda: False)
    publish(heart, *map(str, range(10)))
    assert budget.spent().day > 0, "in flight"
    finish(heart)
    assert budget.spent().day == sum(SPENT)
    publish(heart, *map(str, range(10, 20)))
    heart.turn(EVERY)
    assert len(heart.cloud.jobs) == 1
    assert not demand()
    assert [each["held"] for each in heart.outbox.listing(0, 99)] == ["day"] * 10
    assert {each.attempts for each in heart.outbox.page(0, 99, 99)} == {0}
    budget.apply(Plan(Bounds(), 1))
    heart.uplink.wake()
    heart.turn()
    assert payloads(heart)[1] == [str(n) for n in range(10, 20)]
