"""Fixtures of the flow's tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.doubles.heart import Heart
from tests.store.conftest import box

__all__ = ["box"]

MakeHeart = Callable[..., Heart]


@pytest.fixture
def make_heart(tmp_path: Path) -> Iterator[MakeHeart]:
    """Returns a maker of flows on one store; the one before is closed first, as a restart does."""
    with ExitStack() as made:

        def make(**options: object) -> Heart:
            made.close()
            return made.enter_context(Heart(tmp_path / "outbox.db", **options))  # type: ignore[arg-type]  # by name

        yield make


@pytest.fixture
def heart(make_heart: MakeHeart) -> Heart:
    """A flow with the default limits."""
    return make_heart()
