"""The heartbeat: when it comes, which way it takes, and that no link is dialled for it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.core.batching import Batching
from bridge.core.messages import CLOUD, Priority
from bridge.core.routing import Route
from bridge.flow.health.heartbeat import Heartbeat
from bridge.flow.health.summary import Summary
from bridge.flow.link.demand import Demand
from tests.doubles.heart import Heart, Link, answered
from tests.doubles.time import Clock

HOUR = 3600.0
SUMMARY = Summary("ok", "connected", -79, 0, None, 1234, "1.4.0")
BATCHED = ("#", Route(CLOUD, Priority.HIGH, match="#", batching=Batching(HOUR, 200, 4000, "batch", False)))


def beating(heart: Heart, every: float | None = HOUR) -> Heartbeat:
    heartbeat = Heartbeat(heart.journal, heart.intake, "hologram", lambda: SUMMARY)
    heartbeat.apply(every, "heartbeat")
    return heartbeat


@pytest.fixture
def heart(tmp_path: Path) -> Iterator[Heart]:
    with Heart(tmp_path / "outbox.db") as heart:
        heart.cloud.manner = answered()
        yield heart


def test_it_is_a_message_of_low_priority_on_its_topic(heart: Heart) -> None:
    """Compact JSON, soon after the start and from then on at its interval."""
    beating(heart)
    heart.turn(29)
    assert heart.ended() == []
    heart.turn(2)
    (result,) = heart.ended()
    assert (result["state"], result["topics"]) == ("delivered", ["heartbeat"])
    (job,) = heart.cloud.jobs
    sent = json.loads(job.request.split(b"\n")[0].rstrip(b"\x00"))
    assert json.loads(sent["d"]) == {
        "state": "ok",
        "link": "connected",
        "signal": -79,
        "queue": 0,
        "oldest": None,
        "month": 1234,
        "version": "1.4.0",
    }
    heart.turn(HOUR - 5)
    assert len(heart.cloud.jobs) == 1
    heart.turn(10)
    assert len(heart.cloud.jobs) == 2


def test_a_restart_sends_none_before_its_time(tmp_path: Path) -> None:
    """A box that restarts all day says no more than one that does not."""
    clock = Clock()
    for minute in range(4):
        with Heart(tmp_path / "outbox.db", clock=clock) as heart:
            heart.cloud.manner = answered()
            heartbeat = beating(heart)
            heart.turn(20 * 60)
            assert len(heart.cloud.jobs) == (minute in (0, 3))
            heartbeat.stop()


def test_a_clock_that_went_back_delays_it_by_its_interval_at_most(tmp_path: Path) -> None:
    """A box without a battery-backed clock does not fall silent for years."""
    clock = Clock()
    with Heart(tmp_path / "outbox.db", clock=clock) as heart:
        beating(heart)
        heart.turn(60)
    clock.step(-40_000_000)
    with Heart(tmp_path / "outbox.db", clock=clock) as heart:
        heart.cloud.manner = answered()
        beating(heart)
        heart.turn(HOUR + 5)
        assert len(heart.cloud.jobs) == 2  # that of before, which still waited, and this one


def test_null_and_another_interval_count_at_once(heart: Heart) -> None:
    """As a reload changes them."""
    heartbeat = beating(heart)
    heartbeat.apply(None, "heartbeat")
    heart.turn(2 * HOUR)
    assert heart.cloud.jobs == []
    heartbeat.apply(10.0, "beat")
    heart.turn(35)
    assert [each["topics"] for each in heart.ended()] == [["beat"]] * 3


def test_pause_and_a_closed_path_hold_it(heart: Heart) -> None:
    """As any message."""
    heart.command("queue/set", b"pause")
    beating(heart)
    heart.turn(60)
    assert len(heart.queued()) == 1
    heart.command("queue/set", b"resume")
    assert heart.queued() == []


@pytest.mark.parametrize("batched", [False, True])
def test_no_link_is_dialled_for_it(tmp_path: Path, batched: bool) -> None:
    """Alone in its lane or its batch, due or not; for another message beside it one is."""
    with Heart(tmp_path / "outbox.db", routes=[BATCHED] if batched else []) as heart:
        demand = Demand(heart.outbox, lambda: False, lambda: False)
        heart.paths.link = Link(carries=False)
        beating(heart)
        heart.turn(35)
        assert len(heart.queued()) == 1
        assert not demand()
        heart.turn(2 * HOUR)
        assert not demand()
        heart.publish("out/reading", priority="low")
        assert demand()
