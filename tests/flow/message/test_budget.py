"""The budget: what is held back, what goes on, and what is counted over crashes and clocks."""

import json
from typing import Any

import pytest

from bridge.core.budget import Bounds, Reading, Way
from bridge.core.messages import CLOUD_SMS, Priority
from bridge.flow.link.demand import Demand
from bridge.flow.message.budget import TEXT_WAIT, TICK, Budget, Plan, Source
from bridge.protocol.lookups import ResolverConfig, unanswered
from bridge.protocol.lookups import answered as answered_lookup
from bridge.protocol.tcpinfo import estimate
from bridge.store.outbox import Limits
from tests.doubles.heart import SPENT, UNREACHED, Heart, answered
from tests.flow.conftest import MakeHeart

COST = sum(SPENT)
TO_MIDNIGHT = 6400.0  # the tests' clock begins at 22:13:20


def bounded(heart: Heart, *, source: Source | None = None, month_starts: int = 1, **bounds: Any) -> Budget:
    """Put a budget before the uplink of ``heart``, as the daemon does."""
    plan = Plan(Bounds(**bounds), month_starts)
    budget = Budget(heart.journal, heart.notices, plan, heart.uplink, source or Source())
    budget.start()
    heart.turn()
    return budget


def events(heart: Heart, kind: str) -> list[dict[str, Any]]:
    return [fields for event, fields in heart.notices.events if event == kind]


# -- holding ---------------------------------------------------------------------------------------------


def test_beyond_the_bound_less_its_reserve_only_high_priority_goes(heart: Heart) -> None:
    """Beyond the whole nothing does; no attempt is counted, and the deadlines run."""
    budget = bounded(heart, day=4 * COST)
    heart.cloud.manner = answered()
    for number in range(5):
        heart.publish(f"out/{number}", b"normal")
        heart.turn(0.2)
    assert heart.states() == ["delivered"] * 4, "the fourth began within the reserve's edge"
    (held,) = events(heart, "budget.held")
    assert (held["of"], held["limit"], held["use"], held["percent"]) == ("day", 4 * COST, 4 * COST, 100)
    heart.publish("out/alarm", b"high", priority="high")
    heart.publish("out/late", b"late", expires="10s")
    heart.turn(20.0)
    assert heart.states() == ["delivered"] * 4 + ["expired"]
    assert {each.attempts for each in heart.outbox.page(0, 99, 9)} == {0}
    assert budget.figures()["day"]["holds"]
    assert budget.held_messages() == {"day": 2}
    assert [each["held"] for each in heart.outbox.listing(0, 9)] == ["day", "day"]


def test_high_priority_has_the_reserve(heart: Heart) -> None:
    """It arrives while the rest waits."""
    bounded(heart, day=4 * COST, reserve=50.0)
    heart.cloud.manner = answered()
    for number in range(6):
        heart.publish(f"out/{number}", b"normal", priority=("normal", "low")[number % 2])
        heart.turn(0.2)
    assert len(heart.ended()) == 2
    for number in range(6):
        heart.publish(f"out/alarm{number}", b"high", priority="high")
        heart.turn(0.2)
    assert [each["topics"][0][:5] for each in heart.ended()[2:]] == ["alarm", "alarm"]


def test_at_midnight_the_rest_goes_in_order(heart: Heart) -> None:
    """Within a tick."""
    bounded(heart, day=2 * COST)
    heart.cloud.manner = answered()
    for number in range(5):
        heart.publish("out/a", f"{number}".encode())
        heart.turn(0.2)
    assert heart.queued() == ["2", "3", "4"]
    heart.turn(TO_MIDNIGHT - 30)
    assert len(heart.ended()) == 2
    heart.turn(60.0)
    assert heart.queued() == ["4"]
    assert [fields["of"] for fields in events(heart, "budget.released")] == ["day"]
    heart.days(1)
    assert heart.queued() == []
    sent = [job.request.decode().split('"d":"', 1)[1][0] for job in heart.cloud.jobs]
    assert sent == ["0", "1", "2", "3", "4"]


def test_a_month_holds_over_its_days_and_ends_on_its_own_day(heart: Heart) -> None:
    """Which is the 16th here, and the clock shows the 14th."""
    bounded(heart, month=2 * COST, month_starts=16)
    heart.cloud.manner = answered()
    for number in range(4):
        heart.publish("out/a", f"{number}".encode())
        heart.turn(0.2)
    heart.days(1)
    assert heart.queued() == ["2", "3"]
    heart.days(1)
    assert heart.queued() == []


