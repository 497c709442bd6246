"""The event loop's time: what was asked for comes, and what was taken back does not."""

import asyncio
import time

from bridge.adapters.system.loop_time import LoopTime


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
