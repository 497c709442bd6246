"""The waiting calls, and the notes that each of them gets about its message.

While a call waits, the cloud's answer is final: the caller gets the code and decides. Without an answer (no
network, no reply) the call ends, and its message stays in the outbox under the uplink's own rules.
"""

import logging
import math
from collections.abc import Callable
from functools import partial

from bridge.core.destination import Condition, Destination
from bridge.core.messages import Endpoint, Queued, Result, State
from bridge.core.retry import Kind, Reading
from bridge.flow.notices import Notices
from bridge.sdk.engine.calls import TIMEOUT, Call, Sender
from bridge.sdk.engine.device_registry import DeviceRegistry
from bridge.sdk.engine.errors import HologramError
from bridge.sdk.engine.response import ERR_AUTHINVALID, ERR_UNKNOWN, Response, kept, of_answer, of_code
from bridge.sdk.engine.runtime import dispatcher

log = logging.getLogger("Hologram")


class Calls(Notices):
    """The calls of one outbox, by message id; lives in the loop's thread."""

    def __init__(self, senders: DeviceRegistry, try_again: Callable[[], object]) -> None:
        """``try_again`` schedules an attempt with every message, which begins after it has returned."""
        self.failures = 0
        """Number of attempts after which messages wait."""
        self._senders = senders
        self._try_again = try_again
        self._waiting: dict[str, Call] = {}
        self._owners: dict[str, Sender] = {}
        """Senders of the kept messages, by message id."""

    def begin(self, message_id: str, call: Call) -> None:
        """Register ``call``, which waits for the outcome of its message."""
        self._waiting[message_id] = call

    def forget(self, message_id: str) -> None:
        """Remove the call of a message."""
        self._waiting.pop(message_id, None)

    def timeout(self, endpoint: Endpoint) -> float:
        """Return the longest silence, in seconds, that a call to ``endpoint`` allows."""
        calls = self._waiting.values()
        return max((call.timeout for call in calls if call.lane.endpoint == endpoint), default=TIMEOUT)

    # -- the outcome of an attempt -----------------------------------------------------------------------

    def judge(self, queued: Queued, began: float, reading: Reading) -> Reading:
        """Make the cloud's answer final for a waiting call; without an answer, end the wait of the calls."""
        if reading.kind is Kind.ACCEPTED:
            return reading
        if queued.max_attempts is not None and reading.code is None:  # the only attempt was made
            unanswered = reading.kind is Kind.UNANSWERED
            return reading._replace(kind=Kind.DOUBTFUL) if unanswered else reading
        if queued.id in self._waiting and reading.code is not None:
            return reading if reading.kind is Kind.DOUBTFUL else reading._replace(kind=Kind.REFUSED)
        lane = queued.lane
        if reading.kind is Kind.UNREACHED:
            self.keep(_to(lane.endpoint), kept(reading.description), began)
        elif reading.kind is Kind.HELD:  # the cloud refuses these credentials
            response = of_code(ERR_AUTHINVALID).but_kept(reading.description)
            self.keep(_to(lane.endpoint), response, began)
        elif reading.kind is Kind.UNANSWERED:
            self.keep(lambda call: call.lane == lane, kept(reading.description), began)
        return reading

    def keep(self, concerned: Callable[[Call], bool], response: Response, began: float = math.inf) -> None:
        """End the calls whose messages wait.

        An exchange that ``began`` before a call does not concern it, because the credentials or the network
        may have changed since. That call's message is tried.
        """
        self.failures += 1
        for message_id, call in tuple(self._waiting.items()):
            if concerned(call) and call.since <= began:
                del self._waiting[message_id]
                self._owners[message_id] = call.sender
                call.end(response)
            elif concerned(call):
                self._try_again()

    # -- the outcome of a message ------------------------------------------------------------------------

    def ended(self, result: Result) -> None:
        """Pass ``result`` to the waiting call, or to the sender of the message."""
        response = _response(result)
        call = self._waiting.pop(result.id, None)
        owner = self._owners.pop(result.id, self._senders.last)
        if call is not None:
            call.end(response)
        elif result.state is State.DELIVERED:
            if owner is not None:
                dispatcher().submit(partial(owner.delivered, response))
        else:
            log.error("a kept message is given up: %s (%s)", result.description, result.state.value)

    def event(self, event_type: str, **fields: object) -> None:
        """Pass an event to the call that waits for the message, or to the message's sender."""
        message_id = str(fields.get("id"))
        call = self._waiting.get(message_id)
        owner = self._owners.get(message_id, self._senders.last)
        if call is not None:
            call.notes.put(event_type)
        elif owner is not None:
            dispatcher().submit(partial(owner.happened, event_type))

    def condition_changed(self, endpoint: Endpoint, destination: Destination) -> None:
        """Log that a destination takes no messages for now."""
        where = f"{endpoint.host}:{endpoint.port}" if endpoint.host else "the cloud"
        if destination.condition is not Condition.UP:
            log.info("%s: %s; what is sent to it is kept meanwhile", where, destination.reason)

    # -- failures ----------------------------------------------------------------------------------------

    def fail(self, message_id: str, call: Call, text: str) -> None:
        """End ``call``, whose message is not taken because of ``text``."""
        self.forget(message_id)
        call.notes.put(HologramError(text))

    def fail_untaken(self, text: str) -> None:
        """End the calls whose messages are not durable."""
        for message_id, call in tuple(self._waiting.items()):
            if not call.taken:
                self.fail(message_id, call, text)

    def broken(self, error: BaseException) -> None:
        """End every call with ``error``, because the loop's work has failed."""
        for call in self._waiting.values():
            call.notes.put(error)


def _to(endpoint: Endpoint) -> Callable[[Call], bool]:
    return lambda call: call.lane.endpoint == endpoint


def _response(result: Result) -> Response:
    if result.answer is not None:
        return of_answer(result.answer)
    if result.code is not None:
        return of_code(result.code)
    if result.state is State.UNCONFIRMED:
        return of_code(ERR_UNKNOWN, result.description)
    if result.state is State.FAILED:
        return Response("", reason=result.description)
    return Response(result.description)