def test_thirty_writers_never_exceed_it_by_more_than_what_is_in_flight(heart: Heart) -> None:
    """Slots in parallel, every priority, and high priority does not wait for the others."""
    bounded(heart, day=20_000)
    heart.cloud.manner = answered()
    priorities = ["high", *["normal"] * 2, *["low"] * 2]
    for count in range(4):
        for writer in range(30):
            heart.publish(f"out/{writer}", f"{count}".encode(), priority=priorities[writer % 5])
    heart.turn(60.0)
    used = heart.outbox.ledger.usage.of(heart.outbox.ledger.usage.clock.day).use.own
    assert 20_000 * 0.9 <= used <= 20_000 + heart.uplink.slots * COST
    waiting = heart.outbox.page(0, 999, 999)
    assert waiting
    heart.turn(TO_MIDNIGHT)
    heart.days(10)
    assert heart.queued() == []
    for lane in range(30):
        of = [each for each in heart.ended() if each["topics"] == [str(lane)]]
        assert len(of) == 4
        assert all(each["state"] == "delivered" for each in of)


def test_a_budget_smaller_than_one_message_lets_one_go_a_day(heart: Heart) -> None:
    """What is in flight may exceed it."""
    bounded(heart, day=1)
    heart.cloud.manner = answered()
    for number in range(3):
        heart.publish("out/a", f"{number}".encode())
        heart.turn(0.2)
    assert len(heart.ended()) == 1
    heart.days(1)
    assert len(heart.ended()) == 2


def test_a_bound_that_is_changed_to_less_than_is_used_holds_at_once_and_a_larger_one_lets_go(
    heart: Heart,
) -> None:
    """By a reload, in which nothing is lost."""
    budget = bounded(heart, day=100 * COST)
    heart.cloud.manner = answered()
    for _ in range(3):
        heart.publish("out/a", b"1")
        heart.turn(0.2)
    budget.apply(Plan(Bounds(day=COST)))
    heart.publish("out/a", b"2")
    heart.turn(1.0)
    assert heart.queued() == ["2"]
    assert budget.figures()["day"]["percent"] == 300
    budget.apply(Plan(Bounds(day=100 * COST)))
    heart.turn(1.0)
    assert heart.queued() == []
    budget.apply(Plan())
    assert budget.figures() == {}


def test_what_does_not_go_over_the_sim_is_neither_counted_nor_held(heart: Heart) -> None:
    """The interface's own bytes are counted all the same."""
    reading = Reading("boot ppp0 1", 5000, 5000)
    budget = bounded(heart, day=100, source=Source(lambda: Way.OFF, lambda: reading))
    heart.cloud.manner = answered()
    heart.publish("out/a", b"1")
    heart.turn(TICK)
    assert heart.states() == ["delivered"]
    assert budget.figures()["day"]["use"] == 10_000
    assert heart.outbox.ledger.spent()[0] == SPENT, "the bridge's own bytes, whatever way they took"


def test_what_others_use_up_does_not_silence_an_alarm(heart: Heart) -> None:
    """High priority goes as long as the bridge's own bytes are within the bound."""
    carried = [0]
    budget = bounded(
        heart,
        day=2 * COST,
        source=Source(lambda: Way.LINK, lambda: Reading("boot ppp0 1", carried[0], 0)),
    )
    heart.cloud.manner = answered()
    carried[0] = 50 * COST
    heart.turn(1.0)
    heart.publish("out/a", b"normal")
    for number in range(4):
        heart.publish("out/alarm", f"high {number}".encode(), priority="high")
        heart.turn(1.0)
    assert heart.queued() == ["normal", "high 2", "high 3"]
    assert budget.figures()["day"]["use"] == 50 * COST, "own bytes are among the link's"


def test_a_held_message_does_not_bring_a_link_up(heart: Heart) -> None:
    """And keeps none up; one that may go does."""
    bounded(heart, day=1)
    demand = Demand(heart.outbox, lambda: False, lambda: False)
    heart.cloud.manner = answered()
    heart.publish("out/a", b"1")
    heart.turn(1.0)
    heart.publish("out/a", b"2")
    assert heart.queued() == ["2"]
    assert not demand()
    heart.turn(TO_MIDNIGHT - 60)
    assert not demand()
    heart.identified = False
    heart.turn(120.0)
    assert demand()


# -- SMS -------------------------------------------------------------------------------------------------


