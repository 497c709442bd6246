"""The outbox on a real file: order, lanes, limits, receipts, idempotency keys."""

import contextlib
from pathlib import Path

import pytest

from bridge.core.messages import (
    CLOUD,
    CLOUD_SMS,
    Channel,
    Endpoint,
    Lane,
    Message,
    Priority,
    Reply,
    Traffic,
)
from bridge.store.accepted import AcceptedCommand
from bridge.store.keys import KEPT_FOR
from bridge.store.outbox import Dropped, Limits, Verdict
from bridge.store.receipts import KEPT, Receipt, digest
from bridge.store.usage import DAYS
from tests.store.box import DAY, NOON, Box, message

SCADA = Endpoint(Channel.TCP, "scada.example.net", 5020, "OK")


# -- order and lanes -------------------------------------------------------------------------------------


def test_a_message_comes_out_as_it_went_in(box: Box) -> None:
    """Every field survives the file, also across reopening."""
    lane = Lane(SCADA, ("a/b", "é"), Priority.HIGH)
    sent = Message("id-1", True, lane, b"\0\xff", 60.0, 20, Reply("me/reply", b"\0\xff"))
    box.put(sent)
    box.reopen()
    (queued,) = box.outbox.heads(SCADA, 10, ())
    assert (queued.id, queued.idempotent, queued.lane, queued.payload) == ("id-1", True, lane, b"\0\xff")
    assert (queued.max_attempts, queued.reply, queued.queued_at) == (20, Reply("me/reply", b"\0\xff"), NOON)
    assert (queued.attempts, queued.traffic) == (0, Traffic())
    assert box.outbox.endpoints() == [SCADA]


def test_inside_a_lane_order_holds(box: Box) -> None:
    """Only a lane's oldest message is offered; the next one follows when it has ended."""
    for name in ("1", "2", "3"):
        box.put(message(name))
    for name in ("1", "2", "3"):
        assert box.heads() == [name]
        box.finish(name)
    assert box.heads() == []


def test_high_goes_before_normal_before_low(box: Box) -> None:
    """Between lanes priority decides, and among equals age."""
    for name, priority in (("low", 2), ("normal-1", 1), ("high", 0), ("normal-2", 1)):
        box.put(message(name, topic=name, priority=Priority(priority)))
    assert box.heads() == ["high", "normal-1", "normal-2", "low"]
    assert box.heads(limit=2) == ["high", "normal-1"]


def test_topics_and_priority_make_the_lane(box: Box) -> None:
    """The same topics under another priority, in another order or for another peer are another lane."""
    box.put(message("1", topic="a"))
    box.put(message("2", topic="a", priority=Priority.HIGH))
    box.put(message("3", topic="b"))
    box.put(message("4", topic="a", endpoint=SCADA))
    box.put(message("5", topic=""))
    box.put(Message("6", False, Lane(CLOUD, ("a", "b"), Priority.NORMAL), b""))
    box.put(Message("7", False, Lane(CLOUD, ("b", "a"), Priority.NORMAL), b""))
    assert box.lanes() == 7
    assert box.heads() == ["2", "1", "3", "5", "6", "7"]
    assert box.heads(SCADA) == ["4"]


def test_busy_lanes_are_left_out(box: Box) -> None:
    """A lane whose message is under way offers no other."""
    box.put(message("1", topic="a"))
    box.put(message("2", topic="a"))
    box.put(message("3", topic="b"))
    (first, _) = box.outbox.heads(CLOUD, 10, ())
    assert [queued.id for queued in box.outbox.heads(CLOUD, 10, {first.lane_id})] == ["3"]


def test_a_lane_without_messages_has_no_row(box: Box) -> None:
    """Lanes live as long as they have messages, whichever of them is taken out."""
    for name in ("1", "2", "3"):
        box.put(message(name))
    box.finish("2")
    assert (box.lanes(), box.heads()) == (1, ["1"])
    box.finish("1")
    assert (box.lanes(), box.heads()) == (1, ["3"])
    box.finish("3")
    assert (box.lanes(), box.outbox.endpoints()) == (0, [])


