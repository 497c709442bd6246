"""Filtering: who is told, what is acknowledged and when, and what a stop and a purge do to held messages."""

from decimal import Decimal

import pytest

from bridge.core.filters import Filter
from bridge.core.routing import Route, Router
from bridge.flow.message.reader import Policy
from bridge.store.outbox import Limits
from bridge.store.writer import CommitWorker
from tests.doubles.heart import Disk, Heart
from tests.doubles.time import NOON
from tests.flow.conftest import MakeHeart

CHANGED = Filter(changed=True)
EVERY = Filter(min_interval=10.0)


def paused(
    make_heart: MakeHeart,
    rule: Filter = EVERY,
    limits: Limits | None = None,
    worker: CommitWorker | None = None,
) -> Heart:
    """Return a flow whose messages stay in the outbox."""
    heart = make_heart(routes=[("s/#", Route(filter=rule))], limits=limits, worker=worker)
    heart.uplink.paused = True
    return heart


def filtered(heart: Heart) -> int:
    return heart.outbox.ledger.counts["filtered"]


def test_a_filtered_message_is_acknowledged_and_counted(make_heart: MakeHeart) -> None:
    """It costs no write, and nobody is told; other topics and other routes go on."""
    heart = paused(make_heart, CHANGED)
    heart.publish("out/s/a", b"1")
    writes = heart.outbox.ledger.writes
    again = heart.publish("out/s/a", b"1")
    assert again.mid in heart.session.acked
    assert heart.writer.idle
    heart.publish("out/s/b", b"1")
    heart.publish("out/other", b"1")
    heart.publish("out/other", b"1")
    assert heart.queued() == ["1"] * 4
    assert (filtered(heart), heart.outbox.ledger.writes, heart.reports()) == (1, writes, [])


def test_whoever_asks_is_told(make_heart: MakeHeart) -> None:
    """By an id or a Response Topic; the acknowledgement follows the commit, and there is no event."""
    heart = paused(make_heart, CHANGED)
    heart.publish("out/s/a", b"1")
    heart.intake.received(heart.session.delivery("out/s/a", b"1", id="mine"), heart.session)
    assert heart.session.acked == [1]
    heart.turn()
    heart.publish("out/s/a", b"1", reply="me", correlation=b"7")
    assert heart.session.acked == [1, 2, 3]
    assert heart.ended()[0]["id"] == "mine"
    assert heart.states() == ["filtered"] * 2
    assert [each.topic for each in heart.reports()] == ["hologram/result", "hologram/result", "me"]
    assert (filtered(heart), heart.events()) == (2, ["message.queued"])


def test_an_id_that_was_filtered_is_not_sent_later(make_heart: MakeHeart) -> None:
    """Its result is reported again, whatever its payload."""
    heart = paused(make_heart, CHANGED)
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"1", id="mine")
    heart.publish("out/s/a", b"2", id="mine")
    assert (heart.states(), heart.queued()) == (["filtered"] * 2, ["1"])
    heart.publish("out/s/a", b"2")
    assert heart.queued() == ["1", "2"], "the repeated id did not count as a reading that passed"


def test_a_repeated_id_does_not_pass_twice(make_heart: MakeHeart) -> None:
    """A message that passed is known by its id, and its repetition filters nobody."""
    heart = paused(make_heart, CHANGED)
    heart.publish("out/s/a", b"1", id="one")
    heart.publish("out/s/a", b"1", id="one")
    assert (heart.queued(), heart.states()) == (["1"], [])


def test_the_last_of_an_interval_goes_at_its_end(make_heart: MakeHeart) -> None:
    """With the time at which it came; the earlier ones are filtered, those that asked are told."""
    heart = paused(make_heart)
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"2", reply="me")
    heart.publish("out/s/a", b"3", id="three", expires="1m")
    assert heart.session.acked == [1, 2, 3]
    assert (heart.queued(), heart.states()) == (["1"], ["filtered"])
    heart.turn(10.0)
    assert heart.queued() == ["1", "3"]
    last = heart.outbox.page(0, 1 << 60, 10)[-1]
    assert (last.id, last.queued_at, last.deadline) == ("three", NOON + 0.2, NOON + 60.2)
    assert heart.states() == ["filtered"]


