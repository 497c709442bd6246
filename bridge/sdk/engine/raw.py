"""The exchange with the user's own host: the bytes unchanged, and any answer.

The SDK reads until the peer closes, is silent for the timeout, or has sent 1024 bytes, and takes each of
these for a success [hologram-python 0.10, ``CustomCloud``]. Here a broken connection is a failure, and so is
a message that the host has not acknowledged to its last byte.
"""

from bridge.core.exchange import Job, Outcome, sized_job
from bridge.core.messages import Queued
from bridge.core.retry import Kind, Reading

MAX_RECEIVE_BYTES = 1024
"""Bytes of an answer after which the wait for more ends [hologram-python 0.10]."""

_BROKE = "the connection broke"


class RawCodec:
    """The codec for the user's own host."""

    at_most_once = False

    def __init__(self, timeout: float) -> None:
        """``timeout`` is the silence in seconds that ends an answer."""
        self._timeout = timeout

    def encode(self, queued: Queued) -> Job:
        """Return the exchange that sends the payload as it is."""
        endpoint = queued.lane.endpoint
        return sized_job(endpoint.host, endpoint.port, queued.payload, _enough, self._timeout, orderly=True)

    def decode(self, outcome: Outcome) -> Reading:
        """Return a success for a sent message, with any answer."""
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
