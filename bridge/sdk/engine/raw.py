"""The exchange with a host of one's own: the bytes as they are, and whatever it answers.

The SDK reads until the peer closes, is silent for the timeout, or has said 1024 bytes, and all of that is a
success [hologram-python 0.10, ``CustomCloud``]. Here a connection that breaks is none, nor is a message that
the host has not acknowledged to its last byte.
"""

from bridge.core.exchange import Job, Outcome, whole_limit
from bridge.core.messages import Queued
from bridge.core.retry import Kind, Reading

MAX_RECEIVE_BYTES = 1024
"""Bytes of an answer that are waited for [hologram-python 0.10]."""

_BROKE = "the connection broke"


class RawCodec:
    """Speaks to a host of one's own."""

    at_most_once = False

    def __init__(self, timeout: float) -> None:
        """``timeout`` is the silence in seconds that ends an answer."""
        self._timeout = timeout

    def encode(self, queued: Queued) -> Job:
        """Return the exchange that sends the payload as it is."""
        endpoint, silence = queued.lane.endpoint, self._timeout
        return Job(
            host=endpoint.host,
            port=endpoint.port,
            request=queued.payload,
            complete=_enough,
            silence=silence,
            limit=whole_limit(silence, len(queued.payload)),
            orderly=True,
        )

    def decode(self, outcome: Outcome) -> Reading:
        """Sent is a success, with whatever came back."""
        if not outcome.connected:
            return Reading(Kind.UNREACHED, outcome.error or "no connection")
        if not outcome.whole:
            why = outcome.error or "it closed the connection"
            return Reading(Kind.UNANSWERED, f"the host has not taken the whole message: {why}")
        if outcome.error and outcome.error.startswith(_BROKE) and not outcome.answer:
            return Reading(Kind.UNANSWERED, outcome.error)
        return Reading(Kind.ACCEPTED, "sent", answer=outcome.answer)


def _enough(received: bytes) -> bool:
    return len(received) >= MAX_RECEIVE_BYTES
