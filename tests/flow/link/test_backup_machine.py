"""The modem as the backup of the own network, whatever happens to both, to the bridge and to the box."""

import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.core.failover import LONGEST_REST
from bridge.core.retry import MAX_DELAY
from bridge.core.silence import VAIN
from tests.doubles.heart import UNREACHED, answered, silent
from tests.doubles.two_networks import AFTER, Box

pytestmark = pytest.mark.slow

CLOUDS = st.sampled_from([answered(), silent(), UNREACHED])
POISON = b"poison"
"""What the cloud never answers, by whichever network."""

AT_LAST = LONGEST_REST + VAIN + AFTER + 4 * MAX_DELAY
"""Seconds within which an alarm gets out by the modem, whatever was before."""


class Failovers(RuleBasedStateMachine):
    """A box on two networks; calls of the modem are noted, from one start of the bridge to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.box = Box(Path(self.folder.name) / "outbox.db")
        self.box.own_cloud.poison = self.box.cloud.poison = POISON
        self.number = 0
        self._note_calls()

    def _note_calls(self) -> None:
        self.calls: list[float] = []
        self.box.link.called = lambda: self.calls.append(self.box.time.now().mono)

    @rule(manner=CLOUDS)
    def own_network(self, manner: object) -> None:
        self.box.own_cloud.manner = manner  # type: ignore[assignment]  # an outcome

    @rule(manner=CLOUDS)
    def modem(self, manner: object) -> None:
        self.box.cloud.manner = manner  # type: ignore[assignment]  # an outcome

    @rule(routed=st.booleans())
    def route(self, *, routed: bool) -> None:
        self.box.routed = routed

    @rule(lane=st.integers(0, 3))
    def publish(self, lane: int) -> None:
        self.number += 1
        self.box.publish(f"out/{lane}", b"%d" % self.number)

    @rule()
    def publish_poison(self) -> None:
        self.box.publish("out/poison", POISON)

    @rule(seconds=st.sampled_from([1, 20, 130, 310, 1000, 4000]))
    def wait(self, seconds: int) -> None:
        self.box.wait(seconds, step=1.0 if seconds < 1000 else 5.0)

    @rule(booted=st.booleans())
    def kill(self, *, booted: bool) -> None:
        self.box = self.box.killed(booted=booted)
        self._note_calls()

    @invariant()
    def nothing_flaps(self) -> None:
        """Between two calls the own network had its time, or the modem its rest."""
        assert all(later - earlier >= AFTER for earlier, later in pairwise(self.calls))

    def teardown(self) -> None:
        """An alarm gets out while the own network swallows everything, and the modem works."""
        self.box.own_cloud.manner, self.box.cloud.manner = silent(), answered()
        self.box.publish("out/alarm", b"alarm")
        self.box.wait(AT_LAST, step=10.0)
        left = self.box.queued()
        results = [each["id"] for each in self.box.ended()]
        self.box.close()
        self.folder.cleanup()
        assert set(left) <= {POISON.decode()}
        assert len(results) == len(set(results)), "one result each"


TestFailovers = Failovers.TestCase
TestFailovers.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
