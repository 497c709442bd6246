"""SMS over the air: between a queued SMS and the segments that the modem sends."""

from collections.abc import Callable
from functools import partial

from bridge.core.exchange import Outcome
from bridge.core.messages import Queued
from bridge.core.retry import Kind, Reading
from bridge.core.sms import SmsJob
from bridge.protocol.sms.errors import Blame, judge
from bridge.protocol.sms.segments import check_text
from bridge.store.sms import SmsStore
from bridge.store.writer import Writer

SILENCE = 150.0
"""Seconds that the network may take for a segment [u-blox SARA-U2 AT commands manual UBX-13001820, +CMGS]."""


class AirSmsCodec:
    """Encodes SMS for the modem. A doubt is final, because a second SMS costs and annoys."""

    at_most_once = True

    def __init__(
        self, max_segments: Callable[[], int], store: SmsStore, writer: Writer, *, silence: float = SILENCE
    ) -> None:
        """``max_segments`` returns how many segments an SMS may take; ``silence`` is seconds for each."""
        self._max_segments = max_segments
        self._sms = store
        self._writer = writer
        self._silence = silence

    def encode(self, queued: Queued) -> SmsJob:
        """Return the job that sends all segments; raises `InvalidCommand` for too many."""
        body = queued.payload.decode()
        parts = check_text(body, self._max_segments())
        return SmsJob(queued.lane.names[0], body, parts, self._silence, id=queued.id)

    def decode(self, outcome: Outcome) -> Reading:
        """Return the meaning of the modem's error by its cause: the message, the moment or the modem."""
        if outcome.complete:
            return Reading(Kind.ACCEPTED, _accepted(len(outcome.answer.split())))
        error = outcome.error or "the modem did not say why"
        judgement = judge(outcome.answer.decode("utf-8", "replace"))
        if outcome.written:
            return Reading(Kind.DOUBTFUL, error, judgement.code)
        if not outcome.connected:
            return Reading(Kind.UNREACHED, error)
        return Reading(_KINDS[judgement.blame], error, judgement.code)

    def referenced(self, job: SmsJob, reference: int) -> None:
        """Note the ``reference`` of a sent segment of ``job``; a status report will name it."""
        self._writer.write(partial(self._sms.await_report, reference, job.recipient, job.id))


_KINDS = {
    Blame.MESSAGE: Kind.REFUSED,
    Blame.MOMENT: Kind.UNANSWERED,
    Blame.MODEM: Kind.UNREACHED,
    Blame.NOBODY_KNOWS: Kind.UNREACHED,
}
"""Kinds for an SMS of which nothing was sent. An error without a cause is taken to be the modem's."""


def _accepted(parts: int) -> str:
    return "the network took it" if parts == 1 else f"the network took its {parts} parts"