def test_a_deferred_lane_waits_alone(box: Box) -> None:
    """A retry blocks its own lane for its delay and no other; what it cost is kept."""
    box.put(message("1", topic="a"))
    box.put(message("2", topic="a"))
    box.put(message("3", topic="b"))
    box.defer("1", 10.0)
    assert box.heads() == ["3"]
    assert box.outbox.next_wake() == box.clock.mono + 10
    box.clock.pass_(9.9)
    with box:
        box.outbox.wake_due()
    assert box.heads() == ["3"]
    box.clock.pass_(0.2)
    with box:
        box.outbox.wake_due()
    assert box.heads() == ["1", "3"]
    queued = box.outbox.heads(CLOUD, 1, ())[0]
    assert (queued.attempts, queued.traffic) == (1, Traffic(10, 5))
    assert box.outbox.next_wake() is None


def test_the_next_message_of_a_lane_does_not_inherit_a_delay(box: Box) -> None:
    """A delay belongs to the message that failed: when it expires the next may go at once."""
    box.put(message("1"))
    box.put(message("2"))
    box.defer("1", 300.0)
    box.finish("1")
    assert box.heads() == ["2"]


def test_taking_out_another_message_leaves_the_delay(box: Box) -> None:
    """Expiry of a later message does not wake the lane for the first."""
    box.put(message("1"))
    box.put(message("2"))
    box.defer("1", 300.0)
    box.finish("2")
    assert box.heads() == []


def test_delays_end_with_the_boot_they_count_from(box: Box) -> None:
    """Monotonic times mean nothing after a restart of the machine: everything may go."""
    box.put(message("1"))
    box.defer("1", 300.0)
    box.reopen()
    assert box.heads() == []
    box.reopen(boot="boot-2")
    assert box.heads() == ["1"]


def test_waking_one_destination_leaves_the_others(box: Box) -> None:
    """A destination that came back wakes its own lanes; a flush wakes them all."""
    box.put(message("1"))
    box.put(message("2", endpoint=SCADA))
    box.defer("1", 300.0)
    box.defer("2", 300.0)
    with box:
        box.outbox.wake_endpoint(SCADA)
    assert (box.heads(), box.heads(SCADA)) == ([], ["2"])
    with box:
        box.outbox.wake_all()
    assert box.heads() == ["1"]


def test_the_mark_of_what_must_not_go_twice_survives(box: Box) -> None:
    """What was marked before its first byte is found after a crash; a cleared mark is not."""
    for name in ("1", "2"):
        box.put(message(name, topic=name, endpoint=CLOUD_SMS))
    first, second = box.outbox.heads(CLOUD_SMS, 2, ())
    with box:
        box.outbox.mark_started(first, started=True)
        box.outbox.mark_started(second, started=True)
        box.outbox.mark_started(second, started=False)
    box.reopen(boot="boot-2")
    assert [queued.id for queued in box.outbox.started()] == ["1"]


# -- receipts --------------------------------------------------------------------------------------------


def receipt(mid: int, content: bytes = b"x", *, session: int = 1, dup: bool = False) -> Receipt:
    return Receipt(session, mid, dup, digest("t", content))


@pytest.mark.parametrize("restart", [False, True])
def test_a_redelivery_is_recognised(box: Box, restart: bool) -> None:
    """The same packet id and content with the DUP flag is here already, also after a restart."""
    assert box.put(message(), receipt(1)).verdict is Verdict.STORED
    if restart:
        box.reopen()
    assert box.put(message(), receipt(1, dup=True)).verdict is Verdict.REDELIVERED
    assert box.outbox.ledger.messages == 1


@pytest.mark.parametrize(
    "again",
    [
        receipt(1, dup=False),
        receipt(2, dup=True),
        receipt(1, b"y", dup=True),
        receipt(1, session=2, dup=True),
    ],
    ids=["without DUP", "another id", "other content", "another session"],
)
def test_in_doubt_a_message_is_kept(box: Box, again: Receipt) -> None:
    """Only all four signs together make a redelivery."""
    box.put(message(), receipt(1))
    assert box.put(message(), again).verdict is Verdict.STORED
    assert box.outbox.ledger.messages == 2


