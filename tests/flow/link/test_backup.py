"""The modem as the backup of the own network: messages of a real outbox between two networks of a test's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.core.budget import Bounds, Way
from bridge.core.exchange import Outcome
from bridge.core.failover import TRIAL
from bridge.core.messages import CLOUD
from bridge.flow.message.budget import Budget, Source
from bridge.flow.message.budget import Plan as BudgetPlan
from tests.doubles.heart import SPENT, UNREACHED, answered, silent
from tests.doubles.two_networks import AFTER, HOLD, Box

COST = sum(SPENT)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path / "outbox.db") as made:
        yield made


def test_messages_take_the_own_network_while_it_reaches_the_cloud(box: Box) -> None:
    """Nothing is dialled, and nothing is looked at."""
    for number in range(5):
        box.publish(f"out/{number}")
        box.wait(60)
    assert box.states() == ["delivered"] * 5
    assert (box.sent(), box.looks, box.link.calls) == ((5, 0), 0, 0)
    assert box.time.pending == 1, "the uplink's own check"


def test_they_take_the_modem_once_it_has_failed_for_long_enough(box: Box) -> None:
    """All of them, each with one result and the attempt that arrived; nothing is dialled before."""
    box.cut()
    for number in range(6):
        box.publish(f"out/{number}")
    box.wait(AFTER - 5)
    assert (box.link.calls, box.states()) == (0, [])
    box.wait(10)
    assert (box.link.calls, box.looks, box.events()) == (1, 1, ["modem"])
    assert [(each["state"], each["attempts"]) for each in box.ended()] == [("delivered", 1)] * 6


def test_nothing_is_dialled_for_nothing(box: Box) -> None:
    """The message that failed is gone; the next one finds the modem at once, if the network is still away."""
    box.cut()
    box.publish("out/a", expires="30s")
    box.wait(3600)
    assert (box.states(), box.link.calls) == (["expired"], 0)
    box.publish("out/b")
    box.wait(3)
    assert (box.states(), box.link.calls) == (["expired", "delivered"], 1)


def test_a_network_that_came_back_unnoticed_is_found_before_the_modem_is_dialled(box: Box) -> None:
    """By one look at it."""
    box.cut()
    box.publish("out/a", expires="30s")
    box.wait(3600)
    box.mend()
    box.uplink.release()
    box.cut()
    box.publish("out/b")
    box.mend()
    box.wait(3)
    assert (box.looks, box.link.calls) == (1, 0)
    box.wait(300)
    assert box.states() == ["expired", "delivered"]


def test_attempts_over_a_network_that_is_down_are_not_counted(box: Box) -> None:
    """A message that has one attempt has it over the modem."""
    box.cut()
    box.publish("out/once")
    box.wait(AFTER + 5)
    assert [(each["state"], each["attempts"]) for each in box.ended()] == [("delivered", 1)]


def test_what_is_in_flight_on_a_dying_network_goes_on_over_the_modem(box: Box) -> None:
    """Its exchange ends when it ends; then it is tried over the modem at once, and counts as one attempt."""
    box.fail_over()
    box.mend()
    box.wait(HOLD + 2)
    assert box.events() == ["modem", "own"]
    box.own_cloud.manner = None
    for number in range(4):
        box.publish(f"out/{number}")
    assert box.own_cloud.in_progress == 4
    box.own_cloud.end(UNREACHED)
    box.wait(1)
    assert (box.events(), len(box.ended())) == (["modem", "own", "modem"], 2)
    for _ in range(3):
        box.own_cloud.end(UNREACHED)
        box.wait(1)
    assert [(each["state"], each["attempts"]) for each in box.ended()[1:]] == [("delivered", 1)] * 4
    assert box.condition(CLOUD) == "up", "what ends over the other network says nothing of this one"
    assert box.link.calls == 1


def test_a_silence_that_ends_after_the_change_delays_nothing(box: Box) -> None:
    """It is an attempt, and says nothing of the modem, over which the message goes at once."""
    box.own_cloud.manner = None
    box.publish("out/a")
    for _ in range(3):
        box.own_cloud.end(silent())
        box.wait(10)
    box.cut()
    box.own_cloud.manner, waits = UNREACHED, box.own_cloud.in_progress
    box.publish("out/b")
    box.wait(AFTER + 5)
    assert (waits, box.backup.path, box.states()) == (1, "modem", ["delivered"])
    box.own_cloud.end(silent())
    box.turn(0.5)
    assert [(each["state"], each["attempts"]) for each in box.ended()[1:]] == [("delivered", 5)]
    assert box.condition(CLOUD) == "up"


def test_the_own_network_carries_again_at_once_and_the_modem_is_hung_up_later(box: Box) -> None:
    """When it has reached the cloud for `backup_hold`; messages prove it as well as a look."""
    box.fail_over()
    box.wait(HOLD - 10)
    assert box.looks == 1
    box.mend()
    box.wait(10)
    assert (box.looks, box.events(), box.link.ends) == (2, ["modem", "own"], 0)
    box.publish("out/b")
    assert box.sent()[1] == 1, "the modem carried the first message alone"
    box.wait(HOLD - 10)
    assert box.link.ends == 0
    box.wait(15)
    assert (box.link.ends, box.looks) == (1, 2)


def test_a_network_that_has_a_route_again_is_looked_at_at_once(box: Box) -> None:
    """A cable that is put back saves the rest of the hold."""
    box.routed = False
    box.fail_over()
    box.routed = True
    box.mend()
    box.wait(3)
    assert box.events() == ["modem", "own"]


def test_a_relapse_does_not_flap(box: Box) -> None:
    """The messages come back to the modem at once, and stay for a hold."""
    box.fail_over()
    box.mend()
    box.wait(HOLD + 2)
    box.cut()
    box.publish("out/b")
    box.wait(1)
    assert (box.events(), box.states()) == (["modem", "own", "modem"], ["delivered"] * 2)
    box.mend()
    box.wait(HOLD - 10)
    assert box.events() == ["modem", "own", "modem"]
    box.wait(20)
    assert box.events() == ["modem", "own", "modem", "own"]
    assert box.link.calls == 1


def test_a_message_in_flight_keeps_the_link(box: Box) -> None:
    """It is not cut, however long it takes."""
    box.fail_over()
    box.cloud.manner = None
    box.publish("out/large")
    box.mend()
    box.wait(3 * HOLD)
    assert (box.backup.path, box.link.ends) == ("own", 0)
    box.cloud.end(answered())
    box.wait(1)
    assert (box.states(), box.link.ends) == (["delivered"] * 2, 1)


def test_a_modem_that_reaches_nothing_either_is_hung_up_and_rests(box: Box) -> None:
    """For 5 minutes, then 10; meanwhile the own network is tried."""
    box.cloud.manner = UNREACHED
    box.cut()
    for number in range(4):
        box.publish(f"out/{number}")
    box.wait(AFTER + TRIAL + 45)
    assert (box.link.calls, box.link.ends, box.events()) == (1, 1, ["modem", "own"])
    box.wait(200)
    assert box.link.calls == 1
    box.wait(250)
    assert (box.link.calls, box.link.ends) == (2, 2)
    box.wait(400)
    assert box.link.calls == 2
    box.cloud.manner = answered()
    box.wait(250)
    assert (box.link.calls, box.states()) == (3, ["delivered"] * 4)


def test_a_modem_by_which_nothing_is_answered_is_hung_up_too(box: Box) -> None:
    """For as long as one that connects nowhere."""
    box.cloud.manner = silent()
    box.cut()
    for number in range(4):
        box.publish(f"out/{number}")
    box.wait(AFTER + TRIAL + 30)
    assert box.events()[:2] == ["modem", "own"]
    assert box.link.ends >= 1


def test_a_cloud_that_connects_and_never_answers_is_not_reached(box: Box) -> None:
    """Three lanes say so at once."""
    box.cut(silent())
    for number in range(3):
        box.publish(f"out/{number}")
    box.wait(AFTER - 5)
    assert box.link.calls == 0
    box.wait(20)
    assert box.states() == ["delivered"] * 3
    assert box.link.calls == 1


def test_one_alarm_that_is_never_answered_takes_the_modem(box: Box) -> None:
    """Tried again and again for `backup_after`: the network lets it connect, and swallows what it says."""
    box.cut(silent())
    box.publish("out/alarm")
    box.wait(AFTER - 5)
    assert box.link.calls == 0
    box.wait(10)
    assert (box.states(), box.link.calls, box.looks) == (["delivered"], 1, 0)


def test_a_network_that_still_swallows_is_found_out_by_the_first_message(box: Box) -> None:
    """A handshake with it works, so messages return; the first that has no answer brings them back."""
    box.cut(silent())
    box.publish("out/a")
    box.wait(AFTER + HOLD + 10)
    assert box.events() == ["modem", "own"]
    box.publish("out/b")
    box.wait(2)
    assert (box.events(), box.states()) == (["modem", "own", "modem"], ["delivered"] * 2)
    assert box.link.calls == 1


def test_a_lane_that_neither_network_helps_costs_one_call_an_hour(box: Box) -> None:
    """Its message is never answered; the others, which are, stay on the own network."""
    box.own_cloud.poison = box.cloud.poison = b"poison"
    box.publish("out/poison", b"poison")
    for _ in range(36):
        box.wait(300)
        box.publish("out/well")
    box.wait(1)
    assert box.states() == ["delivered"] * 36
    assert 1 <= box.link.calls <= 4
    assert box.sent()[1] < 60


def test_a_code_for_another_try_is_no_silence(box: Box) -> None:
    """The cloud is there, and the network that reaches it."""
    box.own_cloud.manner = answered(b"[1,0]")
    for number in range(4):
        box.publish(f"out/{number}")
    box.wait(AFTER + 600)
    assert box.link.calls == 0


def test_a_cloud_that_is_down_behind_both_networks_is_tried_less_and_less(box: Box) -> None:
    """It connects and does not answer: one alarm makes the modem dial after 5, 10, … 60 minutes."""
    box.cut(silent())
    box.cloud.manner = silent()
    box.publish("out/alarm")
    box.wait(3 * 3600)
    assert 4 <= box.link.calls <= 6
    assert box.link.ends >= box.link.calls - 1
    box.mend()
    box.wait(600)
    assert box.states() == ["delivered"]


def test_another_host_that_is_down_is_its_own_fault(box: Box) -> None:
    """A look finds the cloud, so its messages use up their attempts, and nothing is dialled."""
    box.own_plc.manner = UNREACHED
    box.publish("out/plc")
    box.wait(60)
    assert (box.states(), box.looks, box.link.calls) == (["failed"], 1, 0)


def test_another_host_is_reached_by_the_modem_where_the_network_is_down(box: Box) -> None:
    """The look finds that out, and its attempts are not used up."""
    box.cut()
    box.own_plc.manner = UNREACHED
    box.tcp.manner = Outcome(True, True, True, b"", True, None, SPENT)
    box.publish("out/plc")
    box.wait(AFTER + 60)
    assert (box.states(), box.link.calls) == (["delivered"], 1)


def test_dialling_that_takes_long_leaves_the_own_network_its_chance(box: Box) -> None:
    """Without a mobile network either, messages wait, and go by whichever comes first."""
    box.link.registered = False
    box.cut()
    box.publish("out/a")
    box.wait(3600)
    assert (box.states(), box.link.calls, box.events()) == ([], 0, [])
    box.mend()
    box.wait(300)
    assert (box.states(), box.link.calls, box.events()) == (["delivered"], 0, [])


# -- restarts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("booted", [False, True])
@pytest.mark.parametrize("stage", ["dialling", "modem"])
def test_a_restart_in_the_middle_of_a_failover_does_not_begin_again(
    box: Box, stage: str, *, booted: bool
) -> None:
    """What waits goes within seconds; in another boot, and for new messages, after one look."""
    box.link.registered = stage == "modem"
    box.cut()
    box.publish("out/a")
    box.wait(AFTER + 5)
    assert box.backup.path == ("modem" if stage == "modem" else "own")
    for again in range(2):
        box = box.killed(booted=booted and not again)
        box.publish("out/b")
        box.wait(3)
        assert (box.backup.path, box.link.calls) == ("modem", 1)
        assert box.looks <= 1
        assert set(box.states()) == {"delivered"}
    box.close()


def test_what_a_restart_remembers_is_not_believed_when_the_network_works(box: Box) -> None:
    """The box may be in another place: the first answer counts more, and then nothing is remembered."""
    box.fail_over()
    box.mend()
    with box.killed(booted=True) as moved:
        moved.publish("out/b")
        moved.wait(3)
        assert (moved.backup.path, moved.link.calls) == ("own", 0)
        with moved.killed() as again:
            again.cut()
            again.publish("out/c")
            again.wait(AFTER - 5)
            assert again.link.calls == 0


def test_a_silence_is_remembered_within_the_boot_alone(box: Box) -> None:
    """In another boot no look could tell whether it is still so: the own network has its time again."""
    box.cut(silent())
    for number in range(3):
        box.publish(f"out/{number}")
    box.wait(AFTER + 5)
    with box.killed() as same:
        same.publish("out/b")
        same.wait(2)
        assert same.backup.path == "modem"
        with same.killed(booted=True) as other:
            other.publish("out/c")
            other.wait(AFTER - 5)
            assert (other.backup.path, other.link.calls) == ("own", 0)


def test_nothing_is_remembered_of_a_modem_that_did_not_help(box: Box) -> None:
    """A bridge that is killed again and again would dial each time."""
    box.cloud.manner = UNREACHED
    box.cut()
    box.publish("out/a")
    box.wait(AFTER + TRIAL + 45)
    with box.killed() as again:
        again.wait(AFTER - 5)
        assert again.link.calls == 0


@pytest.mark.parametrize("note", ["", "[", "[1]", '["1", false]', "[1, 1]", "[null, true]", "{}"])
def test_a_damaged_note_is_none(box: Box, note: str) -> None:
    """The bridge starts, and learns by itself."""
    box.write(lambda: box.outbox.set_meta("failover", note))
    box.close()
    with Box(box.path) as again:
        again.publish("out/a")
        again.wait(2)
        assert (again.states(), again.link.calls) == (["delivered"], 0)


# -- money -----------------------------------------------------------------------------------------------


def _bounded(box: Box, **bounds: Any) -> Budget:
    source = Source(lambda: Way.APART, spared=lambda: not box.backup.over_modem)
    budget = Budget(box.journal, box.notices, BudgetPlan(Bounds(**bounds)), box.uplink, source)
    budget.start()
    return budget


def test_only_what_takes_the_sim_is_counted(box: Box) -> None:
    """Whenever its result is recorded; the own network's bytes are the bridge's, and no bound's."""
    budget = _bounded(box, day=100 * COST)
    for number in range(3):
        box.publish(f"out/{number}")
        box.wait(1)
    assert budget.spent().day == 0
    box.cut()
    box.publish("out/first")
    box.wait(AFTER + 5)
    assert budget.spent().day == COST
    box.cloud.manner = None
    box.publish("out/slow")
    assert budget.spent().day > COST, "it is in flight over the SIM"
    box.mend()
    box.wait(HOLD + 2)
    assert box.backup.path == "own"
    box.cloud.end(answered())
    box.wait(1)
    assert budget.spent().day == 2 * COST
    today, _ = box.outbox.ledger.spent()
    assert box.outbox.ledger.over_sim() == (2 * COST, 2 * COST)
    failed = sum(UNREACHED.traffic) * (len(box.own_cloud.jobs) - 3)
    assert sum(today) == 5 * COST + failed


def test_what_the_budget_holds_dials_nothing_and_takes_the_own_network(box: Box) -> None:
    """Only over the SIM it would wait."""
    _bounded(box, day=COST)
    box.outbox.ledger.spend(SPENT)
    box.publish("out/a")
    box.wait(1)
    assert box.states() == ["delivered"]
    box.cut()
    box.publish("out/b")
    box.wait(AFTER + 600)
    assert (box.link.calls, box.states()) == (0, ["delivered"])
    box.mend()
    box.wait(301)
    assert box.states() == ["delivered"] * 2
