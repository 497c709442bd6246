"""Batches in the uplink: what is sent for the messages of a lane, and what becomes of them.

The uplink sends a batch as one request and treats it as the message at the head of its lane. What differs is
here: what is sent for a lane that is due (`request`), and what an answer means for its messages.

A refused batch::

    more than one message    its halves go, the first one first, as batches of their own
    one message              goes as an ordinary request
      refused there too      `rejected`; the rest goes on
      accepted there         the form is refused: the batches of the route wait. The first of them is tried
                             again, whole, each hour and with a changed configuration

A refusal counts as an attempt and uses none up: `max_attempts` is about answers that do not come.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from bridge.core.batching import REFUSED_FOR, Batching, halves, shares
from bridge.core.messages import Formed, Queued, Result, State, Traffic
from bridge.core.retry import Kind, Reading
from bridge.flow.message.batch_lanes import BatchLanes
from bridge.flow.message.forming import form
from bridge.flow.message.results import Results
from bridge.flow.notices import Notices
from bridge.store.batches import UNDIVIDED, Division
from bridge.store.journal import Journal
from bridge.store.writer import Operation

log = logging.getLogger("uplink")


class _Flight(NamedTuple):
    """A batch in flight."""

    seqs: tuple[int, ...]
    """Numbers of its messages."""
    limited: bool
    """Whether the attempts of any of them are limited."""


class Batches:
    """Sends and ends the messages of batches; lives in the event loop's thread."""

    def __init__(
        self, journal: Journal, results: Results, notices: Notices, free: Callable[[Queued], None]
    ) -> None:
        """``free`` is called when the end of a request is durable, and its lane may go on."""
        self.lanes = BatchLanes(journal)
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._results = results
        self._notices = notices
        self._free = free
        self._flights: dict[int, _Flight] = {}

    # -- what --------------------------------------------------------------------------------------------

    def request(self, queued: Queued) -> tuple[Queued, Operation | None]:
        """Return what is sent for ``queued``, the head of a lane that is due.

        That is its batch, as one message, or itself. The operation, if there is one, has to be durable before
        the first byte.
        """
        batches, lane_id = self._outbox.batches, queued.lane_id
        division = batches.division(lane_id)
        if division.formed:
            return self._launch(
                queued, division.formed, batches.content(lane_id), batches.members(lane_id)
            ), None
        batching = self.lanes.batching(lane_id, queued.lane)
        if batching is None or division.alone == queued.seq:
            return queued, None
        made = form(batching, self.lanes.credentials, self._next(queued, division, batching))
        if not made.messages:
            return queued, None
        formed = Formed(made.id, batching.topic, made.messages[-1].seq, len(made.messages))
        fix = partial(batches.form, lane_id, formed, made.content)
        return self._launch(queued, formed, made.content, made.messages), fix

    def _next(self, queued: Queued, division: Division, batching: Batching) -> Iterator[Queued]:
        """Yield the messages that may be in the next batch of a lane, the head ``queued`` first."""
        upto = division.ends[0] if division.ends else self._outbox.last_seq()
        for each in self._outbox.batches.waiting(queued.lane_id, upto, batching.messages):
            if each.seq != queued.seq and (each.seq in self._outbox.in_flight or self._outbox.overdue(each)):
                return  # it is about to end by itself; nothing may be left out in the middle
            yield each

    def _launch(self, queued: Queued, formed: Formed, content: bytes, messages: Sequence[Queued]) -> Queued:
        seqs = tuple(each.seq for each in messages)
        limited = any(each.max_attempts is not None for each in messages)
        self._flights[queued.lane_id] = _Flight(seqs, limited)
        self._outbox.in_flight.update(seqs)
        log.debug("batch %s: %d messages, %d bytes", formed.id, len(seqs), len(content))
        return queued._replace(
            id=formed.id or queued.id,
            lane=queued.lane._replace(names=(formed.topic,)),
            payload=content,
            stamp=None,
            idempotent=False,
            attempts=formed.attempts,
            max_attempts=None,
            traffic=formed.traffic,
            reply=None,
            deadline=None,
        )

    def landed(self, queued: Queued) -> None:
        """Note that ``queued``, a request or a message that ended by itself, has ended durably."""
        flight = self._flights.get(queued.lane_id)
        if flight and queued.seq == flight.seqs[0]:
            del self._flights[queued.lane_id]
            self._outbox.in_flight.difference_update(flight.seqs)

    # -- how it ended ------------------------------------------------------------------------------------

    def ended(self, request: Queued, reading: Reading, traffic: Traffic) -> bool:
        """End or divide the batch ``request``; return False where it is none, or is tried again."""
        route, refused = str(request.lane.batch), request.lane.batch in self.lanes.refused
        if request.lane_id not in self._flights:
            if reading.kind is Kind.ACCEPTED and self._outbox.batches.division(request.lane_id).alone:
                self._refuse(request)
            return False
        if reading.kind is Kind.ACCEPTED:
            operation = partial(self._deliver, request, reading, traffic)
        elif reading.kind is Kind.REFUSED:
            log.info("batch %s is refused: %s", request.id, reading.description)
            operation = partial(self._divide, request, traffic, whole=refused)
        else:
            return False

        def done(results: list[Result]) -> None:
            if refused and reading.kind is Kind.ACCEPTED:
                self.lanes.refused.pop(route, None)
            elif refused:
                self.lanes.refused[route] = self._time.now().mono + REFUSED_FOR
            self._notify(results)
            self._free(request)

        self._writer.write(operation, done)
        return True

    def give_up(self, request: Queued, reading: Reading) -> None:
        """End those messages of a batch whose attempts have run out with the one that was recorded before."""
        flight = self._flights.get(request.lane_id)
        if flight and flight.limited:
            self._writer.write(partial(self._fail, request.lane_id, reading), self._notify)

    def _notify(self, results: list[Result]) -> None:
        for result in results:
            self._results.notify(result)

    def _deliver(self, request: Queued, reading: Reading, traffic: Traffic) -> list[Result]:
        """End all messages of a batch; runs inside the transaction."""
        batches = self._outbox.batches
        batches.spent(request, traffic, attempt=True)
        self._outbox.ledger.spend(traffic, own=request.own)
        if request.lane.batch in self.lanes.refused:
            batches.set_refused(request.lane.batch, refused=False)
        return self._end(request.lane_id, State.DELIVERED, reading, lambda _: True)

    def _fail(self, lane_id: int, reading: Reading) -> list[Result]:
        """End the messages of a batch that have had their attempts; runs inside the transaction."""
        formed = self._outbox.batches.division(lane_id).formed
        if formed is None:
            return []
        spent = formed.attempts
        return self._end(
            lane_id,
            State.FAILED,
            reading,
            lambda each: each.max_attempts is not None and each.attempts + spent >= each.max_attempts,
        )

    def _end(
        self, lane_id: int, state: State, reading: Reading, ends: Callable[[Queued], bool]
    ) -> list[Result]:
        """End those messages of a lane's batch that ``ends`` picks, with their shares of what it has cost."""
        batches = self._outbox.batches
        formed, members = batches.division(lane_id).formed, batches.members(lane_id)
        if formed is None or not members:
            return []
        parts = zip(members, shares(formed.traffic, len(members)), strict=True)
        ending = [(queued, share) for queued, share in parts if ends(queued)]
        results = []
        for queued, share in ending:
            result = self._results.of_queued(queued, state, reading, attempts=queued.attempts, traffic=share)
            self._outbox.remove(queued)
            self._results.end(queued, result, queued.reply)
            results.append(result)
        for _, share in ending:
            batches.took(lane_id, share)
        return results

    def _divide(self, request: Queued, traffic: Traffic, *, whole: bool) -> list[Result]:
        """Divide a refused batch, unless the ``whole`` is tried again later; runs inside the transaction."""
        batches, lane_id = self._outbox.batches, request.lane_id
        batches.spent(request, traffic, attempt=True)
        self._outbox.ledger.spend(traffic, own=request.own)
        division, members = batches.division(lane_id), batches.members(lane_id)
        formed = division.formed
        if formed is None or not members:
            return []
        batches.divide(lane_id, UNDIVIDED if whole else divided(division, [each.seq for each in members]))
        # What it has cost is theirs from now on, because they may be in different batches next.
        for queued, share in zip(members, shares(formed.traffic, len(members)), strict=True):
            batches.charge(queued, formed.attempts, share)
        return []

    def _refuse(self, queued: Queued) -> None:
        """Let the batches of a route wait: what is refused as a batch of one is accepted as a request."""
        route = str(queued.lane.batch)
        self.lanes.refused[route] = self._time.now().mono + REFUSED_FOR

        def operation() -> None:
            batches = self._outbox.batches
            batches.set_refused(route, refused=True)
            for lane_id, lane in self._outbox.lanes.batched.items():
                if lane.batch == route and not batches.division(lane_id).formed:
                    batches.divide(lane_id, UNDIVIDED)

        def done(_: object) -> None:
            text = (
                f"the cloud refuses the batches of the route {route} and accepts their messages alone; they "
                "wait, and one is tried each hour: check its batch.topic, and what the cloud does with it"
            )
            log.warning("%s", text)
            self._notices.problem("uplink", text)
            self._notices.event("cloud.batch_refused", match=route, description=text)

        self._writer.write(operation, done)


def divided(division: Division, seqs: Sequence[int]) -> Division:
    """Return what follows a refused batch, of which the messages ``seqs`` wait, the oldest first."""
    formed = division.formed
    rest = tuple(end for end in division.ends if end > seqs[-1])
    if formed and formed.messages == 1:
        return Division(ends=rest, alone=seqs[0])
    return Division(ends=(*(halves(seqs) if len(seqs) > 1 else seqs), *rest))