def test_sms_beyond_their_bound_wait_a_day_at_most(heart: Heart) -> None:
    """Then they are expired, with the reason."""
    bounded(heart, sms_month=1)
    heart.sms.manner = answered(b"00")
    heart.publish("sms/15550000001", b"one")
    heart.turn(1.0)
    heart.publish("sms/15550000001", b"two")
    heart.cloud.manner = answered()
    heart.publish("out/a", b"no SMS")
    heart.turn(TEXT_WAIT - 20)
    assert heart.states() == ["delivered", "delivered"]
    heart.turn(60.0)
    last = heart.ended()[-1]
    assert (last["state"], last["attempts"]) == ("expired", 0)
    assert "budget.sms_month" in last["description"]


def test_the_parts_of_a_long_sms_count_and_so_does_an_unconfirmed_one(heart: Heart) -> None:
    """One that was refused or never left does not."""
    budget = bounded(heart, sms_day=10, reserve=0.0)
    heart.air.manner = answered(b"1 2 3")
    heart.publish("sms", b'{"to":"+15550000001","body":"' + b"x" * 400 + b'","via":"modem"}')
    heart.turn(1.0)
    assert budget.figures()["sms_day"]["use"] == 3
    heart.sms.manner = answered(b"40")
    heart.publish("sms/15550000001", b"refused")
    heart.turn(1.0)
    heart.sms.manner = UNREACHED
    heart.publish("sms/15550000002", b"unreached", expires="5s")
    heart.turn(10.0)
    assert budget.figures()["sms_day"]["use"] == 3
    heart.sms.manner = None
    heart.publish("sms/15550000003", b"in between")
    heart.turn(700.0)
    assert budget.figures()["sms_day"]["use"] == 4, "in flight"


def test_an_sms_that_a_crash_interrupted_counts(make_heart: MakeHeart) -> None:
    """It may have gone."""
    heart = make_heart()
    bounded(heart, sms_day=10)
    heart.publish("sms/15550000001", b"x")
    heart.turn(1.0)
    heart = make_heart(clock=heart.time.clock)
    assert heart.states() == []
    budget = bounded(heart, sms_day=10)
    heart.turn(1.0)
    assert heart.states() == ["unconfirmed"]
    assert budget.figures()["sms_day"]["use"] == 1
    assert heart.outbox.held(CLOUD_SMS, Priority.NORMAL) is None


def long_sms(number: str, parts: int, **keys: Any) -> bytes:
    """Return the JSON of an SMS over the air that takes ``parts``."""
    body = "x" * (150 * parts)
    return json.dumps({"to": number, "body": body, "via": "modem"} | keys).encode()


def test_an_sms_with_more_parts_than_are_left_holds_no_other_back(heart: Heart) -> None:
    """Shorter ones to others go past it; it is told once, and goes when its bound has room.

    Those to the same number wait behind it, since order holds there.
    """
    budget = bounded(heart, sms_day=3, reserve=0.0)
    heart.air.manner = answered(b"00")
    heart.publish("sms", long_sms("+15550000001", 2, id="two"))
    heart.turn(1.0)
    heart.publish("sms", long_sms("+15550000002", 2, id="long"))
    heart.publish("sms", long_sms("+15550000002", 1, id="behind"))
    heart.turn(60.0)
    assert budget.figures()["sms_day"]["holds"]
    assert budget.held_messages() == {"sms_day": 1}
    assert [each["held"] for each in heart.outbox.listing(0, 9)] == ["sms_day", None]
    heart.publish("sms", long_sms("+15550000003", 1, id="short"))
    heart.turn(60.0)
    assert [each["id"] for each in heart.ended()] == ["two", "short"]
    assert len(events(heart, "budget.held")) == 1
    assert not events(heart, "budget.released")
    heart.turn(TO_MIDNIGHT)
    assert [each["id"] for each in heart.ended()] == ["two", "short", "long", "behind"]
    assert len(events(heart, "budget.released")) == 1


def test_an_sms_that_never_fits_waits_a_day_at_most(heart: Heart) -> None:
    """And what is to the same number goes then."""
    bounded(heart, sms_day=2)
    heart.air.manner = answered(b"00")
    heart.publish("sms", long_sms("+15550000002", 3, id="never"))
    heart.publish("sms", long_sms("+15550000002", 1, id="behind"))
    heart.turn(TEXT_WAIT - 20)
    assert heart.ended() == []
    heart.turn(60.0)
    assert [(each["id"], each["state"]) for each in heart.ended()] == [
        ("never", "expired"),
        ("behind", "delivered"),
    ]


