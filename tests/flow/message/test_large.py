"""Large messages at the uplink, in time that the tests let go by."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.core.exchange import Job, Outcome
from bridge.core.messages import Traffic
from tests.flow.health.test_watchdog import HOURS, Rig

SIZE = 2_000_000
LARGE = b"x" * SIZE


class Swallowing:
    """A cloud that takes all of a large message, one way or the other; small ones it answers."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.jobs: list[tuple[float, Job]] = []
        self.answer = b""

    def start(self, job: Job, done: Callable[[Outcome], None]) -> None:
        self.jobs.append((self.rig.box.clock.mono, job))
        answer = self.answer if job.large else b"[0,0]"
        spent = Traffic(len(job.request) + 1000, 500)
        outcome = Outcome(True, True, bool(answer), answer, False, None if answer else "silence", spent)
        self.rig.time.call_later(60.0 if job.large else 0.1, done, outcome)

    def large(self) -> list[float]:
        """Return when a large one was begun, in monotonic seconds."""
        return [at for at, job in self.jobs if job.large]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    found = Rig(tmp_path / "o.db")
    yield found
    found.box.database.close()


@pytest.fixture
def cloud(rig: Rig) -> Swallowing:
    found = Swallowing(rig)
    rig.peer.start = found.start  # type: ignore[method-assign]  # the rig's own stand-in for the cloud
    return found


@pytest.mark.parametrize("answer", [b"", b"[1,0]", b"[3,0]"], ids=["none", "code 1", "code 3"])
def test_what_never_passes_goes_a_few_times_a_day(rig: Rig, cloud: Swallowing, answer: bytes) -> None:
    """In two days, with small messages beside it and links that come back each hour: at most seven times."""
    cloud.answer = answer
    rig.publish("large", LARGE)
    for _ in range(48):
        rig.time.pass_(3600.0)
        rig.publish("small")
        rig.uplink.link_back()
    rig.time.pass_(600.0)
    tries = cloud.large()
    assert 2 <= len(tries) <= 7
    assert rig.box.outbox.ledger.messages <= 1, "the small ones went meanwhile"
    assert tries[1] - tries[0] > 3600


def test_a_flush_tries_it_now(rig: Rig, cloud: Swallowing) -> None:
    """Who knows that it can go better says so."""
    rig.publish("large", LARGE)
    rig.time.pass_(600.0)
    assert len(cloud.large()) == 1
    cloud.answer = b"[0,0]"
    rig.uplink.flush()
    rig.time.pass_(120.0)
    assert len(cloud.large()) == 2
    assert rig.box.outbox.ledger.messages == 0


def test_of_large_ones_one_goes_at_a_time(rig: Rig, cloud: Swallowing) -> None:
    """The others wait for it; small ones do not."""
    cloud.answer = b"[0,0]"
    for number in range(3):
        rig.publish(f"large{number}", LARGE)
    rig.time.pass_(1.0)
    rig.publish("small")
    rig.time.pass_(1.0)
    assert [job.large for _, job in cloud.jobs] == [True, False]
    rig.time.pass_(200.0)
    assert len(cloud.large()) == 3
    assert rig.box.outbox.ledger.messages == 0


def test_a_long_upload_is_no_dead_link(rig: Rig) -> None:
    """A link is not made anew under a large message that is on its way, though nothing was answered yet."""
    rig.peer.manner = "away"
    rig.publish("large", LARGE)
    for _ in range(60):  # its tries come at random, and during one nothing is known
        rig.time.pass_(0.5)
        if rig.uplink.unreached_since() is not None:
            break
    assert rig.uplink.unreached_since() is not None
    rig.peer.manner = "hangs"
    rig.uplink.flush()
    rig.time.pass_(1800.0)
    assert rig.uplink.in_flight
    assert rig.uplink.unreached_since() is None
    assert rig.meals(60.0) == 2, "nor is the bridge stuck"


def test_the_watchdog_waits_as_long_as_a_large_one_may_take(rig: Rig) -> None:
    """Its limit follows from its size; beyond it the carrier is stuck."""
    rig.peer.manner = "hangs"
    rig.publish("large", LARGE)
    rig.time.pass_(2000.0)
    assert rig.stuck == []
    rig.time.pass_(HOURS)
    assert rig.stuck