@pytest.mark.parametrize("restart", [False, True])
def test_receipts_older_than_the_ring_do_not_count(box: Box, restart: bool) -> None:
    """No broker has more unacknowledged, and packet ids recycle: older ones mean nothing."""
    for mid in range(1, KEPT + 2):
        box.put(message(), receipt(mid))
    if restart:
        box.reopen()
    assert box.put(message(), receipt(2, dup=True)).verdict is Verdict.REDELIVERED
    assert box.put(message(), receipt(1, dup=True)).verdict is Verdict.STORED


def test_many_receipts_in_one_transaction_are_kept_as_one_by_one(box: Box) -> None:
    """A burst larger than the ring leaves its newest entries on disk."""
    with box:
        for mid in range(1, 3 * KEPT):
            box.outbox.accept(message(), receipt(mid))
    box.reopen()
    newest = 3 * KEPT - 1
    assert box.put(message(), receipt(newest, dup=True)).verdict is Verdict.REDELIVERED
    oldest = newest - KEPT + 1
    assert box.put(message(), receipt(oldest, dup=True)).verdict is Verdict.REDELIVERED
    assert box.put(message(), receipt(oldest - 1, dup=True)).verdict is Verdict.STORED


def test_a_receipt_is_as_durable_as_its_message(box: Box) -> None:
    """A rolled-back message leaves no receipt: when it comes again it is stored."""
    with pytest.raises(ZeroDivisionError), box:  # noqa: PT012  # a transaction that fails
        box.outbox.accept(message(), receipt(1))
        raise ZeroDivisionError
    assert box.put(message(), receipt(1, dup=True)).verdict is Verdict.STORED


def test_content_is_told_apart_by_all_its_parts() -> None:
    """Topic, properties and payload each make another fingerprint, and their borders count."""
    prints = {
        digest("t", b"x"), digest("u", b"x"), digest("t", b"y"), digest("t", b"x", b"p"), digest("tx", b""),
        digest("t", b""), digest("t", b"", b"x"),
    }  # fmt: skip
    assert len(prints) == 7


# -- idempotency keys ------------------------------------------------------------------------------------


def test_a_chosen_id_is_sent_once(box: Box) -> None:
    """The same id again, whatever its payload, is known; without a choice ids may repeat."""
    assert box.put(message("7", idempotent=True)).verdict is Verdict.STORED
    again = box.put(message("7", idempotent=True, payload=b"other", topic="elsewhere"))
    assert (again.verdict, again.result) == (Verdict.KNOWN, None)
    assert box.put(message("7")).verdict is Verdict.STORED


def test_a_known_id_brings_its_result_again(box: Box) -> None:
    """Once there, the final result is reported to whoever asks again, also after a restart."""
    box.put(message("7", idempotent=True))
    with box:
        box.outbox.finish_key("7", b'{"id":"7"}')
    box.finish("7")
    box.reopen(boot="boot-2")
    again = box.put(message("7", idempotent=True))
    assert (again.verdict, again.result) == (Verdict.KNOWN, b'{"id":"7"}')


def test_a_chosen_id_is_forgotten_after_a_day(box: Box) -> None:
    """24 hours from its first receipt on, not from its last, the id may be used anew."""
    box.put(message("7", idempotent=True))
    with box:
        box.outbox.finish_key("7", b"{}")
    box.clock.pass_(KEPT_FOR - 1)
    box.sweep()
    assert box.put(message("7", idempotent=True)).verdict is Verdict.KNOWN
    box.clock.pass_(2)
    box.sweep()
    assert box.put(message("7", idempotent=True)).verdict is Verdict.STORED


def test_an_id_whose_message_still_waits_is_not_forgotten(box: Box) -> None:
    """As long as the message is queued its id is known, however long that takes."""
    box.put(message("7", idempotent=True))
    box.clock.pass_(3 * KEPT_FOR)
    box.sweep()
    assert box.put(message("7", idempotent=True)).verdict is Verdict.KNOWN


