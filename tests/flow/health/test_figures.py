"""The health's figures, and the state that sums them up."""

import pytest

from bridge.core.messages import Traffic
from bridge.flow.health.figures import Health
from bridge.store.outbox import Limits
from tests.doubles.heart import UNREACHED, Heart, answered
from tests.flow.conftest import MakeHeart
from tests.flow.health.conftest import Watch


def health_of(heart: Heart) -> Health:
    found = Health(heart.journal)
    found.sending = heart.uplink
    return found


def test_the_figures_tell_what_is_queued_and_what_ended(watch: Watch) -> None:
    """The queue is shown by channel and priority, the results by state; the age is the oldest message's."""
    heart = watch.heart
    heart.publish("out/a", b"12345")
    heart.cloud.end(answered())
    heart.turn()
    heart.publish("out/b", b"123", priority="high")
    heart.publish("sms/15551234567", b"12")
    heart.turn(60.0)
    found = watch.health.figures()
    queue = found["queue"]
    assert (queue["messages"], queue["bytes"], queue["under_way"], queue["paused"]) == (2, 5, 2, False)
    assert queue["by_channel"] == {
        "cloud": {"high": 1, "normal": 0, "low": 0},
        "sms": {"high": 0, "normal": 1, "low": 0},
    }
    assert queue["oldest_age"] == pytest.approx(60.2, abs=0.2)
    assert (found["results"]["delivered"], found["results"]["failed"]) == (1, 0)
    assert found["bytes"]["today"] == found["bytes"]["month"] == {"up": 466, "down": 252}
    assert found["reports"]["bytes"] > 0
    assert found["memory"] > 1_000_000
    assert found["uptime"] == pytest.approx(60.3, abs=0.3)


def test_an_empty_queue_has_its_channel_and_no_age(watch: Watch) -> None:
    """The template of a dashboard finds the keys that it reads."""
    queue = watch.health.queue()
    assert (queue["by_channel"], queue["oldest_age"]) == ({"cloud": {"high": 0, "normal": 0, "low": 0}}, None)


def test_destinations_tell_how_they_are_and_why(watch: Watch) -> None:
    """The cloud has no address, because the configuration decides it."""
    watch.heart.publish("out/a")
    watch.heart.cloud.end(UNREACHED)
    assert watch.health.figures()["destinations"] == [
        {"channel": "cloud", "to": None, "condition": "down", "reason": "Connection refused"}
    ]


def test_the_state_names_what_matters_most(make_heart: MakeHeart) -> None:
    """The states follow each other from the worst to the mildest."""
    heart = make_heart(limits=Limits(max_bytes=1000))
    health = health_of(heart)
    states = [health.figures()["state"]]
    heart.publish("out/a")
    heart.cloud.end(UNREACHED)
    states.append(health.figures()["state"])
    heart.publish("sms/15551234567", b"x")
    heart.sms.end(answered(b"30"))
    states.append(health.figures()["state"])
    heart.controls.pause(True)
    states.append(health.figures()["state"])
    heart.write(lambda: heart.outbox.reports.add("hologram/in", b"x" * 1000))
    states.append(health.figures()["state"])
    health.failed = True
    states.append(health.figures()["state"])
    assert states == ["ok", "degraded", "auth_failed", "paused", "reports_full", "failed"]


def test_the_last_error_stays(watch: Watch) -> None:
    """It has its part and its time. The inbound figures are empty without a listener."""
    assert watch.health.figures()["last_error"] is None
    watch.health.error("mqtt", "gone")
    watch.turn(100.0)
    error = watch.health.figures()["last_error"]
    assert (error["component"], error["description"]) == ("mqtt", "gone")
    assert error["at"] < watch.health.figures()["at"]
    assert watch.health.figures()["inbound"] == {}


def test_an_outbox_that_nobody_sends_from_has_its_figures(make_heart: MakeHeart) -> None:
    """The bridge may not be running."""
    heart = make_heart()
    heart.publish("out/a")
    heart.write(lambda: heart.outbox.ledger.spend(Traffic(1, 2)))
    found = Health(heart.journal).figures()
    assert (found["state"], found["queue"]["messages"], found["queue"]["under_way"]) == ("ok", 1, 0)
    assert found["destinations"] == []


def test_what_is_no_unicode_is_escaped(watch: Watch) -> None:
    """A reason may hold a lone surrogate, from a path."""
    watch.health.error("store", "\ud800")
    assert b"\\ud800" in watch.health.payload()
