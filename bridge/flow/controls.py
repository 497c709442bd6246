"""Controls: the commands that are about the bridge itself, from MQTT and from the control socket."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from bridge.core.delivery import Delivery
from bridge.core.messages import Channel, Now, Queued, Reply, Result, State
from bridge.core.retry import Kind, Reading
from bridge.errors import BridgeError, InvalidCommand
from bridge.flow.intake import Acknowledger, id_source, leave_out
from bridge.flow.names import Names
from bridge.flow.results import Results
from bridge.flow.uplink import Uplink
from bridge.protocol import commands
from bridge.store.outbox import Outbox
from bridge.store.writer import Writer

log = logging.getLogger("control")

PURGE_BATCH = 500
"""Messages that one transaction purges, so that a million of them do not stop everything else."""

PAUSED = "paused"
"""Key under which the pause switch is kept: it holds across restarts."""


class Controls:
    """Carries out control commands; each ends in a result."""

    def __init__(
        self,
        outbox: Outbox,
        writer: Writer,
        results: Results,
        uplink: Uplink,
        names: Names,
        clock: Callable[[], Now],
        *,
        on_results: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._writer = writer
        self._results = results
        self._uplink = uplink
        self._names = names
        self._clock = clock
        self._on_results = on_results
        self._on_change = on_change
        self._new_id = id_source()
        self.network: Callable[[str, float | None], Coroutine[Any, Any, str]] | None = None
        """Carries out a command about the network and returns what was done; None: none is managed."""
        self._orders: set[asyncio.Future[str]] = set()
        uplink.paused = bool(outbox.meta(PAUSED))

    def received(self, delivery: Delivery, session: Acknowledger) -> None:
        """Take one control command from MQTT."""
        if delivery.retain:
            leave_out(delivery, session)
            return
        topic = self._names.below(delivery.topic)
        queued_at = self._clock().wall
        try:
            command = commands.parse(topic, delivery.payload, delivery.properties, prefix=self._names.prefix)
            if not isinstance(command, commands.Control):
                raise InvalidCommand("topic", topic, "it is not a control command")
        except InvalidCommand as exc:
            log.warning("rejected a command on %s: %s", delivery.topic, exc.reason)
            claimed = commands.claimed_id(topic, delivery.payload, delivery.properties)
            result = self._result(
                claimed or self._new_id(), commands.channel_of(topic), State.REJECTED, str(exc), queued_at
            )
            reply = commands.claimed_reply(delivery.properties, self._names.prefix)
            self._finish(result, reply, chosen=False, done=lambda: session.ack(delivery))
            return
        self._carry_out(command, queued_at, lambda: session.ack(delivery))

    def _carry_out(self, command: commands.Control, queued_at: float, done: Callable[[], None]) -> None:
        options = command.options
        name = options.id or self._new_id()

        def end(state: State, description: str) -> None:
            result = self._result(name, command.channel, state, description, queued_at)
            self._finish(result, options.reply, chosen=options.id is not None, done=done)

        def begin(new: bool) -> None:  # the writer's callback
            if new:
                self._run(command, end)
            else:
                done()
                self._on_results()

        self._writer.settle(partial(self._claim, options.id, options.reply), begin)

    def _claim(self, chosen: str | None, reply: Reply | None) -> bool:
        """Whether this command is new; of one whose id was seen before the result is told again."""
        if chosen is None or self._outbox.choose(chosen):
            return True
        known = self._outbox.chosen_result(chosen)
        if known is not None:
            self._results.repeat(known, reply)
        return False

    def _run(self, command: commands.Control, end: Callable[[State, str], None]) -> None:
        log.info("%s command: %s", command.channel, command.command)
        if command.channel is Channel.NETWORK:
            self._run_network(command, end)
            return
        if command.command == "purge":
            self.purge(lambda number: end(State.DONE, f"purged {number} messages"))
        elif command.command == "flush":
            self._uplink.flush()
            self._on_change()
            end(State.DONE, "everything is tried now")
        else:
            self.pause(command.command == "pause")
            end(State.DONE, "sending is paused" if self._uplink.paused else "sending goes on")

    def _run_network(self, command: commands.Control, end: Callable[[State, str], None]) -> None:
        if self.network is None:
            end(State.FAILED, 'no network interface is managed here (network.interface is "")')
            return
        order = asyncio.ensure_future(self.network(command.command, command.timeout))
        self._orders.add(order)

        def ended(_: object) -> None:
            self._orders.discard(order)
            if order.cancelled():
                end(State.FAILED, "the bridge stopped meanwhile")
            elif isinstance(error := order.exception(), BridgeError):
                end(State.FAILED, str(error))
            elif error:
                raise error
            else:
                end(State.DONE, order.result())

        order.add_done_callback(ended)

    def stop(self) -> None:
        """Give up the commands about the network that are under way; each gets its result."""
        for order in self._orders:
            order.cancel()

    def pause(self, paused: bool) -> None:  # the switch itself
        """Stop or go on sending; messages are taken in all the while."""
        self._uplink.paused = paused
        self._writer.settle(lambda: self._outbox.set_meta(PAUSED, int(paused)))
        self._uplink.wake()
        self._on_change()

    def flush(self) -> None:
        """Try everything now."""
        self._uplink.flush()

    def purge(self, done: Callable[[int], None]) -> None:
        """Drop every message that was accepted so far and is not under way, each with its result."""
        self._purge_from(0, self._outbox.last_seq(), 0, done)

    def _purge_from(self, after: int, upto: int, number: int, done: Callable[[int], None]) -> None:
        if self._writer.busy(partial(self._purge_from, after, upto, number, done)):
            return
        page = self._outbox.page(after, upto, PURGE_BATCH)
        if not page:
            self._on_change()
            done(number)
            return
        victims = [queued for queued in page if queued.seq not in self._outbox.under_way]
        self._outbox.under_way.update(queued.seq for queued in victims)

        def operation() -> list[Result]:
            return [self._drop(queued) for queued in victims]

        def dropped(results: list[Result]) -> None:
            self._outbox.under_way.difference_update(queued.seq for queued in victims)
            for result in results:
                self._results.tell(result)
            self._purge_from(page[-1].seq, upto, number + len(results), done)

        self._writer.settle(operation, dropped)

    def _drop(self, queued: Queued) -> Result:
        return drop(self._outbox, self._results, queued)

    def _result(
        self, name: str, channel: Channel, state: State, description: str, queued_at: float
    ) -> Result:
        return Result(name, channel, state, description, queued_at, self._clock().wall)

    def _finish(self, result: Result, reply: Reply | None, *, chosen: bool, done: Callable[[], None]) -> None:
        def told(_: Any) -> None:
            done()
            self._results.tell(result)

        self._writer.settle(partial(self._results.record, result, chosen=chosen, reply=reply), told)


def drop(outbox: Outbox, results: Results, queued: Queued) -> Result:
    """Purge one message; runs inside the transaction."""
    reading = Reading(Kind.REFUSED, "purged from the queue")
    result = results.of_queued(queued, State.DROPPED, reading, attempts=queued.attempts)
    outbox.remove(queued)
    results.record(result, chosen=queued.chosen, reply=queued.reply)
    return result