def test_a_message_refused_for_lack_of_room_may_try_again(tmp_path: Path) -> None:
    """Nothing was taken, so the id is free."""
    box = Box(tmp_path / "o.db", limits=Limits(max_messages=1))
    box.put(message("1"))
    assert box.put(message("7", idempotent=True)).verdict is Verdict.REFUSED
    box.finish("1")
    assert box.put(message("7", idempotent=True)).verdict is Verdict.STORED


# -- accepted commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply", [None, Reply("me/reply", None), Reply("me/reply", b""), Reply("é", b"\0\xff")]
)
def test_a_claim_is_kept_until_it_is_dropped(box: Box, reply: Reply | None) -> None:
    """Every field survives a restart, and so does its id, though no message has it."""
    older = AcceptedCommand("*?['é", True, Channel.NETWORK, NOON, reply)
    newer = AcceptedCommand("1", False, Channel.QUEUE, NOON + 1.5)
    with box:
        assert box.outbox.keys.add(older.id)
        box.outbox.accepted.add(newer)
        box.outbox.accepted.add(older)
    box.reopen(boot="boot-2")
    assert box.outbox.accepted.left() == [older, newer]
    with box:
        assert not box.outbox.keys.add(older.id)
        box.outbox.accepted.drop(older)
    assert box.outbox.accepted.left() == [newer]


# -- limits ----------------------------------------------------------------------------------------------


def test_a_full_outbox_refuses(tmp_path: Path) -> None:
    """With `reject` the new message goes, by number and by bytes, to the exact limit."""
    box = Box(tmp_path / "o.db", limits=Limits(max_messages=3, max_bytes=100))
    assert box.put(message(payload=b"x" * 90)).verdict is Verdict.STORED
    assert box.put(message(payload=b"x" * 11)).verdict is Verdict.REFUSED
    assert box.put(message(payload=b"x" * 10)).verdict is Verdict.STORED
    assert box.put(message(payload=b"")).verdict is Verdict.STORED
    assert box.put(message(payload=b"")).verdict is Verdict.REFUSED
    assert (box.outbox.ledger.messages, box.outbox.ledger.bytes) == (3, 100)


def dropping(tmp_path: Path, **limits: int) -> Box:
    return Box(tmp_path / "o.db", limits=Limits(**limits, drop_oldest=True))


def put_all(box: Box, *named: tuple[str, int]) -> None:
    """Queue messages of the given priorities, each in the lane of its priority."""
    for name, priority in named:
        box.put(message(name, topic=f"p{priority}", priority=Priority(priority), payload=b"x" * 10))


def names(dropped: tuple[Dropped, ...]) -> list[str]:
    return [item.queued.id for item in dropped]


def test_drop_oldest_takes_the_oldest_of_the_lowest_priority(tmp_path: Path) -> None:
    """The oldest low one goes first, then the next; the order of the lanes does not matter."""
    box = dropping(tmp_path, max_messages=4)
    put_all(box, ("h1", 0), ("n1", 1), ("l1", 2), ("l2", 2))
    for expected in ("l1", "l2", "n1"):
        taken = box.put(message(topic="new", priority=Priority.HIGH))
        assert (taken.verdict, names(taken.dropped)) == (Verdict.STORED, [expected])


def test_drop_oldest_spares_what_is_more_urgent(tmp_path: Path) -> None:
    """A new message never drives out one of a higher priority: then it is refused itself."""
    box = dropping(tmp_path, max_messages=2)
    put_all(box, ("h1", 0), ("n1", 1))
    assert box.put(message(priority=Priority.LOW)).verdict is Verdict.REFUSED
    assert names(box.put(message("n2")).dropped) == ["n1"]
    assert box.ids() == ["h1", "n2"]


def test_drop_oldest_makes_as_much_room_as_is_needed(tmp_path: Path) -> None:
    """Bytes are freed message by message, no more of them than it takes."""
    box = dropping(tmp_path, max_bytes=100)
    put_all(box, *((f"l{n}", 2) for n in range(10)))
    taken = box.put(message(payload=b"x" * 25))
    assert names(taken.dropped) == ["l0", "l1", "l2"]


