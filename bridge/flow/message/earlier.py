"""The sessions of an earlier client id: what the broker holds for them is taken, and then they are ended.

Each is taken up as it is, before the session in use is connected. Once that one has its subscriptions the
earlier one gives its own up at once: nothing is missed between the two, and hardly anything comes by both.
What then still comes is finite, and goes the way of every other message. When nothing comes any more the
session is ended, as one that stays would collect for ever.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from bridge.core.delivery import Delivery
from bridge.core.reconnects import LASTED

log = logging.getLogger("mqtt")

QUIET = 5.0
"""Seconds without a message, with all of them acknowledged, after which the broker has no more."""

TRIES = 5
"""Connections under the earlier id that may fail, or end soon, while the one in use stands: the broker does
not want the id, or another client has it and takes it back each time."""

LOOK_EVERY = 0.02
"""Seconds between looks: until the subscriptions are given up each message comes by both sessions."""


class Source(Protocol):
    """What is needed of the earlier id's session."""

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge a delivery."""

    def leave(self, filters: Sequence[str]) -> None:
        """Give subscriptions up, now and in each later connection."""


class End(Enum):
    """How it went."""

    EMPTY = "nothing is left there"
    REFUSED = "the broker does not let us"


class Drain:
    """The handler of one earlier session, and the acknowledger of what comes by it."""

    def __init__(
        self,
        receive: "Callable[[Delivery, Drain], None]",
        now: Callable[[], float],
        in_use: Callable[[], bool],
    ) -> None:
        """``in_use`` says whether the session in use is connected; ``now`` returns monotonic seconds."""
        self._receive = receive
        self._now = now
        self._in_use = in_use
        self._present: bool | None = None
        """Whether the broker has the session; None while we are not connected."""
        self._pending: set[tuple[int, int]] = set()
        self._heard = self._since = now()
        self._failed = 0
        self.met = asyncio.Event()
        """The first try to connect has ended, well or not."""
        self.reason = ""
        self.taken = 0
        """Messages that were taken."""

    # -- from the session --------------------------------------------------------------------------------

    def mqtt_up(self, *, session_present: bool) -> None:
        """The broker takes us."""
        self._present = session_present
        self._heard = self._since = self._now()
        self.met.set()

    def mqtt_down(self, reason: str) -> None:
        """The connection is lost, or refused; only the latter while the other stands is about the id."""
        log.debug("earlier session: %s", reason)
        if self._present is not None and self._now() - self._since >= LASTED:
            self._failed = 0
        self._present, self.reason = None, reason
        self._pending.clear()
        self._failed += self._in_use()
        self.met.set()

    def mqtt_received(self, delivery: Delivery) -> None:
        """A message that waited."""
        self._heard = self._now()
        if delivery.qos:
            self._pending.add((delivery.epoch, delivery.mid))
        self._receive(delivery, self)

    def mqtt_published(self, _mid: int, _problem: str | None) -> None:
        """Nothing is published here."""

    # -- for intake --------------------------------------------------------------------------------------

    source: Source
    """Set by whoever makes the session, which takes this handler first."""

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge a delivery: what became of it is durable."""
        self._pending.discard((delivery.epoch, delivery.mid))
        self._heard = self._now()
        self.taken += 1
        self.source.ack(delivery)

    # -- for the owner -----------------------------------------------------------------------------------

    async def run(
        self, filters: Sequence[str], *, replaced: Callable[[], bool], taken_over: Callable[[], bool]
    ) -> End:
        """Wait until nothing is left, or the broker does not let us.

        ``replaced`` says whether the session in use has its subscriptions, so that ``filters`` may be left.
        ``taken_over`` says whether another client has the earlier id.
        """
        left = False
        while self._failed < TRIES and not taken_over():
            if self._present is False:
                return End.EMPTY
            if not left and self._present and replaced():
                left = True
                self._heard = self._now()
                self.source.leave(filters)
            if left and self._present and not self._pending and self._now() - self._heard >= QUIET:
                return End.EMPTY
            await asyncio.sleep(LOOK_EVERY)
        return End.REFUSED
