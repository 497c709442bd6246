"""The sessions of client ids that the configuration has replaced: connected, drained and ended.

It is imported only where there is one. `bridge.flow.message.earlier` defines when a session is drained.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from bridge.adapters.mqtt.broker import Broker
from bridge.adapters.mqtt.once import ask
from bridge.adapters.mqtt.session import Session
from bridge.adapters.system.threads import in_thread
from bridge.core.delivery import Delivery
from bridge.flow.health.client_id import ClientId, Earlier
from bridge.flow.message.earlier import Drain, End

log = logging.getLogger("mqtt")


class Way(NamedTuple):
    """The present session that replaces an earlier one, and the handler of the earlier one's messages."""

    session: Session
    suffix: str
    """Suffix of the session's client id."""
    receive: Callable[[Delivery, Drain], None]
    backpressure: Callable[[Callable[[], None]], bool] = lambda _: False


class EarlierSessions:
    """Ends the earlier sessions, all concurrently; lives in the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, broker: Broker, client_id: ClientId) -> None:
        self._loop = loop
        self._broker = broker
        self._client_id = client_id

    async def end(self, ways: Sequence[tuple[Earlier, Sequence[Way]]], on_met: Callable[[], None]) -> None:
        """Drain and end the sessions of each id; if one fails, the next start tries again.

        ``on_met`` is called once all are connected, or their first attempts have failed.
        """
        drains: list[Drain] = []
        works = []
        for earlier, each in ways:
            pairs = [(way, self._drain(way)) for way in each]
            drains += [drain for _, drain in pairs]
            works.append(self._end_id(earlier, pairs))
        await asyncio.gather(*works, _meet(drains, on_met))

    def _drain(self, way: Way) -> Drain:
        return Drain(way.receive, self._loop.time, lambda: way.session.connected)

    async def _end_id(self, earlier: Earlier, pairs: Sequence[tuple[Way, Drain]]) -> None:
        log.info('the client id is "%s" now: what waits for "%s" is fetched', self._client_id.id, earlier.id)
        if all(await asyncio.gather(*(self._end(earlier, *pair) for pair in pairs))):
            self._client_id.ended(earlier)

    async def _end(self, earlier: Earlier, way: Way, drain: Drain) -> bool:
        """Return whether the session is done with, so that no later start tries it again."""
        where = self._broker._replace(client_id=earlier.id + way.suffix)
        session = Session(self._loop, where, drain, subscriptions=(), backpressure=way.backpressure)
        drain.source = session
        task = self._loop.create_task(session.run())
        try:
            end = await drain.run(
                earlier.filters,
                replaced=lambda: way.session.subscribed,
                taken_over=lambda: session.reconnects.rivals > 0,
            )
        finally:
            session.disconnect()
            await asyncio.wait((task,), timeout=1)
            task.cancel()
        if end is End.REFUSED:
            log.warning('the session of "%s" is given up: %s', where.client_id, drain.reason)
            return True
        return await self._forget(where, drain.taken)

    async def _forget(self, where: Broker, taken: int) -> bool:
        answer = await in_thread(self._loop, partial(ask, where, None))
        if answer.problem:
            log.warning('the session of "%s" is not ended yet: %s', where.client_id, answer.problem)
            return False
        log.info('the session of "%s" is ended; %d messages came of it', where.client_id, taken)
        return True


async def _meet(drains: Sequence[Drain], on_met: Callable[[], None]) -> None:
    for drain in drains:
        await drain.met.wait()
    on_met()