def test_what_can_never_fit_drops_nothing(tmp_path: Path) -> None:
    """A message larger than the whole outbox is refused, and nothing goes for its sake."""
    box = dropping(tmp_path, max_bytes=100)
    put_all(box, ("l1", 2))
    taken = box.put(message(payload=b"x" * 101))
    assert (taken.verdict, taken.dropped, box.ids()) == (Verdict.REFUSED, (), ["l1"])


def test_a_refusal_drops_nothing(tmp_path: Path) -> None:
    """Where even dropping all that may go makes no room, nothing is dropped in vain."""
    box = dropping(tmp_path, max_bytes=100)
    put_all(box, ("low", 2))
    box.put(message("high", priority=Priority.HIGH, payload=b"x" * 80))
    taken = box.put(message("new", payload=b"x" * 50))
    assert (taken.verdict, taken.dropped) == (Verdict.REFUSED, ())
    assert box.ids() == ["low", "high"]


def test_what_is_under_way_is_not_dropped(tmp_path: Path) -> None:
    """A message that is being sent stays; the next oldest of its lane goes instead."""
    box = dropping(tmp_path, max_messages=3)
    put_all(box, ("1", 1), ("2", 1), ("3", 1))
    box.outbox.in_flight.add(box.outbox.heads(CLOUD, 1, ())[0].seq)
    taken = box.put(message("4", topic="p1"))
    assert (taken.verdict, names(taken.dropped), box.ids()) == (Verdict.STORED, ["2"], ["1", "3", "4"])


def test_a_lane_under_way_does_not_protect_its_priority(tmp_path: Path) -> None:
    """While the first low message is being sent the second low one goes before a normal one does."""
    box = dropping(tmp_path, max_messages=3)
    put_all(box, ("low-1", 2), ("low-2", 2), ("normal", 1))
    box.outbox.in_flight.add(box.all()[0].seq)
    assert names(box.put(message("new")).dropped) == ["low-2"]


# -- figures ---------------------------------------------------------------------------------------------


def test_bytes_are_kept_by_day_and_month(box: Box) -> None:
    """What was spent counts for its UTC day and month, across restarts and midnight."""
    box.clock.wall = 1_701_388_799.0  # 2023-11-30 23:59:59 UTC
    box.sweep()
    with box:
        box.outbox.times.learn()
        box.outbox.ledger.spend(Traffic(100, 50))
    box.clock.pass_(2.0)
    with box:
        box.outbox.ledger.spend(Traffic(1, 2))
    box.reopen(boot="boot-2")
    with box:
        box.outbox.ledger.spend(Traffic(10, 20))
    assert box.outbox.ledger.spent(box.clock.wall) == (Traffic(11, 22), Traffic(11, 22))
    assert box.outbox.ledger.spent(box.clock.wall - DAY) == (Traffic(100, 50), Traffic(100, 50))


def test_results_are_counted_across_restarts(box: Box) -> None:
    """Counters of results go on where they were; a rolled-back transaction counts nothing."""
    with box:
        box.outbox.ledger.count("delivered", 2)
    with pytest.raises(ZeroDivisionError), box:  # noqa: PT012  # a transaction that fails
        box.outbox.ledger.count("delivered", 5)
        box.outbox.ledger.spend(Traffic(1, 1))
        raise ZeroDivisionError
    box.reopen()
    with box:
        box.outbox.ledger.count("delivered")
    assert box.outbox.ledger.counts["delivered"] == 3
    assert box.outbox.ledger.spent(box.clock.wall)[0] == Traffic(0, 0)


def test_reports_wait_in_order_until_the_broker_has_them(box: Box) -> None:
    """Reports are read behind a cursor in the order in which they were written, and survive a restart."""
    with box:
        for number in range(5):
            box.outbox.reports.add("hologram/result", b"%d" % number, retain=number == 4)
        box.outbox.reports.add("me/reply", b"r", '["00", []]')
    first = box.outbox.reports.after(0, 2)
    assert [report.payload for report in first] == [b"0", b"1"]
    with box:
        box.outbox.reports.sent([first[0].seq])
    box.reopen()
    rest = box.outbox.reports.after(0, 100)
    assert [report.payload for report in rest] == [b"1", b"2", b"3", b"4", b"r"]
    assert (rest[3].retain, rest[4].topic, rest[4].properties) == (1, "me/reply", '["00", []]')
    with box:
        box.outbox.reports.add("hologram/result", b"new")
    assert box.outbox.reports.after(rest[-1].seq, 10)[0].payload == b"new"


