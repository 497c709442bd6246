"""The calls that wait, and what each of them is told of its message.

While a call waits, the cloud's word is final: the caller hears the code and decides. Where there is no word
(no network, no answer) the call ends and its message stays, to go by the uplink's own rules.
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
    """Those of one outbox, by message id; lives in the loop's thread."""

    def __init__(self, senders: DeviceRegistry, try_again: Callable[[], object]) -> None:
        """``try_again`` has everything tried soon, not before it returns."""
        self.failures = 0
        """How many tries ended with messages that wait for better times."""
        self._senders = senders
        self._try_again = try_again
        self._waiting: dict[str, Call] = {}
        self._owners: dict[str, Sender] = {}
        """Who sent what is kept, by message id."""

    def begin(self, message_id: str, call: Call) -> None:
        """``call`` waits for what becomes of its message from now on."""
        self._waiting[message_id] = call

    def forget(self, message_id: str) -> None:
        """Nobody waits for it any more."""
        self._waiting.pop(message_id, None)

    def timeout(self, endpoint: Endpoint) -> float:
        """Return the seconds of silence that the most patient call to ``endpoint`` allows."""
        calls = self._waiting.values()
        return max((call.timeout for call in calls if call.lane.endpoint == endpoint), default=TIMEOUT)

    # -- what a try showed -------------------------------------------------------------------------------

    def judge(self, queued: Queued, began: float, reading: Reading) -> Reading:
        """The cloud's word is final for a call that waits; without a word, calls need not wait longer."""
        if reading.kind is Kind.ACCEPTED:
            return reading
        if queued.max_attempts is not None and reading.code is None:  # there was one try
            unanswered = reading.kind is Kind.UNANSWERED
            return reading._replace(kind=Kind.DOUBTFUL) if unanswered else reading
        if queued.id in self._waiting and reading.code is not None:
            return reading if reading.kind is Kind.DOUBTFUL else reading._replace(kind=Kind.REFUSED)
        lane = queued.lane
        if reading.kind is Kind.UNREACHED:
            self.keep(_to(lane.endpoint), kept(reading.description), began)
        elif reading.kind is Kind.HELD:  # nothing goes with these credentials
            response = of_code(ERR_AUTHINVALID).but_kept(reading.description)
            self.keep(_to(lane.endpoint), response, began)
        elif reading.kind is Kind.UNANSWERED:
            self.keep(lambda call: call.lane == lane, kept(reading.description), began)
        return reading

    def keep(self, concerned: Callable[[Call], bool], response: Response, began: float = math.inf) -> None:
        """End the calls whose messages wait for better times.

        What an exchange found that ``began`` before a call says nothing of it: the credentials, or the
        network, may be others now. That call's message is tried.
        """
        self.failures += 1
        for message_id, call in tuple(self._waiting.items()):
            if concerned(call) and call.since <= began:
                del self._waiting[message_id]
                self._owners[message_id] = call.sender
                call.end(response)
            elif concerned(call):
                self._try_again()

    # -- what became of a message ------------------------------------------------------------------------

    def ended(self, result: Result) -> None:
        """Tell who waits for ``result``, or who sent its message."""
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
        """Tell who waits for the message that an event is about, or who sent it."""
        message_id = str(fields.get("id"))
        call = self._waiting.get(message_id)
        owner = self._owners.get(message_id, self._senders.last)
        if call is not None:
            call.notes.put(event_type)
        elif owner is not None:
            dispatcher().submit(partial(owner.happened, event_type))

    def condition_changed(self, endpoint: Endpoint, destination: Destination) -> None:
        """Say in the log that a destination takes nothing for now."""
        where = f"{endpoint.host}:{endpoint.port}" if endpoint.host else "the cloud"
        if destination.condition is not Condition.UP:
            log.info("%s: %s; what is sent to it is kept meanwhile", where, destination.reason)

    # -- what goes wrong here ----------------------------------------------------------------------------

    def fail(self, message_id: str, call: Call, text: str) -> None:
        """End ``call``: its message is not taken, and ``text`` says why."""
        self.forget(message_id)
        call.notes.put(HologramError(text))

    def fail_untaken(self, text: str) -> None:
        """End the calls whose messages are not durable."""
        for message_id, call in tuple(self._waiting.items()):
            if not call.taken:
                self.fail(message_id, call, text)

    def broken(self, error: BaseException) -> None:
        """Nothing comes any more: ``error`` ends every call."""
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
