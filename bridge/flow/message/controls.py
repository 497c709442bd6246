"""Controls: the commands about the bridge itself, from MQTT and from the control socket.

A command from MQTT is acknowledged when its receipt and its entry as an accepted command are durable, and
before it is carried out: it may restart the very link to the broker, and must not be repeated for that. Its
result removes the entry. A command that a stop or a crash interrupts gets its result at the next start, and
is not carried out again.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from bridge.core.delivery import Delivery
from bridge.core.log_throttle import LogThrottle
from bridge.core.messages import Channel, Queued, Result, State
from bridge.core.retry import Kind, Reading
from bridge.errors import BridgeError, DeadlinePassed, InvalidCommand, OperationError
from bridge.flow.message.deliveries import Acknowledger, SkippedRetained, receipt_of
from bridge.flow.message.filtering import Filtering
from bridge.flow.message.ids import id_source
from bridge.flow.message.results import Rejection, Results
from bridge.flow.message.sessions import CONTROL, SessionNumber
from bridge.flow.message.uplink import Uplink
from bridge.flow.notices import Notices
from bridge.protocol.api import commands
from bridge.protocol.api.budget import BudgetChange
from bridge.store.accepted import AcceptedCommand
from bridge.store.journal import Journal
from bridge.store.outbox import Outbox
from bridge.store.receipts import Receipt
from bridge.store.writer import Writer

log = logging.getLogger("control")

PURGE_BATCH = 500
"""Messages that one transaction purges at most, so that other operations get their turn."""

PURGE_BATCH_FULL = 20
"""The same on a full disk, where the results have to fit into the reserve."""

PAUSED = "paused"
"""Key in the store of the pause switch, which survives a restart."""

WHILE_PAUSED = "sending is paused, so nothing is tried: resume first"
"""Reason why a flush fails."""

MAX_IN_FLIGHT = 100
"""Most commands about the network in flight, and most purges. A command may wait for an hour, and the broker
does not limit the commands, because they are acknowledged already."""

STOPPED = "the bridge stopped meanwhile"

Carry = Callable[[str, float | None, float | None], Coroutine[Any, Any, str]]
"""Carries out a command about the network and returns what was done. It takes the command, its timeout and
the time to its deadline, both in seconds."""

End = Callable[[State, str], None]
"""Ends a command with a state and a description."""


class Controls:
    """Carries out control commands; each ends in a result."""

    def __init__(
        self,
        journal: Journal,
        results: Results,
        uplink: Uplink,
        filtering: Filtering,
        notices: Notices,
        *,
        network: Carry,
        change_budget: Callable[[BudgetChange], str],
        quote: Callable[[commands.Quote], Result],
    ) -> None:
        """``network`` carries out the commands about the network.

        ``change_budget`` changes the bounds of the budget, and returns what they are now; raises
        `OperationError`. ``quote`` returns what a message would cost; raises `InvalidCommand` for one that
        cannot be sent.
        """
        self._outbox, self._writer, self._time = journal.outbox, journal.writer, journal.time
        self._results = results
        self._uplink = uplink
        self._filtering = filtering
        self._names = results.names
        self._notices = notices
        self._new_id = id_source()
        self._network = network
        self._change_budget, self.quote = change_budget, quote
        self._network_tasks: set[asyncio.Future[str]] = set()
        self.session = SessionNumber(journal, CONTROL)
        self._stopping = False
        self._rejected, self._retained = LogThrottle(), SkippedRetained()
        self._purges = 0
        """Purge commands in flight."""
        uplink.paused = bool(journal.outbox.meta(PAUSED))

    def start(self) -> None:
        """End the commands that an earlier run accepted and did not finish, as failed.

        They may be done or not.
        """
        for accepted in self._outbox.accepted.left():
            self._finish(accepted, State.FAILED, STOPPED)

    def received(self, delivery: Delivery, session: Acknowledger) -> None:
        """Take one control command from MQTT; ``session`` is the session that acknowledges it."""
        if self._stopping:
            return  # unacknowledged, so that the broker delivers it to the next run
        if delivery.retain:
            self._retained.skip(delivery, session)
            return
        topic = self._names.below(delivery.topic)
        receipt = receipt_of(delivery, self.session.number)
        try:
            if delivery.problem:
                raise delivery.problem
            command = commands.parse(topic, delivery.payload, delivery.properties, prefix=self._names.prefix)
            if isinstance(command, commands.Quote):
                self._answer_quote(command, self.quote(command), delivery, receipt, session)
                return
            if not isinstance(command, commands.Control):
                raise InvalidCommand("topic", topic, "it is not a control command")
        except InvalidCommand as exc:
            self._reject(topic, delivery, exc, receipt, session)
            return
        accepted, deadline = self._accepted_of(command)

        def begin(new: bool) -> None:  # positional, as the writer calls it
            session.ack(delivery)
            if new:
                self._run(command, deadline, partial(self._finish, accepted))
            else:
                self._notices.reports_ready()

        self._writer.write(partial(self._accept, accepted, receipt), begin)

    def _answer_quote(
        self,
        command: commands.Quote,
        result: Result,
        delivery: Delivery,
        receipt: Receipt | None,
        session: Acknowledger,
    ) -> None:
        reply = command.options.reply

        def record() -> bool:
            if self._outbox.receipts.repeats(receipt):
                return False
            self._results.record(result, idempotent=False, reply=reply)
            return True

        def recorded(_new: bool) -> None:  # positional, as the writer calls it
            session.ack(delivery)
            self._notices.reports_ready()

        self._writer.write(record, recorded)

    def _accepted_of(self, command: commands.Control) -> tuple[AcceptedCommand, float | None]:
        """Return ``command`` as the store keeps it, and its deadline in monotonic seconds."""
        options, now = command.options, self._time.now()
        idempotent = options.id is not None
        accepted = AcceptedCommand(
            id=options.id or self._new_id(),
            idempotent=idempotent,
            channel=command.channel,
            queued_at=now.wall,
            reply=options.reply,
        )
        return accepted, None if options.lifetime is None else now.mono + options.lifetime

    def _accept(self, accepted: AcceptedCommand, receipt: Receipt | None) -> bool:
        """Return whether this command is new; a repetition of a known id gets the known result again."""
        if self._outbox.receipts.repeats(receipt):
            return False
        if not accepted.idempotent or self._outbox.keys.add(accepted.id):
            self._outbox.accepted.add(accepted)
            return True
        known = self._outbox.keys.result(accepted.id)
        if known is not None:
            self._results.repeat(known, accepted.reply)
        return False

    def _reject(
        self,
        topic: str,
        delivery: Delivery,
        error: InvalidCommand,
        receipt: Receipt | None,
        session: Acknowledger,
    ) -> None:
        if self._rejected.due():
            log.warning(
                "rejected a command on %s: %s (%d so far)", delivery.topic, error.reason, self._rejected.count
            )
        rejection = self._results.of_unreadable(topic, delivery, error, self._new_id())

        def rejected(new: bool) -> None:  # positional, as the writer calls it
            session.ack(delivery)
            if new:
                self._results.notify(rejection.result)

        self._writer.write(partial(self._refuse, rejection, receipt), rejected)

    def _refuse(self, rejection: Rejection, receipt: Receipt | None) -> bool:
        """Store the result of a rejected command; return whether it is new. Runs inside the transaction."""
        if self._outbox.receipts.repeats(receipt):
            return False
        self._results.record(rejection.result, idempotent=False, reply=rejection.reply)
        return True

    def _run(self, command: commands.Control, deadline: float | None, end: End) -> None:
        """Carry out ``command``, unless its ``deadline`` (monotonic seconds) has passed."""
        log.info("%s command: %s", command.channel, command.command)
        lifetime = None if deadline is None else deadline - self._time.now().mono
        if lifetime is not None and lifetime <= 0:
            end(State.EXPIRED, "its deadline passed before it began")
        elif command.channel is Channel.NETWORK:
            self._run_network(command, lifetime, end)
        elif command.change is not None:
            try:
                end(State.DONE, self._change_budget(command.change))
            except OperationError as exc:
                end(State.FAILED, str(exc))
        else:
            self._run_queue(command.command, end)

    def _run_queue(self, command: str, end: End) -> None:
        if command == "purge":
            self._run_purge(end)
            return
        try:
            end(State.DONE, self.switch(command))
        except OperationError as exc:
            end(State.FAILED, str(exc))

    def _run_purge(self, end: End) -> None:
        if self._purges >= MAX_IN_FLIGHT:
            end(State.FAILED, f"{MAX_IN_FLIGHT} purges are in flight already")
            return

        def done(number: int) -> None:
            self._purges -= 1
            end(State.DONE, f"purged {number} messages")

        self._purges += 1
        self.purge(done)

    def _run_network(self, command: commands.Control, lifetime: float | None, end: End) -> None:
        if len(self._network_tasks) >= MAX_IN_FLIGHT:
            end(State.FAILED, f"{MAX_IN_FLIGHT} commands about the network are in flight already")
            return
        # Not awaited: it may take an hour, and commands about the queue must work meanwhile.
        task = asyncio.ensure_future(self._network(command.command, command.timeout, lifetime))
        self._network_tasks.add(task)

        def ended(_: object) -> None:
            self._network_tasks.discard(task)
            if task.cancelled():
                end(State.FAILED, STOPPED)
            elif isinstance(error := task.exception(), DeadlinePassed):
                end(State.EXPIRED, str(error))
            elif isinstance(error, BridgeError):
                end(State.FAILED, str(error))
            elif error:
                raise error
            else:
                end(State.DONE, task.result())

        task.add_done_callback(ended)

    def stop(self) -> None:
        """Take no more commands, and cancel those about the network; each gets its result."""
        self._stopping = True
        for task in self._network_tasks:
            task.cancel()

    def switch(self, command: str) -> str:
        """Carry out ``flush``, ``pause`` or ``resume``; return what was done. Raises `OperationError`."""
        if command == "flush":
            return self.flush()
        self.pause(command == "pause")
        return "sending is paused" if self._uplink.paused else "sending goes on"

    def pause(self, paused: bool) -> None:
        """Stop sending, or resume it; messages are accepted either way."""
        self._uplink.paused = paused
        self._writer.write(lambda: self._outbox.set_meta(PAUSED, int(paused)))
        self._uplink.wake()
        self._notices.health_changed()

    def flush(self) -> str:
        """Try everything now; return the description for the result. Raises `OperationError` while paused."""
        if self._uplink.paused:
            raise OperationError(WHILE_PAUSED)
        self._filtering.release()
        self._uplink.flush()
        self._notices.health_changed()
        return "everything is tried now"

    def purge(self, done: Callable[[int], None]) -> None:
        """Drop every message that was accepted so far and is not in flight, each with its result."""
        # Messages that are accepted during the purge stay: they did not exist when it was asked for.
        upto = self._outbox.last_seq()
        self._purge_from(0, upto, self._filtering.purge(), done)

    def _purge_from(self, after: int, upto: int, number: int, done: Callable[[int], None]) -> None:
        if self._writer.busy(partial(self._purge_from, after, upto, number, done)):
            return
        page = self._outbox.page(after, upto, purge_batch(self._writer))
        if not page:
            self._notices.health_changed()
            done(number)
            return
        victims = [queued for queued in page if queued.seq not in self._outbox.in_flight]
        # Marked as in flight, so that the uplink neither sends nor expires them before the commit.
        self._outbox.in_flight.update(queued.seq for queued in victims)

        def dropped(results: list[Result]) -> None:
            self._outbox.in_flight.difference_update(queued.seq for queued in victims)
            for result in results:
                self._results.notify(result)
            # One page after the other, so that a purge of a million messages neither blocks the loop nor one
            # commit.
            self._purge_from(page[-1].seq, upto, number + len(results), done)

        self._writer.write(lambda: [drop(self._outbox, self._results, queued) for queued in victims], dropped)

    def _finish(self, accepted: AcceptedCommand, state: State, description: str) -> None:
        of = self._results.of_command
        result = of(accepted.id, accepted.channel, state, description, accepted.queued_at)

        def record() -> None:
            self._outbox.accepted.drop(accepted)
            self._results.record(result, idempotent=accepted.idempotent, reply=accepted.reply)

        self._writer.write(record, lambda _: self._results.notify(result))


def purge_batch(writer: Writer) -> int:
    """Return the number of messages that one transaction purges."""
    return PURGE_BATCH_FULL if writer.full else PURGE_BATCH


def drop(outbox: Outbox, results: Results, queued: Queued) -> Result:
    """Purge one message; runs inside the transaction."""
    reading = Reading(Kind.REFUSED, "purged from the queue")
    result = results.of_queued(queued, State.DROPPED, reading, attempts=queued.attempts)
    result = result.bears(outbox.remove(queued))
    outbox.escalations.forget(queued.seq)
    results.record(result, idempotent=queued.idempotent, reply=queued.reply)
    return result