def test_a_long_sms_that_is_purged_holds_nothing_any_more(heart: Heart) -> None:
    """Its bound is released, and its lane goes on."""
    budget = bounded(heart, sms_day=2)
    heart.air.manner = answered(b"00")
    heart.publish("sms", long_sms("+15550000002", 3))
    heart.turn(10.0)
    assert budget.figures()["sms_day"]["holds"]
    heart.command("queue/set", b"purge")
    heart.turn(10.0)
    assert not budget.figures()["sms_day"]["holds"]
    heart.publish("sms", long_sms("+15550000002", 1, id="next"))
    heart.turn(10.0)
    assert heart.ended()[-1]["id"] == "next"


# -- crashes and clocks ----------------------------------------------------------------------------------


def test_bytes_in_flight_at_a_crash_are_not_too_few(make_heart: MakeHeart) -> None:
    """What they may cost is on disk before the first of them leaves, and counted at the next start."""
    heart = make_heart()
    bounded(heart)
    heart.publish("out/a", b"x" * 3000)
    heart.publish("out/b", b"x")
    heart.turn(1.0)
    assert heart.cloud.in_progress == 2
    heart = make_heart(clock=heart.time.clock)
    counted = heart.outbox.ledger.usage.of(heart.outbox.ledger.usage.clock.day).use.own
    assert counted >= 3000 + COST


def test_a_look_up_before_an_exchange_is_among_the_bytes_in_flight(make_heart: MakeHeart) -> None:
    """One that is answered before the exchange, and the two queries that fit into it where none is."""
    config = ResolverConfig()
    heart = make_heart()
    bounded(heart)
    heart.publish("out/a", b"1")
    heart.turn(1.0)
    request = estimate(len(heart.cloud.jobs[0].request), 5)
    heart = make_heart(clock=heart.time.clock)
    counted = heart.outbox.ledger.spent()[0]
    name = "cloudsocket.hologram.io"
    before = request.plus(answered_lookup(config, name, 0.1, addresses=1))
    assert counted.up >= max(before.up, unanswered(config, name).up)
    assert counted.down >= before.down


def test_a_clean_stop_counts_nothing_that_was_not_sent(make_heart: MakeHeart) -> None:
    """What was written ahead is taken back."""
    heart = make_heart()
    budget = bounded(heart)
    heart.cloud.manner = answered()
    heart.publish("out/a", b"1")
    heart.turn(1.0)
    budget.close()
    heart.turn(1.0)
    heart = make_heart(clock=heart.time.clock)
    assert heart.outbox.ledger.spent()[0] == SPENT


def test_messages_in_a_row_write_nothing_more_for_the_budget(heart: Heart) -> None:
    """Only the first waits for a transaction of its own."""
    bounded(heart)
    heart.cloud.manner = answered()
    writes = []
    for number in range(6):
        before = heart.outbox.ledger.writes
        heart.publish(f"out/{number}", b"1")
        heart.turn(1.0)
        writes.append(heart.outbox.ledger.writes - before)
    assert writes == [2, 1, 1, 1, 1, 1]


def test_a_round_of_exchanges_takes_one_commit(make_heart: MakeHeart) -> None:
    """What the next one may cost is written with its results: it begins without a commit of its own."""
    heart = make_heart(slots=3)
    bounded(heart)
    for number in range(30):
        heart.publish(f"out/{number % 3}", b"1")
    begun = heart.writer.commits
    for turn in range(1, 9):
        for _ in range(3):
            heart.cloud.end(answered())
        heart.turn(0.01)
        assert len(heart.cloud.jobs) == 3 * turn + 3
    assert heart.writer.commits - begun <= 8 + 1


def test_a_crash_after_a_burst_does_not_use_the_budget_up(make_heart: MakeHeart) -> None:
    """When nothing is in flight any more one message stays written, and no more: an alarm must still go."""
    heart = make_heart()
    bounded(heart)
    heart.cloud.manner = answered()
    for number in range(20):
        heart.publish(f"out/{number % 7}", b"1")
    heart.turn(10.0)
    before = sum(heart.outbox.ledger.spent()[0])
    heart = make_heart(clock=heart.time.clock)
    assert sum(heart.outbox.ledger.spent()[0]) - before <= 2 * COST


def test_a_crash_while_messages_are_held_does_not_use_the_reserve_up(make_heart: MakeHeart) -> None:
    """Under a bound nothing stays written for those that follow, because none may."""
    heart = make_heart()
    bounded(heart, day=16 * COST, reserve=50.0)
    heart.uplink.paused = True
    for number in range(20):
        heart.publish(f"out/{number % 7}", b"1")
    heart.cloud.manner = answered()
    heart.uplink.paused = False
    heart.uplink.wake()
    heart.turn(10.0)
    assert heart.queued()
    before = sum(heart.outbox.ledger.spent()[0])
    heart = make_heart(clock=heart.time.clock)
    assert sum(heart.outbox.ledger.spent()[0]) - before <= 2 * COST


