"""Commands from afar are carried out by the parts that own what they change, and answered with the outcome.

A command is on disk from its acceptance to its answer. One that a stop or a crash interrupts is answered at
the next start, where it came by SMS, and is not carried out again. What it has changed is on disk before its
outcome is told; a stop between the two is told as an error that says so. What takes this process down
(`Done.then`) leaves its answer for the next start.

The answer of a connection is sent before the link goes (`Order.early`); by SMS it always tells the outcome.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple, Protocol

from bridge.errors import BridgeError, OperationError
from bridge.flow.notices import Notices
from bridge.flow.remote.gate import Call, Caller, RemoteGate
from bridge.store.journal import Journal
from bridge.store.remote import Pending, RemoteStore

log = logging.getLogger("remote")

LONGEST_ANSWER = 2100
"""Characters of an answer at most: the 2 kB of `log`, and the words before them."""

MAX_IN_FLIGHT = 16
"""Commands that are carried out at a time at most. One about the link may take minutes."""

STOPPED = "the bridge stopped before it could tell the outcome; look at status before you repeat it"

PRIVATE = ("status", "log", "get", "set", "unset")
"""Commands whose answers are for the desk alone: events and logs do not repeat them."""


class Done(NamedTuple):
    """The outcome of a command that was carried out."""

    text: str
    then: Callable[[], None] | None = None
    """What ends this process, or the box, after the answer."""
    after: str = ""
    """The outcome that the next start tells, where ``then`` comes before the answer."""


class Order(NamedTuple):
    """How a command is carried out."""

    carry_out: Callable[[str], Awaitable[Done]]
    """Takes the argument; raises `BridgeError` where it cannot be done."""
    early: Callable[[str], str] | None = None
    """For what takes the link: takes the argument; returns what a connection is told before, or raises
    `BridgeError`."""
    after: str | None = None
    """For what ends the box while it is carried out: the outcome that the next start tells by SMS."""


class Texts(Protocol):
    """The sender of answers by SMS."""

    def send(self, to: str, line: str, within: Callable[[], None]) -> None:
        """Queue ``line`` as an SMS to ``to``, and run ``within`` in the same transaction."""


class RemoteCommands:
    """Carries out what the gate has accepted; lives in the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        store: RemoteStore,
        gate: RemoteGate,
        orders: Mapping[str, Order],
        texts: Texts,
        notices: Notices,
    ) -> None:
        self._writer = journal.writer
        self._new_boot = journal.outbox.times.new_boot
        """Whether the box has booted since the earlier run."""
        self._store = store
        self._gate = gate
        self._orders = orders
        self._texts = texts
        self._notices = notices
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Carry out commands until cancelled; those of an earlier run get their answer first."""
        for pending in self._store.left():
            self._finish_left(pending)
        try:
            while True:
                self._begin(await self._gate.accepted.get())
        finally:
            for task in self._tasks:
                task.cancel()

    def _finish_left(self, pending: Pending) -> None:
        done = pending.after if self._is_true(pending) else None
        text = done or STOPPED
        self._notify(pending, good=done is not None, text=text)
        self._reply(pending, f"{'error' if done is None else 'ok'} {pending.name.partition(' ')[0]}: {text}")

    def _is_true(self, pending: Pending) -> bool:
        """Whether this start is what ``after`` says: after a restart of the box it is in another boot."""
        order = self._orders.get(pending.name)
        return self._new_boot or order is None or order.after is None

    def _begin(self, call: Call) -> None:
        task = asyncio.ensure_future(self._run(call))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            raise error

    async def _run(self, call: Call) -> None:
        signed, pending, caller = call
        order = self._orders[signed.command]
        try:
            if len(self._tasks) > MAX_IN_FLIGHT:
                raise OperationError(f"{MAX_IN_FLIGHT} commands are carried out already")
            if order.early and caller:
                await _answered(caller, f"ok {signed.command}: {order.early(signed.argument)}")
                caller = None
            if order.after and pending.door == "sms":
                await self._write(partial(self._store.keep, pending._replace(after=order.after)))
            done = await order.carry_out(signed.argument)
            await self._write(lambda: None)  # a crash must not undo what is told as done
        except BridgeError as exc:
            self._notify(pending, good=False, text=str(exc))
            await self._answer(call, caller, f"error {signed.command}: {exc}")
            return
        if pending.door != "sms" or (done.then is None and order.after is None):
            self._notify(pending, good=True, text=done.text)  # else the next start tells it
        if done.then:
            await self._end_with(call, done, done.then)
        elif order.after is None or pending.door != "sms":
            await self._answer(call, caller, f"ok {signed.command}: {done.text}")

    async def _end_with(self, call: Call, done: Done, then: Callable[[], None]) -> None:
        """Answer a connection now, an SMS after the next start; then do what ends this process."""
        if call.caller:
            await self._answer(call, call.caller, f"ok {call.signed.command}: {done.text}")
        else:
            await self._write(partial(self._store.keep, call.pending._replace(after=done.after)))
        try:
            then()
        except BridgeError as exc:
            log.error("%s: %s", call.signed.command, exc)
            self._reply(call.pending, f"error {call.signed.command}: {exc}")

    async def _answer(self, call: Call, caller: Caller | None, line: str) -> None:
        if call.caller is None:
            self._reply(call.pending, line)
            return
        await self._write(partial(self._store.drop, call.pending.counter))
        if caller:
            await _answered(caller, line)

    def _reply(self, pending: Pending, line: str) -> None:
        """Answer by SMS, where the command came by one; forget it in the same transaction."""
        drop = partial(self._store.drop, pending.counter)
        if pending.door == "sms":
            self._texts.send(pending.peer, _one_line(line), drop)
        else:
            self._writer.write(drop)

    async def _write(self, operation: Callable[[], None]) -> None:
        """Run ``operation`` in a transaction, and wait for its commit."""
        committed = asyncio.Event()
        self._writer.write(operation, lambda _: committed.set())
        await committed.wait()

    def _notify(self, pending: Pending, *, good: bool, text: str) -> None:
        outcome = "ok" if good else "error"
        shown = outcome if pending.name.partition(" ")[0] in PRIVATE else f"{outcome}: {text}"
        log.info("%s from %s by %s: %s", pending.name, pending.peer, pending.door, shown)
        self._notices.event(
            "remote.command",
            door=pending.door,
            peer=pending.peer,
            command=pending.name,
            outcome=outcome,
            description=shown.partition(": ")[2] or None,
        )


async def _answered(caller: Caller, line: str) -> None:
    """Answer a connection, and wait until the peer has the answer or can no longer get it."""
    sent = asyncio.Event()
    caller.answer(_one_line(line), sent.set)
    await sent.wait()


def _one_line(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line)[:LONGEST_ANSWER]
