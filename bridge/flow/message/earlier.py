"""The session of an earlier client id.

The messages that the broker keeps for it are fetched, then it is ended.

The earlier session is resumed before the session in use connects. Once the session in use has its
subscriptions, the earlier one gives up its own: no message falls between the two, and hardly any comes by
both. The rest of the earlier session is finite, and takes the way of every other message. When no more comes
the session is ended, because the broker would collect messages for it for ever.
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
"""Seconds without a message, and with all of them acknowledged, after which the session is empty."""

TRIES = 5
"""Connections under the earlier id that may fail or end soon while the session in use is connected. After
that the broker refuses the id, or another client uses it."""

LOOK_EVERY = 0.02
"""Seconds between checks. They are short because each message comes by both sessions until the subscriptions
are given up."""


class Source(Protocol):
    """The part of the earlier id's session that `Drain` uses."""

    def ack(self, delivery: Delivery) -> None:
        """Send the acknowledgement of ``delivery``."""

    def leave(self, filters: Sequence[str]) -> None:
        """Give up subscriptions, now and in each later connection."""


class End(Enum):
    """The reason why a drain ended."""

    EMPTY = "nothing is left there"
    REFUSED = "the broker does not let us"


class Drain:
    """The handler of one earlier session, which also acknowledges its deliveries."""

    def __init__(
        self,
        receive: "Callable[[Delivery, Drain], None]",
        now: Callable[[], float],
        in_use: Callable[[], bool],
    ) -> None:
        """``in_use`` returns whether the session in use is connected; ``now`` returns monotonic seconds."""
        self._receive = receive
        self._now = now
        self._in_use = in_use
        self._present: bool | None = None
        """Whether the broker has the session; None while it is not connected."""
        self._pending: set[tuple[int, int]] = set()
        self._received_at = self._since = now()
        self._failed = 0
        self.met = asyncio.Event()
        """Set after the first attempt to connect, successful or not."""
        self.reason = ""
        self.taken = 0
        """Messages fetched and acknowledged."""

    # -- from the session --------------------------------------------------------------------------------

    def mqtt_up(self, *, session_present: bool) -> None:
        """Note a connection, and whether the broker has the session."""
        self._present = session_present
        self._received_at = self._since = self._now()
        self.met.set()

    def mqtt_down(self, reason: str) -> None:
        """Note a lost or failed connection.

        It counts against the id only while the session in use is connected.
        """
        log.debug("earlier session: %s", reason)
        if self._present is not None and self._now() - self._since >= LASTED:
            self._failed = 0
        self._present, self.reason = None, reason
        self._pending.clear()
        self._failed += self._in_use()
        self.met.set()

    def mqtt_received(self, delivery: Delivery) -> None:
        """Pass on a message of the session."""
        self._received_at = self._now()
        if delivery.qos:
            self._pending.add((delivery.epoch, delivery.mid))
        self._receive(delivery, self)

    def mqtt_published(self, _mid: int, _problem: str | None) -> None:
        """Ignore it: this session publishes nothing."""

    # -- for intake --------------------------------------------------------------------------------------

    source: Source
    """The session; set by its creator, because the session takes this handler at construction."""

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge a delivery whose outcome is durable."""
        self._pending.discard((delivery.epoch, delivery.mid))
        self._received_at = self._now()
        self.taken += 1
        self.source.ack(delivery)

    # -- for the owner -----------------------------------------------------------------------------------

    async def run(
        self, filters: Sequence[str], *, replaced: Callable[[], bool], taken_over: Callable[[], bool]
    ) -> End:
        """Wait until the session is empty or refused.

        ``replaced`` returns whether the session in use has its subscriptions, so that ``filters`` may be
        given up. ``taken_over`` returns whether another client uses the earlier id.
        """
        left = False
        while self._failed < TRIES and not taken_over():
            if self._present is False:
                return End.EMPTY
            if not left and self._present and replaced():
                left = True
                self._received_at = self._now()
                self.source.leave(filters)
            if left and self._present and not self._pending and self._now() - self._received_at >= QUIET:
                return End.EMPTY
            await asyncio.sleep(LOOK_EVERY)
        return End.REFUSED