def test_the_listing_says_what_waits_and_why(box: Box) -> None:
    """`queue list` shows each message without its payload, and whether it waits or is under way."""
    for name in ("1", "2", "3"):
        box.put(message(name, topic=name, payload=b"12345", lifetime=60.0))
    box.defer("2", 100.0)
    box.outbox.in_flight.add(box.all()[2].seq)
    listed = box.outbox.listing(0, 10)
    assert [(row["id"], row["state"]) for row in listed] == [
        ("1", "queued"), ("2", "waiting"), ("3", "under way"),
    ]  # fmt: skip
    assert (listed[1]["bytes"], listed[1]["attempts"], listed[1]["deadline"]) == (5, 1, NOON + 60)
    assert "payload" not in listed[0]


def end(box: Box, name: str, result: bytes = b"r" * 300) -> None:
    """Take a message of this id, and end it with ``result``."""
    box.put(message(name, idempotent=True))
    (queued,) = [each for each in box.all() if each.id == name]
    with box:
        box.outbox.remove(queued)
        box.outbox.finish_key(name, result)


def ids(box: Box) -> list[str]:
    query = "SELECT id, received_at FROM chosen UNION SELECT id, received_at FROM ended ORDER BY 2"
    return [row[0] for row in box.database._run(query)]


@pytest.mark.parametrize("limits", [Limits(max_messages=10), Limits(max_bytes=3050)])
def test_ids_that_producers_choose_are_bounded(tmp_path: Path, limits: Limits) -> None:
    """By number and by bytes, over restarts too: the oldest go, those of queued messages stay."""
    box = Box(tmp_path / "o.db", limits=limits)
    box.put(message("queued", idempotent=True))
    for number in range(50):
        end(box, f"i{number:02}")
        box.clock.pass_(1.0)
        if number % 20 == 0:
            box.reopen()
    assert ids(box) == ["queued", *(f"i{number}" for number in range(40, 50))]
    assert box.outbox.ledger.ended == 10
    assert box.outbox.ledger.ended_bytes == 10 * 303
    with box:
        assert not box.outbox.keys.add("i45"), "it is known"
        assert box.outbox.keys.add("i05"), "it is forgotten"
    box.database.close()


def test_lower_bounds_hold_for_ids_that_are_there(box: Box) -> None:
    """In portions: a reload may lower them by a million."""
    for number in range(30):
        end(box, f"i{number:02}")
        box.clock.pass_(1.0)
    box.outbox.limits = Limits(max_messages=7)
    box.sweep()
    assert ids(box) == [f"i{number}" for number in range(23, 30)]


def test_forgotten_ids_are_counted_out(box: Box) -> None:
    """After 24 hours, and by a transaction that is rolled back not."""
    for number in range(5):
        end(box, f"i{number}")
    with contextlib.suppress(ZeroDivisionError), box:
        box.outbox.finish_key("i0", b"again")
        raise ZeroDivisionError
    assert (box.outbox.ledger.ended, box.outbox.ledger.ended_bytes) == (5, 5 * 302)
    box.clock.pass_(DAY + 1)
    box.sweep()
    assert (box.outbox.ledger.ended, box.outbox.ledger.ended_bytes) == (0, 0)
    assert ids(box) == []


def test_days_are_bounded(box: Box) -> None:
    """However many a clock makes that steps about: the newest stay."""
    for _ in range(DAYS + 20):
        box.clock.pass_(DAY)
        with box:
            box.outbox.ledger.spend(Traffic(1, 1))
    assert box.database._run("SELECT count(*) FROM usage").fetchone()[0] == DAYS - 1, "and the day itself"
    assert box.outbox.ledger.spent(box.clock.wall)[0] == Traffic(1, 1)
