"""The gate: which commands from afar are accepted, whatever door they come by.

::

    port 4010 ─┐            ┌─ wrong ──> refused: no answer, no write
               ├─> judge ──┤
    SMS ───────┘            └─ right ──> counter durable ──> accepted; refused if not in remote.allow

The counter is used up in memory at once, so that a line that comes twice in one turn counts once, and on the
disk before anything is carried out, so that it counts once over a crash.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from bridge.core.log_throttle import HourlyThrottle
from bridge.core.messages import Traffic
from bridge.flow.notices import Notices
from bridge.protocol import remote
from bridge.protocol.remote import Refusal, Signed
from bridge.store.journal import Journal
from bridge.store.remote import Pending, RemoteStore

log = logging.getLogger("remote")

REFUSED_SPEND_EVERY = 600.0
"""Seconds over which the traffic of refused commands is added up, so that a flood of them does not wear the
card. At most this much of it is missing in the figures after a power cut."""


class Policy(NamedTuple):
    """The gate's part of the configuration. A reload replaces it whole."""

    key: str | None = None
    """None: there are no commands, and nothing is taken for one."""
    senders: frozenset[str] = frozenset()
    allow: frozenset[str] = frozenset()


class Caller(Protocol):
    """The peer of a command on a connection."""

    def answer(self, line: str, sent: Callable[[], None]) -> None:
        """Send ``line`` and close; ``sent`` is called once the peer has it, or can no longer get it."""

    def refuse(self) -> None:
        """Close without an answer."""


class Call(NamedTuple):
    """An accepted command: durable, allowed, and not carried out yet."""

    signed: Signed
    pending: Pending
    caller: Caller | None
    """The connection that waits for the answer; None: it goes as an SMS."""


class RemoteGate:
    """Judges commands; lives in the event loop's thread."""

    def __init__(self, journal: Journal, store: RemoteStore, policy: Policy, notices: Notices) -> None:
        self.policy = policy
        self.accepted = asyncio.Queue[Call]()
        self._writer, self._time, self._outbox = journal.writer, journal.time, journal.outbox
        self._store = store
        self._notices = notices
        self._refusals = HourlyThrottle()
        self._refused = dict[bool, Traffic]()
        """Traffic that is not written down yet, by whether it went over the modem's own sockets."""

    @property
    def listening(self) -> bool:
        """Whether there are commands."""
        return self.policy.key is not None

    def is_command(self, data: bytes) -> bool:
        """Return whether ``data`` is a command, right or wrong, and no message."""
        return self.listening and remote.is_command(data)

    # -- the doors ---------------------------------------------------------------------------------------

    def called(self, data: bytes, peer: str, caller: Caller) -> None:
        """Take a command of a connection: its bytes, with the line end if there is one."""
        line, end, rest = data.partition(b"\n")
        found = Refusal.MALFORMED if rest else self._judge(line.removesuffix(b"\r") if end else line)
        if isinstance(found, Refusal):
            self._refuse(found, "tcp", peer)
            caller.refuse()
            return
        self._accept(found, "tcp", peer, caller, lambda: None)

    def heard(self, text: bytes, sender: str, taken: Callable[[], None]) -> None:
        """Take a command of an SMS; ``taken`` is called when the modem may delete it."""
        found = self._judge(text.rstrip()) if sender in self.policy.senders else Refusal.SENDER
        if isinstance(found, Refusal):
            self._refuse(found, "sms", sender)
            taken()
            return
        self._accept(found, "sms", sender, None, taken)

    def datagram(self, peer: str) -> None:
        """Refuse a command that came as a datagram, whose sender anybody can fake."""
        self._refuse(Refusal.DATAGRAM, "udp", peer)

    # -- the decision ------------------------------------------------------------------------------------

    def _judge(self, line: bytes) -> Signed | Refusal:
        found = remote.read(line, self.policy.key or "")
        if isinstance(found, Refusal):
            return found
        wall = self._time.now().wall if self._time.knows() else None
        return remote.check_counter(found.counter, self._store.last, wall) or found

    def _accept(
        self, signed: Signed, door: str, peer: str, caller: Caller | None, taken: Callable[[], None]
    ) -> None:
        """Use up the counter; then pass the command on, if it is allowed."""
        pending = Pending(signed.counter, name_of(signed), door, peer)
        allowed = signed.command in self.policy.allow
        self._store.claim(signed.counter)

        def durable() -> None:
            taken()
            if allowed:
                log.info("command from %s by %s: %s", peer, door, pending.name)
                self.accepted.put_nowait(Call(signed, pending, caller))
                return
            self._refuse(Refusal.NOT_ALLOWED, door, peer, pending.name)
            if caller:
                caller.refuse()

        self._writer.write(
            partial(self._store.accept, signed.counter, pending if allowed else None),
            lambda _: self._store.keep_beside(signed.counter, durable),
        )

    def _refuse(self, why: Refusal, door: str, peer: str, name: str | None = None) -> None:
        if number := self._refusals.due(self._time.now().mono):
            log.warning(
                "refused a command from %s by %s: %s (%d within the hour)", peer, door, why.value, number
            )
            self._notices.event(
                "remote.command",
                door=door,
                peer=peer,
                command=name,
                outcome="refused",
                description=why.value,
                refused=number,
            )

    # -- traffic -----------------------------------------------------------------------------------------

    def count_refused(self, traffic: Traffic, *, over_modem: bool = False) -> None:
        """Count the traffic of a refused command; it is written down seldom, and at the end.

        ``over_modem``: whether it went over the modem's own sockets.
        """
        if not self._refused and traffic != (0, 0):
            self._time.call_later(REFUSED_SPEND_EVERY, self.spend)
        self._refused[over_modem] = self._refused.get(over_modem, Traffic()).plus(traffic)

    def spend(self) -> None:
        """Write down the traffic of refused commands."""
        refused, self._refused = self._refused, {}
        if not refused:
            return

        def spend() -> None:
            for over_modem, traffic in refused.items():
                # The ledger is looked up at the time of writing, because a rollback replaces it.
                self._outbox.ledger.spend(traffic, over_modem=over_modem)

        self._writer.write(spend)


def name_of(signed: Signed) -> str:
    """Return the command with the key that it is about, for logs and events: a value may be private."""
    if signed.command not in ("get", "set", "unset"):
        return signed.command
    key = signed.argument.partition("=")[0].partition(" ")[0]
    return f"{signed.command} {key[:64]}".strip()