def test_a_held_message_gets_exactly_one_result(make_heart: MakeHeart) -> None:
    """Whatever repeats it meanwhile: the broker, or its producer with another topic for the result."""
    heart = paused(make_heart)
    heart.publish("out/s/a", b"1")
    held = heart.publish("out/s/a", b"2", id="two", reply="first")
    heart.intake.received(held._replace(dup=True), heart.session)
    heart.turn()
    heart.publish("out/s/a", b"2", id="two", reply="last")
    heart.publish("out/s/b", b"2", id="two")
    assert heart.session.acked == [1, 2, 2, 3, 4]
    heart.turn(10.0)
    heart.command("queue/set", b"purge")
    assert [(each["id"], each["state"]) for each in heart.ended() if each["id"] == "two"] == [
        ("two", "dropped")
    ]
    assert [each.topic for each in heart.reports() if "result" not in each.topic] == ["last"]


def test_a_repetition_of_the_broker_is_not_judged_again(make_heart: MakeHeart) -> None:
    """Neither of what passed nor of what was held or filtered: it would take back what came after it."""
    heart = paused(make_heart, Filter(changed=True, min_interval=10.0))
    first = heart.publish("out/s/a", b"closed")
    same = heart.publish("out/s/a", b"closed")
    heart.publish("out/s/a", b"open")
    for delivery in (first, same):
        heart.intake.received(delivery._replace(dup=True), heart.session)
        heart.turn()
    heart.turn(10.0)
    assert heart.queued() == ["closed", "open"]
    assert heart.session.acked == [1, 2, 3, 1, 2]


def test_high_priority_of_the_message_itself_passes(make_heart: MakeHeart) -> None:
    """That of its route does not."""
    heart = paused(make_heart, CHANGED)
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"1", priority="high")
    heart.publish("out/s/a", b"1", priority="normal")
    assert heart.queued() == ["1", "1"]


def test_flush_sends_what_is_held(make_heart: MakeHeart) -> None:
    """And what comes next waits for the next interval."""
    heart = make_heart(routes=[("s/#", Route(filter=EVERY))])
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"2")
    heart.command("queue/set", b"flush")
    assert heart.queued() == ["1", "2"]
    heart.publish("out/s/a", b"3")
    assert heart.queued() == ["1", "2"]
    heart.turn(10.0)
    assert heart.queued() == ["1", "2", "3"]


def test_purge_drops_what_is_held(make_heart: MakeHeart) -> None:
    """Each has its result and is counted; the next reading passes, as the last one never left."""
    heart = paused(make_heart, Filter(changed=True, min_interval=10.0))
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"2", id="two")
    heart.publish("out/s/b", b"1")
    heart.publish("out/s/b", b"2")
    heart.command("queue/set", b'{"command": "purge", "id": "p"}')
    heart.turn(20.0)
    assert sorted(heart.states()) == ["done", *["dropped"] * 4]
    assert {each["id"]: each["description"] for each in heart.ended()}["p"] == "purged 4 messages"
    assert heart.queued() == []
    heart.publish("out/s/a", b"1")
    assert heart.queued() == ["1"]


def test_a_stop_stores_what_is_held(make_heart: MakeHeart) -> None:
    """And holds nothing more; the count is kept, and after the restart the first reading passes."""
    heart = paused(make_heart, Filter(changed=True, min_interval=10.0))
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"2")
    heart.filtering.stop()
    heart.turn()
    heart.publish("out/s/a", b"3")
    assert heart.queued() == ["1", "2", "3"]
    heart = paused(make_heart, CHANGED)
    assert filtered(heart) == 1
    heart.publish("out/s/a", b"3")
    assert heart.queued() == ["1", "2", "3", "3"]


