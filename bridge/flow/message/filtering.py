"""Filtering: what the filters of the routes hold back, and its results.

A filtered message costs no write: it is acknowledged, counted, and forgotten, unless its producer asked for a
result. What is held for the end of an interval is in memory alone, so that a crash costs it.
"""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import NamedTuple

from bridge.core.filters import Filter, Filters, Offer, Topics, Verdict
from bridge.core.messages import Message, Result, State
from bridge.core.routing import Router
from bridge.core.time import Timer
from bridge.flow.message.results import Results
from bridge.store.journal import Journal
from bridge.store.receipts import KEPT, Receipt

log = logging.getLogger("filter")

PORTION = 100
"""Held messages that one transaction purges at most."""

Acknowledge = Callable[[], None]
Operation = Callable[[Receipt | None], bool | None]
"""Settles a delivery inside the transaction.

Returns whether the message is new; None if the delivery was settled before.
"""
Done = Callable[[bool | None], None]


class Arrival(NamedTuple):
    """One delivery of a message."""

    receipt: Receipt | None
    acknowledge: Acknowledge
    """Acknowledges it; its outcome is settled."""
    replaced: Callable[[], None]
    """Called instead where a repetition of it took its place while it waited for the disk."""


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
        self._judged: dict[tuple[int, int, bytes], Callable[[Arrival], None]] = {}
        """Deliveries that were judged and wait for the disk, each with what takes a repetition of it."""
        self._offers: dict[tuple[Topics, str], deque[Offer[Message]]] = {}
        """Offers of messages that wait for the disk and whose id may be known, by their topics and id."""
        self._timers: dict[Topics, tuple[float, Timer]] = {}
        """For topics with a held message: when the interval ends, and the timer."""
        self._stopping = False

    def passes(self, message: Message, rule: Filter, arrival: Arrival, *, urgent: bool) -> bool:
        """Return whether ``message`` goes to the outbox; it is taken care of otherwise.

        ``urgent`` says that the message itself has high priority.
        """
        receipt = arrival.receipt
        if receipt and receipt.dup:
            if receipt.key in self._recent:
                arrival.acknowledge()
                return False
            if take := self._judged.get(receipt.key):
                take(arrival)
                return False
            if self._outbox.receipts.known(receipt) or self._writer.waits(receipt.key):
                return True  # it passed before, and the outbox knows what to do with a repetition
        topics, now = message.lane.names, self._time.now().mono
        # On a full disk nothing is held: what is held is acknowledged, and the broker would send ever more.
        hold = not (self._stopping or self._writer.full)
        offer = self._filters.offer(rule, topics, message.payload, message, now, urgent=urgent, hold=hold)
        for older in offer.passed:
            self.store(older)
        if message.idempotent:
            self._offers.setdefault((topics, message.id), deque()).append(offer)
        else:
            self._drop(offer)
        if offer.verdict is Verdict.HOLD:
            self._hold(message, arrival)
        elif offer.verdict is Verdict.DROP:
            self._filter_out(message, arrival)
        return offer.verdict is Verdict.PASS

    def forget(self, message: Message) -> None:
        """Let the next message of these topics pass, because ``message`` got no further than the filter."""
        self._filters.forget(message.lane.names)

    def settle(self, message: Message, *, new: bool) -> None:
        """End what ``message`` dropped; where its id is known it is no reading, and that is taken back."""
        topics = message.lane.names
        offers = self._offers.get((topics, message.id))
        if not offers:
            return
        offer = offers.popleft()
        if not offers:
            del self._offers[topics, message.id]
        if not new:
            # The latest request for the result of a held message counts.
            asks = message.reply is not None and any(each.id == message.id for each in offer.dropped)
            dropped = tuple(each._replace(reply=message.reply) if asks else each for each in offer.dropped)
            offer = offer._replace(dropped=dropped)
            if self._filters.undo(topics, offer):
                self._schedule(topics)
                if self._stopping:
                    self.release()
                return
            if offer.verdict is Verdict.PASS:
                self._filters.forget(topics)
        self._drop(offer)

    # -- holding -----------------------------------------------------------------------------------------

    def _hold(self, message: Message, arrival: Arrival) -> None:
        self._schedule(message.lane.names)
        if not message.idempotent:
            self._note(arrival.receipt)
            arrival.acknowledge()
            return

        def claimed(new: bool | None) -> None:  # positional, as the writer calls it
            if new is not None:
                self.settle(message, new=new)
                self._results.repeated()

        self._append(partial(self._claim, message), claimed, arrival)

    def _append(self, operation: Operation, done: Done, arrival: Arrival) -> None:
        """Run ``operation``, then acknowledge; a repetition of the delivery meanwhile takes its place."""
        receipt = arrival.receipt
        key = receipt.key if receipt else None

        def ended(value: bool | None) -> None:  # positional, as the writer calls it
            if key is not None:
                self._judged.pop(key, None)
            arrival.acknowledge()
            done(value)

        if key is not None:
            self._judged[key] = partial(self._append, operation, done)
        again = receipt is not None and receipt.dup
        self._writer.append(
            partial(operation, receipt), ended, key=key, again=again, replaced=arrival.replaced
        )

    def _claim(self, message: Message, receipt: Receipt | None) -> bool | None:
        """Note the id of a message; return whether it is new, None for a repetition of the delivery.

        Runs inside the transaction.
        """
        if self._outbox.receipts.repeats(receipt):
            return None
        if self._outbox.keys.add(message.id):
            return True
        known = self._outbox.keys.result(message.id)
        if known is not None:
            self._results.repeat(known, message.reply)
        elif message.reply:
            self._outbox.ask_again(message.id, message.reply)
        return False

    def _schedule(self, topics: Topics) -> None:
        due = self._filters.due(topics)
        if due is None:
            return
        at, timer = self._timers.get(topics, (inf, None))
        if at > due:
            if timer:
                timer.cancel()  # the filter is another one since, with a shorter interval
            delay = max(0.0, due - self._time.now().mono)
            self._timers[topics] = (due, self._time.call_later(delay, self._look, topics))

    def _look(self, topics: Topics) -> None:
        """Store what was held for the end of the interval."""
        del self._timers[topics]
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

    def _filter_out(self, message: Message, arrival: Arrival) -> None:
        if not _asked(message):
            self._outbox.ledger.note(State.FILTERED)
            self._note(arrival.receipt)
            arrival.acknowledge()
            return
        result = self._result(message)

        def operation(receipt: Receipt | None) -> bool | None:
            if message.idempotent:
                new = self._claim(message, receipt)
            else:
                new = None if self._outbox.receipts.repeats(receipt) else True
            if new:
                self._results.record(result, idempotent=message.idempotent, reply=message.reply)
            return new

        def done(new: bool | None) -> None:  # positional, as the writer calls it
            if new is not None:
                self.settle(message, new=new)
                self._results.notify(result)

        self._append(operation, done, arrival)

    def _drop(self, offer: Offer[Message]) -> None:
        """End held messages that are old news; only who asked for a result is told."""
        for message in offer.dropped:
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
