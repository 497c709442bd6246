"""Demand: whether messages in the outbox need the link."""

from collections.abc import Callable

from bridge.core.messages import CLOUD_SMS, Channel, Endpoint
from bridge.core.retry import MAX_DELAY
from bridge.store.outbox import Outbox


class Demand:
    """Decides whether an on-demand link may come up or be hung up; lives in the event loop's thread."""

    def __init__(self, outbox: Outbox, paused: Callable[[], bool], committing: Callable[[], bool]) -> None:
        """``paused`` says whether sending is paused, because a message that may not be sent needs no link.

        ``committing`` says whether a commit is in flight, because a read would then wait for the disk.
        """
        self._outbox = outbox
        self._paused = paused
        self._committing = committing
        self._needed_by_sms = False
        self._goes_soon = True
        """The last values read, used while the disk cannot be read."""

    def __call__(self) -> bool:
        """Whether a message waits that may be sent, within the budget too, and needs the link."""
        if self._paused():
            return False
        waiting = {
            channel
            for (channel, priority), (messages, _) in self._outbox.ledger.depth.items()
            if messages and self._outbox.held(_endpoint(channel), priority, over_sim=True) is None
        }
        if waiting - {Channel.SMS}:
            return self._soon()
        return Channel.SMS in waiting and self._sms_needs_link()

    def _soon(self) -> bool:
        """Whether a message may be sent soon: one that has cost much may wait for hours and needs no link."""
        if not self._committing():
            self._goes_soon = self._outbox.ready_within(MAX_DELAY)
        return self._goes_soon

    def _sms_needs_link(self) -> bool:
        """Whether an SMS needs the link; an SMS over the air needs only the modem."""
        if not self._committing():
            self._needed_by_sms = any(
                endpoint.channel is Channel.SMS and not endpoint.over_air
                for endpoint in self._outbox.endpoints()
            )
        return self._needed_by_sms


def _endpoint(channel: Channel) -> Endpoint:
    """Return a destination of ``channel`` that needs the link."""
    return CLOUD_SMS if channel is Channel.SMS else Endpoint(channel)
