"""Fixtures: the disk, and a machine that is off."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.box import recipe
from tests.box.machine import Machine

MakeMachine = Callable[..., Machine]


@pytest.fixture(scope="session")
def disk() -> recipe.Disk:
    """The disk all machines start from; built where the cache has none."""
    if why := recipe.missing():
        pytest.skip(f"no emulated machine here: {why}")
    try:
        return recipe.disk()
    except recipe.CannotBuild as error:
        pytest.skip(f"no emulated machine here: {error}")


@pytest.fixture(scope="module")
def machines(disk: recipe.Disk) -> Iterator[MakeMachine]:
    """Makes machines that are off: ``machines(name="far", ports=("modem",))``; ends them with the module."""
    made: list[Machine] = []
    with tempfile.TemporaryDirectory(prefix="box-") as folder:
        numbers = itertools.count()

        def make(**options: object) -> Machine:
            machine = Machine(disk, Path(folder) / str(next(numbers)), **options)  # type: ignore[arg-type] # as Machine's
            made.append(machine)
            return machine

        yield make
        for each in made:
            each.kill()


@pytest.fixture(scope="module")
def box(machines: MakeMachine) -> Machine:
    """A machine that runs, shared by the tests of a module."""
    machine = machines()
    machine.boot()
    return machine