def test_a_reload_keeps_the_state_of_filters_that_stay(make_heart: MakeHeart) -> None:
    """A filter that is another one begins anew, and what it held is stored."""
    heart = paused(make_heart)
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"2")

    def reload(rule: Filter | None, lifetime: float | None = None) -> None:
        heart.intake.reader.policy = Policy(Router([("s/#", Route(filter=rule, lifetime=lifetime))]))
        heart.filtering.renew(heart.intake.reader.policy.router)
        heart.turn()

    reload(EVERY, lifetime=5.0)
    assert heart.queued() == ["1"]
    reload(EVERY._replace(min_interval=20.0))
    assert heart.queued() == ["1", "2"]
    heart.publish("out/s/a", b"3")
    heart.publish("out/s/a", b"4")
    assert heart.queued() == ["1", "2", "3"]
    reload(None)
    assert heart.queued() == ["1", "2", "3", "4"]
    heart.publish("out/s/a", b"5")
    assert heart.queued() == ["1", "2", "3", "4", "5"]


def test_a_reading_that_the_outbox_refused_did_not_pass(make_heart: MakeHeart) -> None:
    """The next one is tried again, as nothing of it was sent."""
    heart = paused(make_heart, CHANGED, Limits(max_messages=1))
    heart.publish("out/other", b"x")
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"1")
    assert heart.states() == ["dropped", "dropped"]


def test_what_is_held_expires_like_any_other(make_heart: MakeHeart) -> None:
    """Its deadline counts from its receipt, and its result says so."""
    heart = make_heart(routes=[("s/#", Route(filter=EVERY))])
    heart.identified = False
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"2", expires="5s")
    heart.turn(12.0)
    assert (heart.queued(), heart.states()) == (["1"], ["expired"])


# -- ids that are known ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "more"),
    [(b"closed", {}), (b"ajar", {}), (b"closed", {"priority": "high"})],
    ids=["not new", "new", "urgent"],
)
def test_a_known_id_does_not_take_back_what_is_held(
    make_heart: MakeHeart, payload: bytes, more: dict[str, str]
) -> None:
    """Its producer repeats it meanwhile: it is no reading, and what is held goes in its time."""
    heart = paused(make_heart, Filter(changed=True, min_interval=10.0))
    heart.publish("out/s/a", b"closed", id="one")
    heart.turn(2.0)
    heart.publish("out/s/a", b"open", reply="open")
    heart.publish("out/s/a", payload, id="one", reply="again", **more)
    heart.turn(5.0)
    assert (heart.queued(), heart.states()) == (["closed"], [])
    heart.turn(5.0)
    assert (heart.queued(), heart.states()) == (["closed", "open"], [])
    heart.publish("out/s/a", b"open")
    assert filtered(heart) == 1
    heart.command("queue/set", b"purge")
    assert sorted(each.topic for each in heart.reports() if "result" not in each.topic) == ["again", "open"]
    (progress,) = heart.intake.progress()
    assert not progress.busy


def test_the_first_payload_of_a_held_id_counts(make_heart: MakeHeart) -> None:
    """A repetition with another payload is not sent, whenever it comes."""
    heart = paused(make_heart, Filter(changed=True, min_interval=10.0))
    heart.publish("out/s/a", b"closed")
    heart.publish("out/s/a", b"open", id="two")
    for payload in (b"closed", b"ajar"):
        heart.publish("out/s/a", payload, id="two", reply="me")
    heart.turn(10.0)
    assert (heart.queued(), heart.states()) == (["closed", "open"], [])
    heart.command("queue/set", b"purge")
    assert [each.topic for each in heart.reports() if "result" not in each.topic] == ["me"]


def test_a_known_id_that_was_to_be_held_is_not_sent_by_a_flush(make_heart: MakeHeart) -> None:
    """Nor by a stop: neither waits for the disk to tell that the id is known."""
    disk = Disk()
    heart = paused(make_heart, worker=disk)
    heart.publish("out/s/a", b"1", id="one")
    disk.hangs = True
    heart.publish("out/other")
    heart.publish("out/s/a", b"2", id="one")
    heart.filtering.release()
    disk.go_on()
    heart.turn(20.0)
    assert heart.queued() == ["1", "x"]


# -- deliveries that the broker repeats while they wait for the disk ---------------------------------------


