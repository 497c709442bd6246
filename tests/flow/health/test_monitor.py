"""The monitor: reports of the parts become events, health and log lines."""

import json
import logging
from typing import Any

import pytest

from bridge.core.destination import Destination
from bridge.core.messages import CLOUD
from bridge.core.reconnects import ALONE
from bridge.core.retry import Kind
from bridge.flow.health.monitor import (
    BOTH_BACK,
    DATA_FILTERS,
    FULL_SAID_EVERY,
    HEALTH_EVERY,
    HEALTH_IDLE,
    SETTLED,
)
from tests.doubles.heart import Link, answered
from tests.flow.health.conftest import Watch

WHOSE = "box at 127.0.0.1:1883"


def health(watch: Watch) -> dict[str, Any]:
    """Return the health as the broker has it."""
    found: dict[str, Any] = json.loads(watch.broker.retained["hologram/bridge/health"])
    return found


def events(watch: Watch) -> list[str]:
    return [json.loads(each)["event_type"] for each in watch.broker.events]


# -- the broker ------------------------------------------------------------------------------------------


def test_online_is_told_with_the_connection(watch: Watch) -> None:
    """The health at that time is published too."""
    watch.monitor.online(session_present=False, whose=WHOSE)
    watch.turn()
    assert watch.broker.retained["hologram/bridge/state"] == b"online"
    assert health(watch)["broker"]["connected"] is True
    assert health(watch)["sessions_lost"] == 0


def test_a_session_that_the_broker_lost_is_said(watch: Watch) -> None:
    """The broker tells nobody. The session gets a new number, so that its packet identifiers count as new."""
    watch.monitor.online(session_present=False, whose=WHOSE)
    watch.monitor.online(session_present=True, whose=WHOSE)
    assert (watch.monitor.session.number, watch.health.sessions_lost) == (1, 0)
    watch.monitor.online(session_present=False, whose=WHOSE)
    watch.turn()
    assert (watch.monitor.session.number, health(watch)["sessions_lost"]) == (2, 1)
    assert "lost our session" in health(watch)["last_error"]["description"]


def test_a_new_session_elsewhere_is_no_loss(watch: Watch) -> None:
    """The client id or the broker is another one."""
    watch.monitor.online(session_present=False, whose=WHOSE)
    watch.monitor.online(session_present=False, whose="box at 127.0.0.2:1883")
    assert (watch.monitor.session.number, watch.health.sessions_lost) == (2, 0)


