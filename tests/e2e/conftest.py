"""Fixtures of the tests of the whole bridge."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.systemd import Systemd


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    """A notify socket; its path has to be short."""
    with tempfile.TemporaryDirectory(prefix="notify-") as folder:
        found = Systemd(Path(folder))
        yield found
        found.close()
