"""Failover as a value: each row of its table, by evidence and time alone."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.failover import TRIAL, Failover, Lesson, Plan, Seen, Stage, lesson, rest
from bridge.core.messages import CLOUD, CLOUD_SMS, MODEM_ANSWERS, MODEM_SMS, Channel, Endpoint
from bridge.core.retry import Kind

AFTER, HOLD = 120.0, 300.0
OWN = Failover(Plan(AFTER, HOLD))
WAITS = Seen(waits=True, link_up=False, routed=True)
NOTHING = WAITS._replace(waits=False)
UP = WAITS._replace(link_up=True)
FAILED = OWN.own_failed(0.0)
DIALLING = FAILED.tick(AFTER, WAITS).begin_look().looked(AFTER, reached=False)
MODEM = DIALLING.tick(AFTER + 20, UP)
BACK = AFTER + 20 + HOLD
RETURNING = MODEM.begin_look().looked(BACK, reached=True)


def test_the_stages_are_those_of_the_table() -> None:
    """From the own network by the modem back to it, as nearly all failovers go."""
    assert [each.stage for each in (OWN, FAILED, DIALLING, MODEM, RETURNING)] == [
        *(Stage.OWN, Stage.OWN, Stage.DIALLING, Stage.MODEM, Stage.RETURNING)
    ]
    assert [each.over_modem for each in (DIALLING, MODEM, RETURNING)] == [False, True, False]
    assert [each.wants_link for each in (FAILED, DIALLING, MODEM, RETURNING)] == [False, True, True, False]
    assert [each.keeps_link for each in (FAILED, DIALLING, MODEM, RETURNING)] == [False, True, True, True]
    again = RETURNING.own_reached(BACK + 10).tick(BACK + HOLD, UP)
    assert (again.stage, again.relapses, again.failing_since) == (Stage.OWN, 0, None)


def test_nothing_is_dialled_before_the_time_nor_for_nothing() -> None:
    """It takes `backup_after` of failures, and a message."""
    assert FAILED.tick(AFTER - 1, WAITS) == FAILED
    assert FAILED.own_failed(AFTER - 1).tick(AFTER - 1, WAITS).look_at is None
    assert FAILED.tick(10 * AFTER, NOTHING) == FAILED
    assert FAILED.own_reached(50.0).own_failed(60.0).tick(AFTER, WAITS).look_at is None


def test_the_own_network_is_looked_at_before_the_modem_is_dialled() -> None:
    """The last message that failed may have done so an hour ago."""
    looks = FAILED.tick(3600.0, WAITS)
    assert looks.due(3600.0)
    looking = looks.begin_look()
    assert not looking.due(3601.0)
    assert looking.tick(3601.0, WAITS) == looking, "one look at a time"
    assert looking.looked(3602.0, reached=True).idle
    assert looking.looked(3602.0, reached=False).stage is Stage.DIALLING


def test_a_network_that_connects_and_never_answers_is_not_looked_at() -> None:
    """A handshake would tell the wrong thing."""
    mute = OWN.own_failed(50.0, mute_since=0.0)
    assert mute.tick(AFTER, WAITS).stage is Stage.DIALLING


def test_silence_is_forgotten_when_nothing_waits() -> None:
    """The next message tries the own network first, as no look can tell whether it is still silent."""
    mute = OWN.own_failed(AFTER, mute_since=0.0).tick(AFTER, NOTHING)
    assert mute.idle
    assert mute.tick(AFTER + 1, WAITS) == mute
    rested = MODEM.own_failed(0.0, mute_since=0.0).modem_failed(0.0).tick(TRIAL, UP)
    assert rested.tick(TRIAL + 300, WAITS).tick(TRIAL + 300, WAITS).stage is Stage.DIALLING


def test_one_attempt_without_an_answer_is_enough_after_the_return() -> None:
    """Else it may be the message."""
    assert [each.enough for each in (OWN, DIALLING, MODEM, RETURNING)] == [3, 3, 3, 1]


@pytest.mark.parametrize("reached", [True, False])
def test_another_host_that_is_down_is_no_evidence_but_a_reason_to_look(reached: bool) -> None:
    """The look decides; it is not repeated for each of its messages."""
    looking = OWN.doubted(5.0)
    assert looking.due(5.0)
    after = looking.begin_look().looked(6.0, reached=reached)
    assert (after.stage, after.failing_since) == (Stage.OWN, None if reached else 6.0)
    again = after.doubted(7.0)
    assert not again.due(7.0)
    assert again.due(6.0 + AFTER) == reached
    assert after.tick(7.0, WAITS).stage is Stage.OWN
    assert DIALLING.doubted(7.0) == DIALLING


def test_dialling_ends_when_it_is_not_needed_any_more() -> None:
    """The own network is back, or the messages are gone."""
    assert DIALLING.own_reached(AFTER + 5).stage is Stage.OWN
    gone = DIALLING.tick(AFTER + 5, NOTHING)
    assert (gone.stage, gone.failing_since) == (Stage.OWN, 0.0)


def test_a_lost_link_is_dialled_again() -> None:
    """Meanwhile messages try the own network."""
    assert MODEM.tick(200.0, WAITS).stage is Stage.DIALLING
    assert MODEM.tick(200.0, NOTHING).stage is Stage.DIALLING


def test_the_own_network_is_looked_at_once_in_a_hold() -> None:
    """Whatever it says, and sooner where it has a route again after it had none."""
    assert not MODEM.due(BACK - 1)
    assert MODEM.due(BACK)
    failed = MODEM.begin_look().looked(BACK, reached=False)
    assert (failed.stage, failed.look_at) == (Stage.MODEM, BACK + HOLD)
    cut = MODEM.tick(200.0, UP._replace(routed=False))
    assert not cut.due(201.0)
    assert cut.tick(202.0, UP).due(202.0)


def test_an_exchange_that_was_under_way_is_a_reason_to_look() -> None:
    """It began before the messages came to the modem, and reached the cloud after all."""
    assert MODEM.own_reached(200.0).due(200.0)


def test_one_failure_after_the_return_brings_the_messages_back_to_the_modem() -> None:
    """It is still up. The next look waits for a whole hold, so that nothing flaps."""
    relapsed = RETURNING.own_failed(BACK + 5)
    assert (relapsed.stage, relapsed.relapses) == (Stage.MODEM, 1)
    cut = relapsed.tick(BACK + 6, UP._replace(routed=False)).tick(BACK + 7, UP)
    assert not cut.due(BACK + 4 + HOLD)
    assert cut.due(BACK + 5 + HOLD)
    assert relapsed.tick(BACK + 6, WAITS).stage is Stage.DIALLING, "the link was lost meanwhile"


def test_the_return_is_proved_at_its_end() -> None:
    """By a message within the hold, or by a look at its end."""
    assert RETURNING.tick(BACK + HOLD - 1, UP) == RETURNING
    silent = RETURNING.tick(BACK + HOLD, UP)
    assert (silent.stage, silent.due(BACK + HOLD)) == (Stage.RETURNING, True)
    looked = silent.begin_look().looked(BACK + HOLD + 1, reached=True)
    assert looked.tick(BACK + HOLD + 2, UP).stage is Stage.OWN
    assert silent.begin_look().looked(BACK + HOLD + 1, reached=False).stage is Stage.MODEM


def test_a_modem_that_reaches_nothing_rests_longer_each_time() -> None:
    """5, 10, 20, 40, 60 minutes; then it is tried again, if the own network still fails."""
    now, value = 1000.0, MODEM
    for pause in (300.0, 600.0, 1200.0, 2400.0, 3600.0, 3600.0):
        value = value.modem_failed(now).modem_failed(now + 30)
        assert value.tick(now + TRIAL - 1, UP).stage is Stage.MODEM
        value, now = value.tick(now + TRIAL, UP), now + TRIAL
        assert (value.stage, value.keeps_link) == (Stage.RESTING, False)
        assert value.own_failed(now + 1).tick(now + pause - 1, UP).stage is Stage.RESTING
        now += pause
        value = value.tick(now, WAITS)
        assert value.stage is Stage.OWN
        value = value.tick(now, WAITS).begin_look().looked(now, reached=False).tick(now, UP)
        assert value.stage is Stage.MODEM
    assert value.modem_failed(now).modem_reached().tick(now + TRIAL, UP).stage is Stage.MODEM
    assert value.modem_reached().rests == 0
    assert rest(1) == 300


def test_a_look_does_not_return_from_a_modem_that_has_no_answers() -> None:
    """Neither network is better, so the modem is hung up, and its rests grow."""
    mute = MODEM._replace(failing_since=0.0, mute=True)
    resting = mute.begin_look().looked(BACK, reached=True, unanswered=True)
    assert (resting.stage, resting.rests, resting.mute) == (Stage.RESTING, 1, True)
    assert mute.begin_look().looked(BACK, reached=False, unanswered=True).stage is Stage.MODEM


def test_the_own_network_ends_a_rest() -> None:
    """Whatever the modem reaches then."""
    resting = MODEM.modem_failed(0.0).tick(TRIAL, UP)
    assert resting.own_reached(70.0).idle
    assert resting.own_reached(70.0).rests == 0


@pytest.mark.parametrize(
    ("endpoint", "kind", "says"),
    [
        (CLOUD, Kind.ACCEPTED, Lesson.REACHED),
        (CLOUD, Kind.REFUSED, Lesson.REACHED),
        (CLOUD, Kind.HELD, Lesson.REACHED),
        (CLOUD, Kind.UNREACHED, Lesson.FAILED),
        (CLOUD, Kind.UNANSWERED, Lesson.SILENT),
        (CLOUD_SMS, Kind.DOUBTFUL, Lesson.SILENT),
        (CLOUD_SMS, Kind.UNREACHED, Lesson.FAILED),
        (MODEM_SMS, Kind.UNREACHED, Lesson.NONE),
        (MODEM_ANSWERS, Kind.UNREACHED, Lesson.NONE),
        (MODEM_SMS, Kind.ACCEPTED, Lesson.NONE),
        (Endpoint(Channel.TCP, "plc", 502), Kind.UNREACHED, Lesson.DOUBTFUL),
        (Endpoint(Channel.TCP, "plc", 502), Kind.ACCEPTED, Lesson.NONE),
        (Endpoint(Channel.UDP, "plc", 502), Kind.UNREACHED, Lesson.DOUBTFUL),
    ],
)
def test_what_an_exchange_says_of_its_network(endpoint: Endpoint, kind: Kind, says: Lesson) -> None:
    """The cloud's answers are proof; another host may itself be down; the air is no network."""
    assert lesson(endpoint, kind) is says


