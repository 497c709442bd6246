"""The fleet's run in a short form: nothing that was answered 200 is lost, nothing is there twice."""

from pathlib import Path

import pytest

from tests.bench.fleet.__main__ import failed, told
from tests.bench.fleet.run import Plan, play
from tests.harness import Keeper
from tests.harness.nats import NEEDS_NATS

pytestmark = NEEDS_NATS


@pytest.mark.slow
def test_a_fleet_loses_and_doubles_nothing(keeper: Keeper, tmp_path: Path) -> None:
    """400 boxes, with nodes and collectors that are killed."""
    outcome = play(keeper, tmp_path, Plan(boxes=400, batches=2, readings=10, kills=6))
    print(told(outcome))
    assert failed(outcome) == []