@pytest.mark.parametrize("step", [86400.0, -86400.0, 40 * 86400.0, -40 * 86400.0])
def test_a_clock_that_jumps_and_comes_back_does_not_renew_the_budget(heart: Heart, step: float) -> None:
    """Over midnight or the end of a month, both ways."""
    bounded(heart, day=COST, month=1000 * COST)
    heart.cloud.manner = answered()
    heart.publish("out/a", b"1")
    heart.turn(1.0)
    heart.time.clock.step(step)
    heart.turn(60.0)
    heart.time.clock.step(-step)
    heart.turn(60.0)
    heart.publish("out/a", b"2")
    heart.turn(60.0)
    assert heart.queued() == ["2"]


def test_a_restart_keeps_what_is_used_and_what_was_warned_of(make_heart: MakeHeart) -> None:
    """One warning for each percentage, the highest that is reached."""
    heart = make_heart()
    bounded(heart, day=4 * COST)
    heart.cloud.manner = answered()
    for _ in range(3):
        heart.publish("out/a", b"1")
        heart.turn(TICK)
    assert events(heart, "budget.warning") == [{"percent": 70, "of": "day"}]
    heart = make_heart(clock=heart.time.clock, limits=Limits())
    budget = bounded(heart, day=4 * COST)
    heart.turn(60.0)
    assert budget.figures()["day"]["use"] >= 3 * COST
    assert [each["percent"] for each in events(heart, "budget.warning")] in ([], [90], [100])
    heart.days(1)
    assert budget.figures()["day"]["use"] == 0


def test_a_bound_that_is_changed_is_warned_of_anew(heart: Heart) -> None:
    """In the same day too: the percentages are those of the bound that counts now."""
    budget = bounded(heart, day=2 * COST)
    heart.cloud.manner = answered()
    for _ in range(2):
        heart.publish("out/a", b"1")
        heart.turn(TICK)
    assert events(heart, "budget.warning")[-1] == {"percent": 100, "of": "day"}
    budget.apply(Plan(Bounds(day=4 * COST)))
    heart.turn(TICK)
    before = len(events(heart, "budget.warning"))
    heart.publish("out/a", b"1")
    heart.turn(2 * TICK)
    assert events(heart, "budget.warning")[before:] == [{"percent": 70, "of": "day"}]


# -- changes for now -------------------------------------------------------------------------------------


def test_a_change_lasts_for_its_day_and_survives_a_restart(make_heart: MakeHeart) -> None:
    """`reset` ends it at once, null lifts the bound."""
    heart = make_heart()
    budget = bounded(heart, day=1000, month=50_000)
    usage = heart.outbox.ledger.usage
    budget.overrides.set({"day": 5000, "month": None}, None, usage.clock.day, budget.month)
    budget.changed()
    assert budget.bounds[:2] == (5000, None)
    heart.turn()
    heart = make_heart(clock=heart.time.clock)
    budget = bounded(heart, day=1000, month=50_000)
    assert budget.bounds[:2] == (5000, None)
    heart.turn(TO_MIDNIGHT)
    assert budget.bounds[:2] == (1000, None)
    heart.days(20)
    assert budget.bounds[:2] == (1000, 50_000)
    budget.overrides.set({"day": 7}, heart.time.now().wall + 3600, usage.clock.day, budget.month)
    heart.turn(TICK)
    assert budget.bounds.day == 7
    heart.turn(3700.0)
    assert budget.bounds.day == 1000


def test_a_command_changes_a_bound_and_ends_in_a_result(heart: Heart) -> None:
    """What waited goes on at once; a time that has passed is refused."""
    budget = bounded(heart, day=1)
    heart.change_budget = budget.change
    heart.cloud.manner = answered()
    for number in range(3):
        heart.publish("out/a", f"{number}".encode())
        heart.turn(0.2)
    heart.command("budget/set", b'{"day": "1MB", "id": "more"}')
    heart.turn(1.0)
    assert heart.queued() == []
    result = next(each for each in heart.ended() if each["id"] == "more")
    assert (result["channel"], result["state"]) == ("budget", "done")
    assert "day 1000000, month unbounded" in result["description"]
    heart.command("budget/set", b'{"day": null, "until": "2023-01-01", "id": "past"}')
    heart.command("budget/set", b"reset", id="back")
    heart.turn(1.0)
    ended = {each["id"]: each["state"] for each in heart.ended()}
    assert (ended["past"], ended["back"]) == ("failed", "done")
    assert budget.bounds.day == 1
