"""What the SDK's tests share: a cloud in this process, the SDK's clouds, and scripts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.sdk import CustomCloud, HologramCloud
from tests.harness import Keeper
from tests.sdk.scripts import Scripts
from tests.sim.harness import Running, running


@pytest.fixture
def sim() -> Iterator[Running]:
    """A simulated cloud that knows the documents' credentials."""
    with running(cloud_keys=("1d3g", "5a7b"), totp=("8944500000000000001", "234500000000001")) as cloud:
        yield cloud


Make = Callable[..., Any]


@pytest.fixture
def hologram(tmp_path: Path) -> Iterator[Make]:
    """Makes a `HologramCloud` for a port of this machine; it is closed when the test ends."""
    made: list[HologramCloud] = []

    def make(port: int, credentials: object = None, **options: Any) -> HologramCloud:
        options = {"enable_inbound": False, "outbox": tmp_path / "outbox.db", **options}
        cloud = HologramCloud({"devicekey": "abcd1234"} if credentials is None else credentials, **options)
        cloud.send_host, cloud.send_port = "127.0.0.1", port
        made.append(cloud)
        return cloud

    yield make
    for cloud in made:
        cloud.close()


@pytest.fixture
def custom(tmp_path: Path) -> Iterator[Make]:
    """Makes a `CustomCloud`; it is closed when the test ends."""
    made: list[CustomCloud] = []

    def make(**options: Any) -> CustomCloud:
        cloud = CustomCloud(None, **{"outbox": tmp_path / "custom.db", **options})
        made.append(cloud)
        return cloud

    yield make
    for cloud in made:
        cloud.close()


@pytest.fixture
def scripts(keeper: Keeper, tmp_path: Path) -> Scripts:
    """Runs scripts, each a process of its own."""
    return Scripts(keeper, tmp_path / "scripts")
