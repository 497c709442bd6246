"""Deadlines: one timer of a real loop for all exchanges."""

import asyncio
from collections.abc import Iterator

import pytest

from bridge.adapters.ip.deadlines import Deadlines


class Told:
    """Remembers when it was called back; in what order, the list that it shares does."""

    def __init__(self, loop: asyncio.AbstractEventLoop, order: list["Told"]) -> None:
        self.at: list[float] = []
        self._loop, self._order = loop, order

    def ring(self) -> None:
        self.at.append(self._loop.time())
        self._order.append(self)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


async def until_rung(told: Told) -> None:
    while not told.at:
        await asyncio.sleep(0.001)


def test_each_is_called_back_when_its_time_has_come(loop: asyncio.AbstractEventLoop) -> None:
    """Set in any order, not before its time, as long as it is set; what was cleared never is."""
    order: list[Told] = []
    first, second, last, gone = (Told(loop, order) for _ in range(4))
    deadlines, now = Deadlines(loop), loop.time()
    due = {second: now + 0.02, gone: now + 0.01, first: now + 0.01, last: now + 0.04}
    for told, at in due.items():
        deadlines.set(told.ring, at)
    assert deadlines.when(second.ring) == now + 0.02
    deadlines.clear(gone.ring)
    deadlines.clear(gone.ring)
    loop.run_until_complete(until_rung(second))
    for told in (first, second):
        deadlines.clear(told.ring)
    loop.run_until_complete(until_rung(last))
    assert [order.index(each) for each in (first, second, last)] == sorted(
        order.index(each) for each in (first, second, last)
    )
    assert all(told.at[0] >= due[told] for told in (first, second, last))
    assert gone.at == []


def test_another_time_takes_the_place_of_the_first(loop: asyncio.AbstractEventLoop) -> None:
    """An earlier one as well as a later one."""
    order: list[Told] = []
    hurried, put_off = Told(loop, order), Told(loop, order)
    deadlines, now = Deadlines(loop), loop.time()
    deadlines.set(hurried.ring, now + 600.0)
    deadlines.set(put_off.ring, now + 0.01)
    deadlines.set(put_off.ring, now + 0.03)
    deadlines.set(hurried.ring, now + 0.02)
    loop.run_until_complete(until_rung(put_off))
    assert order.index(hurried) < order.index(put_off)
    assert put_off.at[0] >= now + 0.03


def test_one_that_another_clears_meanwhile_is_not_called_back(loop: asyncio.AbstractEventLoop) -> None:
    """Both are due at once, and the first ends the second."""
    order: list[Told] = []
    told, last = Told(loop, order), Told(loop, order)
    deadlines, now = Deadlines(loop), loop.time()

    def end_it() -> None:
        deadlines.clear(end_it)
        deadlines.clear(told.ring)

    deadlines.set(end_it, now)
    deadlines.set(told.ring, now)
    deadlines.set(last.ring, now + 0.01)
    loop.run_until_complete(until_rung(last))
    assert told.at == []
