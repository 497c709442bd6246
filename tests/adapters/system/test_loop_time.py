"""The event loop's time: what was asked for comes, and what was taken back does not."""

import asyncio
import time

from bridge.adapters.system.loop_time import ASK_EVERY, LoopTime
from bridge.core.known_time import ClockFacts
from bridge.core.messages import Now


def test_calls_come_in_their_order() -> None:
    """Soon before later; a cancelled one never."""

    async def run() -> list[str]:
        clock, called = LoopTime(asyncio.get_running_loop()), list[str]()
        done = asyncio.Event()
        clock.call_later(0.02, done.set)
        clock.call_later(0.0, called.append, "cancelled").cancel()
        clock.call_later(0.01, called.append, "later")
        clock.call_soon(called.append, "soon")
        await done.wait()
        return called

    assert asyncio.run(run()) == ["soon", "later"]


def test_a_pause_is_seen_on_both_clocks() -> None:
    """Whoever sleeps finds that as much has passed by the clock that he decides by."""

    async def run() -> float:
        clock = LoopTime(asyncio.get_running_loop())
        before = clock.now()
        await clock.sleep(0.05)
        after = clock.now()
        assert abs(after.wall - time.time()) < 60
        return after.mono - before.mono

    assert asyncio.run(run()) >= 0.049


def test_the_time_is_asked_for_now_and_then_until_it_is_known() -> None:
    """A look costs some reads of the kernel's files; what is known once is known for good."""
    facts = [ClockFacts(synchronised=False, hardware=False, service=True)]
    asked = []

    def read() -> ClockFacts:
        asked.append(1)
        return facts[0]

    async def run() -> None:
        clock = LoopTime(asyncio.get_running_loop(), read)
        assert [clock.knows() for _ in range(10)] == [False] * 10
        assert len(asked) == 1
        facts[0] = facts[0]._replace(synchronised=True)
        box = Now(time.time(), 0.0)
        moment = clock.now().mono
        clock.now = lambda: Now(box.wall, moment + ASK_EVERY)
        assert clock.knows()
        facts[0] = facts[0]._replace(synchronised=False)
        clock.now = lambda: Now(0.0, moment + 10 * ASK_EVERY)
        assert clock.knows()
        assert len(asked) == 2

    asyncio.run(run())
