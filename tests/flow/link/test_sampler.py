"""Samples at regular intervals."""

import asyncio

from bridge.errors import LinkError
from bridge.flow.link.sampler import Sampler


def test_a_sample_that_fails_is_skipped() -> None:
    """The next one comes all the same; each is a step for the watchdog."""

    async def run() -> None:
        taken: list[bool] = []
        enough = asyncio.Event()

        async def sample() -> None:
            taken.append(sampler.progress()[0].busy)
            if len(taken) == 3:
                enough.set()
                await asyncio.Event().wait()
            raise LinkError("nobody knows")

        sampler = Sampler("wifi", sample, 0.0)
        assert not sampler.progress()[0].busy
        task = asyncio.create_task(sampler.run())
        waiting = asyncio.create_task(enough.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        assert waiting.done()
        assert taken == [True, True, True]
        (progress,) = sampler.progress()
        assert (progress.name, progress.steps, progress.busy) == ("wifi", 2, True)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
