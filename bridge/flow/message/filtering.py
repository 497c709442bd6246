"""Filtering: what the filters of the routes hold back, and its results.

A filtered message costs no write: it is acknowledged, counted, and forgotten, unless its producer asked for a
result. What is held for the end of an interval is in memory alone, so that a crash costs it.
"""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from bridge.core.filters import Filter, Filters, Topics, Verdict
from bridge.core.messages import Message, Result, State
from bridge.core.routing import Router
from bridge.flow.message.results import Results
from bridge.store.journal import Journal
from bridge.store.receipts import KEPT, Receipt

log = logging.getLogger("filter")

PORTION = 100
"""Held messages that one transaction purges at most."""

Acknowledge = Callable[[], None]


class Filtering:
    """Judges the messages of routes with a filter; lives in the event loop's thread."""

    def __init__(self, journal: Journal, results: Results) -> None:
        self.store: Callable[[Message], None] = lambda _: None
        """Stores a message that was held back."""
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._results = results
        self._filters = Filters[Message]()
        self._recent: deque[tuple[int, int, bytes]] = deque(maxlen=KEPT)
        """Deliveries that were acknowledged without a row, which the broker may repeat."""
        self._timed: set[Topics] = set()
        """Topics with a timer for the end of their interval."""
        self._stopping = False

    def passes(
        self,
        message: Message,
        rule: Filter,
        receipt: Receipt | None,
        acknowledge: Acknowledge,
        *,
        urgent: bool,
    ) -> bool:
        """Return whether ``message`` goes to the outbox; it is taken care of otherwise.

        ``acknowledge`` acknowledges its delivery, ``urgent`` says that the message itself has high priority.
        """
        if receipt and receipt.dup:
            if receipt.key in self._recent:
                acknowledge()
                return False
            if self._outbox.receipts.known(receipt) or self._writer.waits(receipt.key):
                return True  # it passed before, and the outbox knows what to do with a repetition
        topics, now = message.lane.names, self._time.now().mono
        offer = self._filters.offer(rule, topics, message.payload, message, now, urgent=urgent)
        for older in offer.passed:
            self.store(older)
        for older in offer.dropped:
            if message.idempotent and older.idempotent and older.id == message.id:
                # The same message once more: this one takes its place, and its id.
                self._writer.append(partial(self._outbox.release_key, message.id))
            else:
                self._drop(older)
        if offer.verdict is Verdict.HOLD and not self._stopping:
            self._hold(message, receipt, acknowledge)
        elif offer.verdict is Verdict.DROP:
            self._filter_out(message, receipt, acknowledge)
        else:
            self._filters.release(topics, now)
            return True
        return False

    def forget(self, message: Message) -> None:
        """Let the next message of these topics pass, because ``message`` got no further than the filter."""
        self._filters.forget(message.lane.names)

    # -- holding -----------------------------------------------------------------------------------------

    def _hold(self, message: Message, receipt: Receipt | None, acknowledge: Acknowledge) -> None:
        self._schedule(message.lane.names)
        if not message.idempotent:
            self._note(receipt)
            acknowledge()
            return

        def claimed(new: bool) -> None:  # positional, as the writer calls it
            acknowledge()
            if not new:
                self._filters.withdraw(message.lane.names, message)

        self._writer.append(partial(self._claim, message, receipt), claimed)

    def _claim(self, message: Message, receipt: Receipt | None) -> bool:
        """Note the id of a held message; return whether it is new. Runs inside the transaction."""
        if self._outbox.receipts.repeats(receipt):
            return False
        if self._outbox.add_key(message.id):
            return True
        known = self._outbox.key_result(message.id)
        if known is not None:
            self._results.repeat(known, message.reply)
        return False

    def _schedule(self, topics: Topics) -> None:
        due = self._filters.due(topics)
        if due is not None and topics not in self._timed:
            self._timed.add(topics)
            self._time.call_later(max(0.0, due - self._time.now().mono), self._look, topics)

    def _look(self, topics: Topics) -> None:
        """Store what was held for the end of the interval."""
        self._timed.discard(topics)
        due, now = self._filters.due(topics), self._time.now().mono
        if due is not None and due <= now:
            for message in self._filters.release(topics, now):
                self.store(message)
        self._schedule(topics)

    def release(self) -> None:
        """Store everything that is held."""
        for message in self._filters.release_all(self._time.now().mono):
            self.store(message)

    def stop(self) -> None:
        """Store everything that is held, and hold nothing any more."""
        self._stopping = True
        self.release()
        # What was counted without a write is written now.
        self._writer.write(lambda: self._outbox.ledger.count(State.FILTERED, 0))

    def renew(self, router: Router) -> None:
        """Apply changed routes: what was held under another filter is stored, and those topics begin anew."""
        rules = [(topics, router.route(topics).filter) for topics in self._filters.topics()]
        for message in self._filters.renew(rules):
            self.store(message)

    def purge(self) -> int:
        """Drop everything that is held, each with its result; return its number.

        What passed may have been purged too, so the next message of each topic list passes.
        """
        held = self._filters.drop_all()
        for topics in self._filters.topics():
            self._filters.forget(topics)
        for start in range(0, len(held), PORTION):
            self._end(held[start : start + PORTION], State.DROPPED, "purged from the queue")
        return len(held)

    # -- ending ------------------------------------------------------------------------------------------

    def _note(self, receipt: Receipt | None) -> None:
        if receipt:
            self._recent.append(receipt.key)

    def _filter_out(self, message: Message, receipt: Receipt | None, acknowledge: Acknowledge) -> None:
        if not _asked(message):
            self._outbox.ledger.note(State.FILTERED)
            self._note(receipt)
            acknowledge()
            return
        result = self._result(message)

        def operation() -> bool:
            new = not message.idempotent or self._claim(message, receipt)
            if new and (message.idempotent or not self._outbox.receipts.repeats(receipt)):
                self._results.record(result, idempotent=message.idempotent, reply=message.reply)
            return new

        def done(_: bool) -> None:  # positional, as the writer calls it
            acknowledge()
            self._results.notify(result)

        self._writer.append(operation, done, key=receipt.key if receipt else None)

    def _drop(self, message: Message) -> None:
        """End a held message that is old news; only who asked for its result is told."""
        if _asked(message):
            self._end([message], State.FILTERED, _WHY)
        else:
            self._outbox.ledger.note(State.FILTERED)

    def _end(self, messages: list[Message], state: State, why: str) -> None:
        results = [self._results.of_message(message, state, why) for message in messages]

        def operation() -> None:
            for message, result in zip(messages, results, strict=True):
                self._results.record(result, idempotent=message.idempotent, reply=message.reply)

        def done(_: object) -> None:
            for result in results:
                self._results.notify(result)

        self._writer.append(operation, done)

    def _result(self, message: Message) -> Result:
        return self._results.of_message(message, State.FILTERED, _WHY)


_WHY = "the filter of its route held it back"


def _asked(message: Message) -> bool:
    """Return whether the producer asked for a result."""
    return message.idempotent or message.reply is not None
