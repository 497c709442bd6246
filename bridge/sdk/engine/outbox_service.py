"""The outbox service: the outbox beside the script and the uplink that empties it, for waiting calls.

The message flow is the daemon's (`bridge.assemblies.message_flow`). Two parts differ: calls wait for the
outcome (`bridge.sdk.engine.waiting`), and each sender has its own path (`bridge.sdk.engine.device_registry`).
A message is first made durable, then sent. If its call ends before the delivery, the uplink tries it again by
its own rules until it is delivered, in this run of the script or a later one.
"""

import contextlib
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bridge.adapters.ip.resolver import Resolver
from bridge.adapters.ip.tcp import TcpTransport
from bridge.adapters.system import holders
from bridge.adapters.system.loop_time import LoopTime
from bridge.adapters.system.threads import Worker
from bridge.assemblies.message_flow import MessageFlow
from bridge.core.destination import Condition
from bridge.core.messages import Lane, Message, Priority
from bridge.errors import BridgeError, StoreInUse
from bridge.sdk.engine.calls import Call, Outcomes, Sender, Wanted
from bridge.sdk.engine.device_registry import DevicePaths, DeviceRegistry
from bridge.sdk.engine.errors import HologramError
from bridge.sdk.engine.response import ERR_UNKNOWN, Response, kept, of_code
from bridge.sdk.engine.runtime import at_end, runtime
from bridge.sdk.engine.waiting import Calls
from bridge.store.database import translate
from bridge.store.journal import Journal
from bridge.store.outbox import Acceptance, Limits, Verdict

log = logging.getLogger("Hologram")

SLOTS = 4
"""Most messages in flight to one destination."""

GRACE = 0.5
"""Seconds before messages of an earlier run are sent, for the script to set host and credentials."""

LIMITS = Limits(max_age=None)
"""Limits without an age: no message expires."""


