"""Fixtures of the health's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.flow.health.monitor import Monitor
from bridge.flow.message.publisher import Publisher
from tests.doubles.heart import Heart
from tests.doubles.publishing import Broker


class Watch:
    """A monitor over the flow of messages, and the broker that it publishes to."""

    def __init__(self, path: Path) -> None:
        self.heart = Heart(path)
        self.broker = Broker(64, lambda _: True)
        self.publisher = self.broker.publisher = Publisher(self.heart.journal, self.heart.names)
        self.monitor = Monitor(self.heart.journal, self.publisher)
        self.monitor.attach(self.heart.uplink)
        self.health = self.monitor.health
        self.publisher.attach(self.broker)

    def turn(self, seconds: float = 0.1) -> None:
        """Let time go by, and the broker acknowledge."""
        self.heart.turn(seconds)
        self.broker.turn()
        self.heart.turn(0.0)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """A bridge without a connection to its broker yet."""
    found = Watch(tmp_path / "outbox.db")
    yield found
    found.heart.close()
