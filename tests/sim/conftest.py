"""Simulated modems for tests."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sim.local_modem import LocalModem, local_modem

MakeModem = Callable[..., LocalModem]


@pytest.fixture
def make_modem(tmp_path: Path) -> Iterator[MakeModem]:
    """Start a modem of a profile with the options of `local_modem`; it ends with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda profile, **options: stack.enter_context(
            local_modem(tmp_path / profile, profile, **options)
        )