@pytest.mark.parametrize("payload", [b"1", b"2"], ids=["filtered", "held"])
@pytest.mark.parametrize("committing", [False, True], ids=["before the commit", "within the commit"])
def test_a_repetition_takes_the_place_of_what_waits(
    make_heart: MakeHeart, payload: bytes, committing: bool
) -> None:
    """It is judged once and acknowledged on the new connection, what is held stays so; nothing hangs."""
    disk = Disk()
    heart = paused(make_heart, Filter(changed=True, min_interval=10.0), worker=disk)
    heart.publish("out/s/a", b"1")
    disk.hangs = True
    if not committing:
        heart.publish("out/other")
    delivery = heart.publish("out/s/a", payload, id="mine", reply="me")
    for _ in range(3):
        heart.intake.received(delivery._replace(dup=True), heart.session)
        heart.turn(0.0)
    assert delivery.mid not in heart.session.acked
    disk.go_on()
    heart.turn(1.0)
    assert delivery.mid in heart.session.acked
    assert heart.states() == (["filtered"] if payload == b"1" else [])
    heart.turn(10.0)
    assert [each for each in heart.queued() if each != "x"] == (["1"] if payload == b"1" else ["1", "2"])
    (progress,) = heart.intake.progress()
    assert not progress.busy


# -- a full disk -------------------------------------------------------------------------------------------


def test_on_a_full_disk_nothing_is_held_and_acknowledged(make_heart: MakeHeart) -> None:
    """Or the broker would go on sending, and memory would fill; with room again everything goes its way."""
    heart = paused(make_heart, Filter(changed=True, min_interval=10.0))
    heart.publish("out/s/a", b"1")
    held = heart.publish("out/s/a", b"2")
    run = heart.journal.outbox._database._run
    pages = run("PRAGMA page_count").fetchone()[0]
    run(f"PRAGMA max_page_count = {pages}").fetchone()
    while not heart.writer.full:
        heart.publish("out/other", b"x" * 3000)
    acked, waiting = list(heart.session.acked), heart.writer.waiting
    assert held.mid in acked
    heart.turn(20.0)
    for number in range(5):
        heart.publish("out/s/a", f"{number}".encode(), id=f"{number}")
        heart.publish("out/s/b", f"{number}".encode())
    same = heart.publish("out/s/a", b"4")
    heart.turn(20.0)
    assert heart.session.acked == [*acked, same.mid], "what is not new waits for nothing"
    assert heart.writer.waiting == waiting + 1 + 10
    run("PRAGMA max_page_count = 1000000").fetchone()
    heart.turn(120.0)
    assert not heart.writer.full
    sent = [each for each in heart.queued() if len(each) == 1]
    assert sent == ["1", "2", "0", "0", "1", "1", "2", "2", "3", "3", "4", "4"]
    assert len(heart.session.acked) == len(set(heart.session.acked)) == len(acked) + 11 + 1


# -- the rest ----------------------------------------------------------------------------------------------


def test_a_shorter_interval_holds_after_a_reload(make_heart: MakeHeart) -> None:
    """What is held under it does not wait for the end of the longer one before."""
    heart = paused(make_heart, EVERY._replace(min_interval=3600.0))
    heart.publish("out/s/a", b"1")
    heart.publish("out/s/a", b"2")
    heart.intake.reader.policy = Policy(Router([("s/#", Route(filter=EVERY))]))
    heart.filtering.renew(heart.intake.reader.policy.router)
    heart.publish("out/s/a", b"3")
    heart.publish("out/s/a", b"4")
    assert heart.queued() == ["1", "2", "3"]
    heart.turn(10.0)
    assert heart.queued() == ["1", "2", "3", "4"]


def test_messages_without_acknowledgement_are_filtered_too(make_heart: MakeHeart) -> None:
    """At QoS 0 nothing is repeated, so nothing is remembered of it."""
    heart = paused(make_heart, Filter(deadband=Decimal(1)))
    for text in (b"1", b"1.5", b"2"):
        heart.publish("out/s/a", text, qos=0)
    assert heart.queued() == ["1", "2"]


def test_the_watchdog_sees_that_filtered_messages_have_ended(make_heart: MakeHeart) -> None:
    """Whatever their verdict."""
    heart = paused(make_heart)
    for number in range(3):
        heart.publish("out/s/a", b"1", id=f"{number}")
    heart.turn(10.0)
    (progress,) = heart.intake.progress()
    assert not progress.busy
