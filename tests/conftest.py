"""Fixtures: a keeper of processes, a broker, a cloud, a bridge between them, and a client that listens."""

import gc
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto

hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")
# A machine that others use too says nothing by the time of one example.

# A shell that runs the tests in the background has SIGINT ignored, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

_KEEPER = pytest.StashKey[Keeper]()


def pytest_collection_finish() -> None:
    """Leave what was collected, thousands of tests, out of each garbage collection from now on."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def keeper(request: pytest.FixtureRequest) -> Iterator[Keeper]:
    """Ends what the test starts."""
    keeper = Keeper()
    request.node.stash[_KEEPER] = keeper
    yield keeper
    keeper.close()


@pytest.fixture
def mosquitto(keeper: Keeper, tmp_path: Path) -> Mosquitto:
    """A broker that runs, with Debian's stock settings but one: it drops nothing of a burst.

    Stock, it lets go without a word what exceeds 1,000 messages for one client.
    """
    broker = Mosquitto(keeper, tmp_path / "mosquitto", lines=("max_queued_messages 0",))
    broker.start()
    return broker


@pytest.fixture
def cloud(keeper: Keeper, tmp_path: Path) -> Cloud:
    """A simulated cloud that is down until it is started."""
    return Cloud(keeper, tmp_path / "cloud")


@pytest.fixture
def bridge(keeper: Keeper, tmp_path: Path, mosquitto: Mosquitto, cloud: Cloud) -> BridgeProcess:
    """A bridge between the two, not started yet."""
    return BridgeProcess(keeper, tmp_path / "bridge", mosquitto, cloud.port)


@pytest.fixture
def client(keeper: Keeper, mosquitto: Mosquitto) -> Client:
    """A client that hears everything the bridge says."""
    client = Client(mosquitto.port, "hologram/#", "reply/#").connect()
    keeper.finally_(client.close)
    return client


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Show what the processes said when a test fails."""
    report = yield
    keeper = item.stash.get(_KEEPER, None)
    if report.failed and keeper:
        report.sections += keeper.tails()
    return report


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Have no test that runs a command in this process decide what the next one finds in the log."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
