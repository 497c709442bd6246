"""Waiting for a condition that callbacks change."""

import asyncio
from functools import partial

import pytest

from bridge.flow.link.waiting import Waiters


async def turns() -> None:
    """Let every task go on."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_all_waiters_check_their_own_condition() -> None:
    """A notification wakes all; a task whose condition does not hold waits on."""

    async def run() -> None:
        waiters, held = Waiters(), set[str]()
        tasks = {
            name: asyncio.create_task(waiters.until(partial(held.__contains__, name), None)) for name in "ab"
        }
        await turns()
        held.add("a")
        await turns()
        assert not tasks["a"].done(), "nobody was notified"
        waiters.notify()
        await turns()
        assert (tasks["a"].done(), tasks["b"].done()) == (True, False)
        held.add("b")
        waiters.notify()
        assert await tasks["b"]

    asyncio.run(run())


def test_what_holds_already_is_not_waited_for() -> None:
    """It returns without a notification."""
    assert asyncio.run(Waiters().until(lambda: True, 0.0))


def test_a_wait_has_its_end() -> None:
    """It returns whether the condition holds then."""
    assert not asyncio.run(Waiters().until(lambda: False, 0.0))


def test_a_cancelled_waiter_is_gone() -> None:
    """A later notification does not meet it."""

    async def run() -> None:
        waiters = Waiters()
        task = asyncio.create_task(waiters.until(lambda: False, None))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        waiters.notify()

    asyncio.run(run())