@pytest.mark.parametrize("kind", [Kind.UNANSWERED, Kind.DOUBTFUL])
def test_a_code_that_asks_for_another_try_comes_from_the_cloud(kind: Kind) -> None:
    """Codes 1 and 6 are no silence."""
    assert lesson(CLOUD, kind, answered=True) is Lesson.REACHED
    assert lesson(CLOUD, kind) is Lesson.SILENT


_STEPS = st.one_of(
    st.tuples(st.sampled_from(["own_reached", "own_failed", "doubted", "modem_failed", "modem_reached"])),
    st.tuples(st.just("looked"), st.booleans()),
    st.tuples(st.just("tick"), st.booleans(), st.booleans(), st.booleans()),
)


def _next(value: Failover, now: float, step: tuple[Any, ...]) -> Failover:
    name, *given = step
    if name == "looked":
        return value.begin_look().looked(now, reached=given[0]) if value.due(now) else value
    if name == "tick":
        return value.tick(now, Seen(*given))
    return value.modem_reached() if name == "modem_reached" else getattr(value, name)(now)


@given(st.lists(st.tuples(st.floats(0.1, 200), _STEPS), max_size=60))
def test_messages_do_not_flap_between_the_networks(steps: list[tuple[float, tuple[Any, ...]]]) -> None:
    """Whatever happens: they come to the modem after `backup_after` of failures, or once in a hold."""
    value, now = OWN, 0.0
    arrivals: list[tuple[float, bool]] = []
    for pause, step in steps:
        now += pause
        before, value = value, _next(value, now, step)
        if value.over_modem and not before.over_modem:
            arrivals.append((now, before.stage is Stage.RETURNING))
            assert before.stage in (Stage.DIALLING, Stage.RETURNING)
        if before.stage is Stage.OWN and value.stage is Stage.DIALLING:
            assert before.failing_since is not None
            assert now - before.failing_since >= AFTER
    relapses = [at for at, relapse in arrivals if relapse]
    # The first return may come at once, with a route; each one after it a hold after the relapse.
    assert all(later - earlier >= HOLD for earlier, later in pairwise(relapses))
