"""Faults to order, as text and by request number."""

import pytest

from bridge.errors import UsageError
from bridge.sim.faults import NAMES, Fault, fault_at, parse_fault, parse_faults


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_can_be_ordered(name: str) -> None:
    """NAME:N gives the fault at every N-th request."""
    assert parse_fault(f"{name}:7") == Fault(name, 7)


@pytest.mark.parametrize(
    "text", ["", "close", "close:", "close:0", "close:-1", "close:x", "close:1.5", "close:²"]
)
def test_a_wrong_number_is_one_clear_line(text: str) -> None:
    """An N that is no whole number from 1 on is refused in one line that shows the form."""
    with pytest.raises(UsageError, match=r"--fault: .*NAME:N") as caught:
        parse_fault(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["explode:3", "code0:3", "code9:3", "CLOSE:3"])
def test_an_unknown_name_lists_those_there_are(text: str) -> None:
    """An unknown fault is refused with the names that are allowed."""
    with pytest.raises(UsageError) as caught:
        parse_fault(text)
    assert all(name in str(caught.value) for name in NAMES)


def test_the_first_ordered_wins() -> None:
    """Where several faults meet at one request, the first in the order given hits it."""
    faults = parse_faults(["close:4", "split:2", "code6:3"])
    hits = [fault_at(faults, number) for number in range(1, 13)]
    assert hits == [
        None, "split", "code6", "close", None, "split", None, "close", "code6", "split", None, "close",
    ]  # fmt: skip


def test_batches_can_be_refused_alone() -> None:
    """Requests with another topic, or more, are answered as they deserve."""
    faults = parse_faults(["nobatch:1"])
    assert fault_at(faults, 1, ("batch",)) == "nobatch"
    assert fault_at(faults, 2, ("batch", "more")) is None
    assert fault_at(faults, 3, ("sensors",)) is None
