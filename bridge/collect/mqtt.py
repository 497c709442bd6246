"""The sink that is an MQTT broker: the bridge's MQTT session, used to publish only."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence

from bridge.adapters.mqtt.broker import Broker
from bridge.adapters.mqtt.session import Session
from bridge.collect.messages import Message, Unavailable
from bridge.collect.outage import Outage
from bridge.collect.seen import Batch, Seen
from bridge.core.delivery import Delivery, Properties
from bridge.errors import Unpublishable

log = logging.getLogger("collect")

WAIT = 8.0
"""Seconds for the broker to acknowledge a request's messages."""

LONGEST_DELAY = 3.0
"""Seconds between tries to connect at most."""

STALLED = 20.0
"""Seconds without any acknowledgement after which a connection is given up."""

MOST_WAITING = 20_000
"""Messages that wait for the broker at most; beyond it requests are refused at once."""


class _Publication:
    """A message, and whether the broker has acknowledged it."""

    __slots__ = ("acknowledged", "message")

    def __init__(self, message: Message, acknowledged: "asyncio.Future[None]") -> None:
        self.message = message
        self.acknowledged = acknowledged


class MqttSink:
    """Publishes at QoS 1, and drops repeats of batches that it has published itself.

    A repeat that comes while the broker has not acknowledged the first yet shares its acknowledgement.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, broker: Broker, prefix: str) -> None:
        self._loop = loop
        self._where = f"{broker.host}:{broker.port}"
        self._prefix = prefix
        self._session = Session(loop, broker, self, subscriptions=(), longest_delay=LONGEST_DELAY)
        self._seen = Seen()
        self._queue: deque[_Publication] = deque()
        """Publications that are not sent yet, in order."""
        self._sent: dict[int, _Publication] = {}
        """By the packet id."""
        self._shared: dict[tuple[Batch, int], _Publication] = {}
        """Publications of batches that are not acknowledged yet."""
        self._answered = loop.time()
        """Time of the loop, in seconds, of the last acknowledgement or of the connection."""
        self._outage = Outage("not connected to the broker yet")

    async def run(self) -> None:
        """Keep the session until `close`."""
        await self._session.run()

    def close(self) -> None:
        """End the session."""
        self._session.disconnect()

    @property
    def problem(self) -> str | None:
        """Why nothing can be published now, as in `Sink`."""
        return self._outage.problem

    async def publish(self, messages: Sequence[Message]) -> int:
        """Publish all at QoS 1, as in `Sink`."""
        if self._outage.problem is not None:
            raise Unavailable(self._outage.problem)
        if len(self._queue) + len(messages) > MOST_WAITING:
            raise Unavailable(f"{len(self._queue)} messages wait for the broker already")
        now = self._loop.time()
        wanted = [message for message in messages if not self._is_seen(message, now)]
        new = sum(_key(message) not in self._shared for message in wanted)
        publications = [self._publication(message) for message in wanted]
        self._pump()
        await self._acknowledged(publications)
        return len(messages) - new

    def _is_seen(self, message: Message, now: float) -> bool:
        return message.batch is not None and self._seen.holds(
            (message.device, message.batch), message.number, now
        )

    def _publication(self, message: Message) -> _Publication:
        """Return the publication of a message, the one that is on its way already where there is one."""
        key = _key(message)
        if key in self._shared:
            return self._shared[key]
        publication = _Publication(message, self._loop.create_future())
        self._queue.append(publication)
        if key:
            self._shared[key] = publication
        return publication

    async def _acknowledged(self, publications: Sequence[_Publication]) -> None:
        """Wait until all are acknowledged; raises `Unavailable`."""
        if not publications:
            return
        futures = [each.acknowledged for each in publications]
        _, late = await asyncio.wait(futures, timeout=WAIT)
        if late:
            text = f"the broker at {self._where} has not acknowledged within {WAIT:g} s"
            self._give_up(publications, text)
            raise Unavailable(text)
        problems = [error for each in futures if (error := each.exception())]
        if problems:
            raise Unavailable(str(problems[0]))

    def _give_up(self, publications: Iterable[_Publication], reason: str) -> None:
        """Drop what is not sent yet; what is sent may still be acknowledged, and is remembered then."""
        given = {id(each) for each in publications}
        unsent, self._queue = self._queue, deque(each for each in self._queue if id(each) not in given)
        for each in unsent:
            if id(each) in given:
                self._fail(each, reason)
        if self._sent and self._loop.time() - self._answered > STALLED:
            self._session.reconnect(f"the broker at {self._where} acknowledges nothing")

    def _pump(self) -> None:
        """Send as many as the broker takes unacknowledged."""
        while self._queue and len(self._sent) < self._session.window:
            publication = self._queue[0]
            try:
                mid = self._send(publication.message)
            except Unpublishable as problem:
                self._fail(self._queue.popleft(), str(problem))
                continue
            if mid is None:
                return  # the connection has just ended, and `mqtt_down` comes
            self._queue.popleft()
            self._sent[mid] = publication

    def _send(self, message: Message) -> int | None:
        topic = f"{self._prefix}/{message.device}/{message.topics[0]}"
        return self._session.publish(topic, message.payload, properties=Properties(user=message.properties))

    def _fail(self, publication: _Publication, reason: str) -> None:
        self._end(publication)
        if not publication.acknowledged.done():
            publication.acknowledged.set_exception(Unavailable(reason))
            publication.acknowledged.exception()  # nobody may wait for it any more

    def _end(self, publication: _Publication) -> None:
        if key := _key(publication.message):
            self._shared.pop(key, None)

    # -- the session's notifications ---------------------------------------------------------------------

    def mqtt_up(self, *, session_present: bool) -> None:  # noqa: ARG002 nothing is kept between connections
        """Learn that messages can be published."""
        self._outage.end()
        self._answered = self._loop.time()
        log.info("connected to the broker at %s", self._where)

    def mqtt_down(self, reason: str) -> None:
        """Fail all that is not acknowledged: the senders repeat it."""
        self._outage.say(reason)
        lost = [*self._sent.values(), *self._queue]
        self._sent.clear()
        self._queue.clear()
        for each in lost:
            self._fail(each, reason)

    def mqtt_received(self, delivery: Delivery) -> None:
        """Ignore a message: nothing is subscribed to."""

    def mqtt_published(self, mid: int, problem: str | None) -> None:
        """Pass an acknowledgement or a refusal to the requests that wait for it."""
        self._answered = self._loop.time()
        publication = self._sent.pop(mid, None)
        if publication is None:
            return
        if problem is not None:
            topic = f"{self._prefix}/{publication.message.device}/{publication.message.topics[0]}"
            self._fail(publication, f"the broker refuses {topic}: {problem}; check its access list")
        else:
            self._acknowledge(publication)
        self._pump()

    def _acknowledge(self, publication: _Publication) -> None:
        self._end(publication)
        if key := _key(publication.message):
            self._seen.add(*key, self._loop.time())
        if not publication.acknowledged.done():
            publication.acknowledged.set_result(None)


def _key(message: Message) -> tuple[Batch, int] | None:
    """Return what a message is known by in each repeat; None for one that came alone."""
    return None if message.batch is None else ((message.device, message.batch), message.number)