class OutboxService:
    """One outbox and its message flow; all methods but those for the clouds run in the loop's thread."""

    def __init__(self, path: Path) -> None:
        """Open the store at ``path``; raises `HologramError` if another process uses it."""
        self.path = path
        self._runtime = runtime()
        self._senders = registry_at(path)
        self._users: set[Sender] = set()
        self._calls = Calls(
            self._senders, try_again=lambda: self._runtime.loop.call_soon(self._uplink.link_back)
        )
        self._started = False
        try:
            self._runtime.call(self._open)
        except StoreInUse:
            who = holders.locking(path.with_name(path.name + ".lock")) or "another program"
            raise HologramError(
                f"the outbox {path} is used by {who}: run one script on it at a time, or give this one its "
                "own by outbox=… or HOLOGRAM_SDK_OUTBOX"
            ) from None
        except (BridgeError, sqlite3.Error) as exc:
            ours = translate(exc, path) if isinstance(exc, sqlite3.Error) else exc
            raise HologramError(f"{ours}; another place is set by outbox=… or HOLOGRAM_SDK_OUTBOX") from exc
        self._runtime.on_failure.append(self._broken)

    @property
    def usable(self) -> bool:
        """Whether the service works; it does not after a failure, nor in a forked child."""
        return self._runtime.usable

    def _open(self) -> None:
        loop = self._runtime.loop
        self._journal = Journal.open(self.path, LIMITS, LoopTime(loop), worker=Worker(loop, "commit").run)
        self._outbox, self._writer = self._journal.outbox, self._journal.writer
        self._writer.on_full = self._full
        self._paths = DevicePaths(
            self._senders,
            TcpTransport(loop, Resolver(loop)),
            timeout=self._calls.timeout,
            judge=self._calls.judge,
        )
        outcomes = Outcomes(self._journal, self._calls.ended)
        self._flow = MessageFlow(self._journal, outcomes, self._paths, self._calls, slots=SLOTS)
        self._uplink = self._flow.uplink
        if self._outbox.ledger.messages:
            log.info("%d messages of an earlier run are still to be sent", self._outbox.ledger.messages)
        self._starting = loop.call_later(GRACE, self._start)

    def _start(self) -> None:
        """Begin to send the messages of an earlier run."""
        if not self._started:
            self._started = True
            self._flow.start()
            self._log_unowned()

    def _log_unowned(self) -> None:
        for endpoint in self._outbox.endpoints():
            if self._senders.behind(endpoint) is None:
                log.warning(
                    "messages of an earlier run wait for their device: they go when the script has a "
                    "HologramCloud with the credentials they were sent with (%s)",
                    self.path,
                )
                return

    # -- for the clouds, in any thread -------------------------------------------------------------------

    def attach(self, sender: Sender) -> None:
        """``sender`` uses it from now on: what an earlier run has left for it may go."""
        self._users.add(sender)
        self._senders.join(sender)
        self._runtime.soon(self._uplink.wake)

    def detach(self, sender: Sender) -> bool:
        """Remove ``sender``; return whether it was the last one."""
        self._users.discard(sender)
        return not self._users

    def send(
        self, sender: Sender, wanted: Wanted, timeout: float, on_event: Callable[[str], None]
    ) -> Response:
        """Make the message durable, try to deliver it, and return the outcome.

        Raises `HologramError` if it cannot be stored or can never be sent.
        """
        endpoint = self._senders.endpoint(sender, wanted.channel, wanted.host, wanted.port)
        lane = Lane(endpoint, wanted.names, Priority.NORMAL)
        call = Call(sender, lane, timeout, len(wanted.payload))
        tries = None if wanted.keeps else 1
        message = Message(
            secrets.token_hex(8), idempotent=False, lane=lane, payload=wanted.payload, max_attempts=tries
        )
        self._runtime.soon(self._take, message, call)
        try:
            response = call.wait(on_event)
        finally:
            self._runtime.soon(self._calls.forget, message.id)
        if response is None:
            late = "no outcome in time"
            return kept(late) if wanted.keeps else of_code(ERR_UNKNOWN, late)
        return response

    def drain(self, seconds: float) -> bool:
        """Send all messages; return whether all were sent, before an attempt failed or ``seconds`` passed."""
        failures = self._runtime.call(self._try_everything)
        until = time.monotonic() + seconds
        pause = threading.Event()
        while True:
            ready, failed = self._runtime.call(self._left)
            if not ready:
                return self.waiting == 0
            if failed != failures or time.monotonic() >= until or not self._runtime.usable:
                return False
            pause.wait(0.01)

    def _try_everything(self) -> int:
        self._start()
        self._uplink.flush()
        return self._calls.failures

    def _network_back(self) -> None:
        self._start()
        self._uplink.link_back()

    def _left(self) -> tuple[bool, int]:
        """Return whether a message is left that can be sent, and the number of failed attempts."""
        return any(self._paths.ready(endpoint) for endpoint in self._outbox.endpoints()), self._calls.failures

    def network_changed(self) -> None:
        """Act on a change of the network: messages can be sent, or must wait."""
        if self._runtime.usable:
            self._runtime.soon(self._network_back)

    @property
    def waiting(self) -> int:
        """Number of messages that are not delivered yet."""
        return self._runtime.call(lambda: self._outbox.ledger.messages)

    # -- in ----------------------------------------------------------------------------------------------

    def _take(self, message: Message, call: Call) -> None:
        if self._writer.full:
            self._calls.fail(message.id, call, f"the disk is full: the message is not taken ({self.path})")
            return
        self._calls.begin(message.id, call)
        self._writer.append(
            partial(self._outbox.accept, message),
            partial(self._taken, message, call),
            size=len(message.payload),
        )

    def _taken(self, message: Message, call: Call, acceptance: Acceptance) -> None:
        call.taken = True
        if acceptance.verdict is not Verdict.STORED:
            text = f"the outbox {self.path} is full: {self._outbox.ledger.messages}"
            self._calls.fail(message.id, call, text)
            return
        self._start()
        endpoint = message.lane.endpoint
        self._uplink.wake(endpoint)
        if not self._paths.ready(endpoint):
            self._calls.keep(lambda other: other is call, kept("the network is down"))
        elif self._outbox.next_wake() or self._waits(call.sender):
            self._uplink.link_back()  # the caller wants an attempt now, in spite of earlier delays

    def _waits(self, sender: Sender) -> bool:
        """Whether a destination of ``sender`` waits, under its present or earlier credentials."""
        return any(
            destination.condition is not Condition.UP and self._senders.behind(endpoint) is sender
            for endpoint, destination in self._uplink.conditions.items()
        )

    # -- failures ----------------------------------------------------------------------------------------

    def _full(self, full: bool) -> None:
        log.error("the disk is full: no message is taken" if full else "there is room on the disk again")
        if full:
            self._calls.fail_untaken(
                f"the disk is full: the message waits for room in memory alone ({self.path})"
            )

    def _broken(self, error: BaseException) -> None:
        """Close the store after a failure in the loop; the next send opens it again."""
        self._calls.broken(error)
        self._journal.failure(error)
        with contextlib.suppress(sqlite3.Error):  # the store itself may have failed
            self._journal.close(reserve=False)

    # -- the end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Wait for the messages in flight, and close the store, which keeps the others."""
        if not self._runtime.usable:
            return
        self._runtime.wait(self._shut())

    async def _shut(self) -> None:
        self._starting.cancel()  # it is still pending if no message was sent
        await self._flow.close()
        self._journal.close()


_services: dict[Path, OutboxService] = {}
_senders: dict[Path, DeviceRegistry] = {}
_lock = threading.RLock()


def service_at(path: Path) -> OutboxService:
    """Return this process's service on ``path``; open it if necessary."""
    path = path.absolute()
    with _lock:
        service = _services.get(path)
        if service is None or not service.usable:
            service = _services[path] = OutboxService(path)
            at_end(partial(close, path))
        return service


def registry_at(path: Path) -> DeviceRegistry:
    """Return the senders of the outbox at ``path`` in this process, without opening the outbox."""
    with _lock:
        return _senders.setdefault(path.absolute(), DeviceRegistry())


def close(path: Path) -> None:
    """Close the service on ``path``, if there is one."""
    with _lock:
        service = _services.pop(path.absolute(), None)
    if service is not None:
        service.close()