def test_a_broker_that_is_away_is_said_once(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once until the broker is back, however often it is tried."""
    caplog.set_level(logging.INFO, "bridge")
    for _ in range(100):
        watch.monitor.offline("Connection refused")
    assert [record.message for record in caplog.records] == ["Connection refused"]
    assert watch.health.figures()["broker"]["reason"] == "Connection refused"


def test_commands_that_do_not_arrive_are_said(watch: Watch) -> None:
    """Their session alone is down."""
    watch.monitor.online(session_present=True, whose=WHOSE)
    watch.monitor.control_online()
    watch.monitor.control_offline("cut")
    watch.turn(BOTH_BACK + 0.1)
    assert "no command about the bridge arrives" in watch.health.figures()["last_error"]["description"]


def test_a_broker_that_goes_down_is_not_said_twice(watch: Watch) -> None:
    """It ends both sessions, and the session for messages may be back first."""
    watch.monitor.online(session_present=True, whose=WHOSE)
    watch.monitor.control_online()
    watch.heart.turn(ALONE)
    watch.monitor.control_offline("cut")
    watch.monitor.offline("cut")
    watch.monitor.online(session_present=True, whose=WHOSE)
    watch.turn(BOTH_BACK / 2)
    watch.monitor.control_online()
    watch.turn(BOTH_BACK)
    assert watch.health.figures()["last_error"]["description"] == "cut"


def test_subscriptions_of_an_earlier_configuration_are_known(watch: Watch) -> None:
    """The session gives them up after a change of the configuration."""
    assert watch.monitor.stale_filters(DATA_FILTERS, ["a"]) == []
    watch.monitor.remember_filters(DATA_FILTERS, ["a", "b"])
    watch.heart.turn()
    assert watch.monitor.stale_filters(DATA_FILTERS, ["b", "c"]) == ["a"]


# -- the disk and the destinations -----------------------------------------------------------------------


def test_a_full_disk_is_said_with_what_it_needs(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """The event and the health say so, and the log repeats it while it lasts; the end is an event too."""
    caplog.set_level(logging.WARNING, "bridge")
    watch.heart.writer.full = True
    watch.monitor.store_full(True, "/box.db", lambda: "16 bytes have to be free, and 3 are")
    watch.turn(2 * FULL_SAID_EVERY)
    assert (health(watch)["state"], events(watch)) == ("store_full", ["store.full"])
    assert len(caplog.records) == 3
    assert all("3 are" in record.message for record in caplog.records)
    watch.heart.writer.full = False
    watch.monitor.store_full(False, "/box.db", str)
    watch.turn(FULL_SAID_EVERY)
    assert events(watch) == ["store.full", "store.recovered"]
    assert len(caplog.records) == 4


def test_refused_credentials_are_an_event(watch: Watch) -> None:
    """A destination that is down is only in the health."""
    down, held = Destination(4), Destination(4)
    down.learn(Kind.UNREACHED, 1, 0.0, "Connection refused")
    held.learn(Kind.HELD, 1, 0.0, "ERR_AUTHINVALID")
    watch.monitor.condition_changed(CLOUD, down)
    assert events(watch) == []
    watch.monitor.condition_changed(CLOUD, held)
    assert events(watch) == ["cloud.auth_failed"]
    assert watch.health.figures()["last_error"]["description"] == "the cloud: ERR_AUTHINVALID"


def test_the_health_is_right_a_moment_after_a_change(watch: Watch) -> None:
    """The result is recorded by then."""
    watch.monitor.online(session_present=True, whose=WHOSE)
    watch.turn()
    watch.heart.publish("out/a")
    watch.monitor.condition_changed(CLOUD, watch.heart.uplink.conditions[CLOUD])
    watch.heart.cloud.end(answered())
    watch.turn(SETTLED + 0.1)
    assert health(watch)["results"]["delivered"] == 1


# -- what else is told -----------------------------------------------------------------------------------


def test_a_problem_is_in_the_health_at_once(watch: Watch) -> None:
    """It names the part."""
    watch.monitor.problem("sms", "the modem deletes no SMS")
    watch.turn()
    assert health(watch)["last_error"]["component"] == "sms"


def test_the_last_health_says_why_the_bridge_ends(watch: Watch) -> None:
    """It is published before the connection ends."""
    watch.monitor.failed("store", "the disk failed")
    assert (health(watch)["state"], health(watch)["last_error"]["description"]) == (
        "failed",
        "the disk failed",
    )


def test_the_health_comes_by_itself(watch: Watch) -> None:
    """A minute after a figure changed; if only times and the memory did, it takes a quarter of an hour."""
    watch.monitor.start()
    watch.turn()
    first = health(watch)["uptime"]
    watch.turn(2 * HEALTH_EVERY)
    assert health(watch)["uptime"] == first
    watch.heart.publish("out/a")
    watch.turn(HEALTH_EVERY)
    second = health(watch)["uptime"]
    assert second >= first + 2 * HEALTH_EVERY
    watch.turn(HEALTH_IDLE - HEALTH_EVERY)
    assert health(watch)["uptime"] == second
    watch.turn(HEALTH_EVERY)
    assert health(watch)["uptime"] >= second + HEALTH_IDLE


def test_a_step_of_the_clock_lets_refused_credentials_be_tried(watch: Watch) -> None:
    """A code that depends on the time may be right now."""
    watch.heart.publish("out/a")
    watch.heart.cloud.end(answered(b"[3,0]"))
    watch.monitor.start()
    watch.turn(60.0)
    assert len(watch.heart.cloud.jobs) == 1
    watch.heart.time.clock.step(3600.0)
    watch.turn(60.0)
    assert len(watch.heart.cloud.jobs) == 2


def test_notices_reach_the_broker(watch: Watch) -> None:
    """Events are published at once, and reports from the outbox."""
    watch.monitor.event("message.queued", id="7")
    watch.heart.write(lambda: watch.heart.outbox.reports.add("hologram/in", b"inbound"))
    watch.monitor.reports_ready()
    watch.turn()
    assert json.loads(watch.broker.events[0])["id"] == "7"
    assert watch.broker.payloads == [b"inbound"]


def test_a_link_that_came_up_has_what_waited_tried(watch: Watch) -> None:
    """The message that waited for the link is sent."""
    link = watch.heart.paths.link = Link(carries=False)
    watch.heart.publish("out/a")
    link.carries = True
    watch.monitor.link_up()
    watch.turn()
    assert len(watch.heart.cloud.jobs) == 1
