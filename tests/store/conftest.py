"""Fixtures of the store's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.box import Box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """An empty outbox on a real file."""
    found = Box(tmp_path / "outbox.db")
    yield found
    found.database.close()
