"""Network manager: brings the link up, keeps it up, and publishes its state.

One task drives the link (`run`): it compares what is wanted with what is, and dials, waits, or hangs up.
Every other method only changes what is wanted or records an event, and wakes the task. The link's life is
the table in `bridge.core.link`; the users' commands are in `bridge.flow.link.commands`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from bridge.core.link import LIFE, Code, Fault, Phase, Step, Verdict, judge
from bridge.core.modem import Link
from bridge.core.progress import Progress
from bridge.core.time import Time
from bridge.errors import BridgeError, LinkError, OperationError
from bridge.flow.link.connector import Connector
from bridge.flow.link.pacing import Attempts, Staleness
from bridge.flow.link.traffic import IDLE, Idleness, Traffic
from bridge.flow.link.waiting import Waiters
from bridge.flow.notices import Notices

log = logging.getLogger("network")

DIAL_TIMEOUT = 200.0
"""Seconds that an attempt may take; a SARA-R410 needs up to 122 [hologram-python 0.10]."""

ENDING = 5.0
"""Seconds that messages in flight get to finish before an existing link is hung up, because an interrupted
message is sent twice, and an SMS to the cloud is in doubt."""

LOOK = 30.0
"""Seconds between checks of a link that is up, and of messages that were put off for long."""

IDLE_LOOK = 1.0
"""Seconds between checks whether an on-demand link is idle."""


class Network:
    """Owns the link; lives in the event loop's thread."""

    def __init__(
        self,
        connector: Connector,
        traffic: Traffic,
        time: Time,
        notices: Notices,
        *,
        autoconnect: bool | str,
        on_change: Callable[[], None],
    ) -> None:
        """``autoconnect`` is True, False or ``on_demand``; ``on_change`` is called when the phase changes."""
        self.phase = Phase.DISCONNECTED
        self.since: float | None = None
        """Unix seconds at which the link came up."""
        self.failure: Fault | None = None
        """How the last attempt ended, while a link is wanted."""
        self._connector = connector
        self._traffic = traffic
        self._autoconnect = autoconnect
        self._wanted = autoconnect is True
        """Whether the link is wanted even if there is nothing to send."""
        self._on_demand = autoconnect == "on_demand"
        """Whether waiting messages bring the link up; False from `disconnect` until `connect`."""
        self._carries = False
        """Whether the link that is to be hung up still carries IP."""
        self._time = time
        self._on_change = on_change
        self._notices = notices
        self._attempts = Attempts(connector.kind, time.now)
        self._staleness = Staleness(time.now, traffic.unreached_since)
        self._idleness = Idleness(traffic, time.now)
        self._wake = asyncio.Event()
        self._waiters = Waiters()
        self._attempt: asyncio.Task[Link] | None = None
        self._evidence: Fault | None = None
        self._timeout: float | None = None
        self._turns = 0
        self._turning = False
        """Whether the driver is dialling or hanging up."""
        self._allowed = DIAL_TIMEOUT
        """Seconds that the last attempt may take."""
        self._holding = 0
        """Number of holders that forbid dialling."""
        self.downs = 0
        """Count of completed hang-ups, so that a waiter cannot miss one."""
        self._stopping = False

    @property
    def up(self) -> bool:
        """Whether the link carries IP."""
        return self.phase is Phase.CONNECTED

    @property
    def radio(self) -> bool:
        """Whether the radio is on, as far as it was commanded."""
        return self._connector.radio

    @property
    def link(self) -> Link | None:
        """The link while it is up."""
        return self._connector.link if self.up else None

    def verdict(self) -> Verdict:
        """Return what the status shows."""
        wanted = self.radio and (self._wanted or self._on_demand)
        return judge(self.phase, self._connector.fault(), self.failure if wanted else None)

    # -- events from outside -----------------------------------------------------------------------------

    def lost(self, reason: str) -> None:
        """Record that the link went down by itself."""
        if self.phase is not Phase.CONNECTED:
            return
        log.warning("the link is down: %s", reason)
        self.failure = Fault(Code.CLOUD_ERR_CONNECT, reason)
        self._attempts.broke()
        self._move(Step.LOST)
        self._notify_down(reason)

    def changed_facts(self) -> None:
        """Note changed facts of the modem; a fault that has gone is a reason to dial at once."""
        before, self._evidence = self._evidence, self._connector.fault()
        if before and not self._evidence:
            self._attempts.at_once()
            self._wake.set()
        elif self._evidence and self._evidence.code is Code.CLOUD_ERR_SIM and self.up:
            log.warning("hanging up: %s", self._evidence.text)
            self.hang_up()
            self._carries = False  # a link without its SIM carries nothing

    def wanted_now(self) -> None:
        """Note that a message waits for the link, which brings an on-demand link up."""
        if self._on_demand:
            self._wake.set()

    # -- what is wanted ----------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether the link is wanted even if there is nothing to send."""
        return self._wanted

    def want(self) -> None:
        """Want the link, and dial without a pause; raises `OperationError` while the radio is off."""
        if not self.radio:
            raise OperationError("the radio is off: radio_on first")
        self._wanted, self._on_demand = True, self._autoconnect == "on_demand"
        self._attempts.forget()
        self.failure = None

    def give_up(self) -> None:
        """Stop wanting the link until `want`; `hang_up` ends a link that is up."""
        self._wanted = self._on_demand = False
        self.failure = None
        self._connector.failed(0)

    def hang_up(self, reason: str = "it was hung up", *, unknown: bool = False) -> None:
        """Take the link down, or cancel the attempt; a link that is still wanted is dialled again.

        With ``unknown`` the connector is asked even if no link is known, because an earlier run may have left
        one.
        """
        if self._attempt:
            self._attempt.cancel()
        unknown = unknown and self.phase is Phase.DISCONNECTED and not self._stopping
        if unknown or self.phase in (Phase.CONNECTING, Phase.CONNECTED):
            self._carries = was_up = self.up
            self._move(Step.HANG_UP)
            if was_up:
                self._notify_down(reason)
        self._wake.set()
        self._waiters.notify()

    @contextlib.contextmanager
    def trying(self, timeout: float | None) -> Iterator[None]:
        """Dial at once; an attempt that begins inside the block may take ``timeout`` seconds."""
        if self.phase is not Phase.CONNECTING:  # otherwise the timeout is for the attempt in flight
            self._timeout = timeout
        self._wake.set()
        try:
            yield
        finally:
            self._timeout = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Forbid dialling inside the block; several holders may do so at once."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
            self._attempts.at_once()
            self._wake.set()
            self._waiters.notify()
            self._on_change()

    async def order(self, name: str) -> str:
        """Give the modem a command, while the link is down and `held`; return what was done."""
        return await self._connector.order(name)

    async def settled(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``condition`` holds; return whether it did within ``seconds``."""
        return await self._waiters.until(condition, seconds)

    def progress(self) -> tuple[Progress, ...]:
        """Return the driver's progress, for the watchdog."""
        return (Progress("network", self._turns, self._turning, self._allowed),)

    # -- the driver --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drive the link until cancelled."""
        while True:
            self._wake.clear()
            self._turning = True
            await self._turn()
            self._turning = False
            self._turns += 1
            await self._rest(self._pause())

    async def _rest(self, seconds: float | None) -> None:
        """Wait until something wakes the driver, or for ``seconds``."""
        if seconds is None:
            await self._wake.wait()
            return
        timer = self._time.call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    async def _turn(self) -> None:
        if self.phase is Phase.DISCONNECTING:
            await self._hang_up()
        elif self.phase is Phase.DISCONNECTED and self._should_dial():
            await self._dial()
        elif self.up and self._on_demand and self._idleness.look():
            log.info("hanging up: nothing was sent for %g s", IDLE)
            self._wanted = False  # a `connect` given while the link was up is fulfilled too
            self.hang_up()
        elif self.up and self._staleness.look():
            self.lost("nothing was reached over it for a long time; it is dialled again")
        elif self.up and self._connector.may_be_better(not self._traffic.in_flight()):
            log.info("hanging up: a better link is tried")
            self.hang_up("a better link is tried")

    async def _hang_up(self) -> None:
        carries, self._carries = self._carries, False
        if carries:
            await self._let_end()
        try:
            await self._connector.disconnect()
        except BridgeError as exc:
            # Nothing more can be done here; a leftover shows at the next attempt.
            log.warning("hanging up: %s", exc)
        if self.phase is Phase.DISCONNECTING:  # `stop` may have moved the phase already
            self.downs += 1
            self._move(Step.DOWN)

    async def _let_end(self) -> None:
        """Let messages in flight finish. None begins meanwhile, because the link no longer counts as up."""
        over = asyncio.Event()
        timer = self._time.call_later(ENDING, over.set)
        try:
            while self._traffic.in_flight() and self._connector.link is not None and not over.is_set():
                await self._time.sleep(0.05)
        finally:
            timer.cancel()

    def _should_dial(self) -> bool:
        if not self.radio or self._holding or self._stopping or self._attempts.wait:
            return False
        return self._wanted or (self._on_demand and self._traffic.pending())

    def _pause(self) -> float | None:
        """Return the seconds until the driver's next check; None: until it is woken."""
        if self.phase is Phase.DISCONNECTING:
            return 0.0
        if self._stopping:
            return None
        if self.up:
            return IDLE_LOOK if self._on_demand else LOOK
        if not self.radio or self._holding:
            return None
        if self._wanted:
            return self._attempts.wait
        return (self._attempts.wait or LOOK) if self._on_demand else None

    async def _dial(self) -> None:
        self._move(Step.DIAL)
        timeout, self._timeout = self._timeout or DIAL_TIMEOUT, None
        self._allowed = timeout
        attempt = asyncio.get_running_loop().create_task(self._connector.connect(timeout))
        self._attempt = attempt
        try:
            await asyncio.wait({attempt})
        except asyncio.CancelledError:
            attempt.cancel()
            await asyncio.wait({attempt})
            raise
        finally:
            self._attempt = None
        self._dialled(attempt)

    def _dialled(self, attempt: asyncio.Task[Link]) -> None:
        if self.phase is not Phase.CONNECTING:  # it was cancelled meanwhile
            if not attempt.cancelled() and attempt.exception():
                log.info("the attempt was cancelled: %s", attempt.exception())
            return
        if attempt.cancelled():
            self._move(Step.FAILED)
            return
        error = attempt.exception()
        if error is None and self._connector.link is None:
            # It dropped before `connect` returned: hanging up releases what it acquired (the serial port).
            self._fail(LinkError("the link broke as soon as it was up"), Step.HANG_UP)
        elif error is None:
            self._came_up(attempt.result())
        elif isinstance(error, BridgeError):
            self._fail(error, Step.FAILED)
        else:
            raise error

    def _came_up(self, link: Link) -> None:
        self._attempts.came_up()
        self._staleness.came_up()
        self._idleness.came_up()
        self.failure = None
        if self._on_demand:  # `connect` is fulfilled
            self._wanted = False
            self._traffic.send_batches()
        self.since = self._time.now().wall
        self._move(Step.UP)
        where = {"interface": link.interface, "local_ip": link.local_ip}
        log.info("the link is up: %s, address %s", link.interface, link.local_ip)
        self._notices.event("network.connected", **where)
        self._notices.event(f"{self._connector.kind}.connected", **where)
        self._notices.link_up()

    def _fail(self, error: BridgeError, step: Step) -> None:
        evidence = self._connector.fault()
        code = getattr(error, "status", None) or (evidence.code if evidence else Code.CLOUD_ERR_CONNECT)
        self.failure = Fault(Code(code), str(error))
        pause = self._attempts.failed(waited=evidence is None and code != Code.CLOUD_ERR_CONNECT)
        failures = self._attempts.failures
        log.warning("no link (attempt %d): %s; tried again in %.0f s", failures, error, pause)
        self._move(step)
        self._connector.failed(failures)

    # -- notifications -----------------------------------------------------------------------------------

    def _notify_down(self, reason: str) -> None:
        self.since = None
        self._notices.event("network.disconnected", reason=reason)
        self._notices.event(f"{self._connector.kind}.disconnected", reason=reason)

    def _move(self, step: Step) -> None:
        before = self.phase
        self.phase = LIFE[before, step]
        log.debug("link: %s, %s -> %s", before, step, self.phase)
        self._on_change()
        self._wake.set()
        self._waiters.notify()

    async def stop(self) -> None:
        """Release the link at the end of the process; nothing is dialled any more."""
        self._stopping = True
        if self._attempt:
            self._attempt.cancel()
            await asyncio.wait({self._attempt})
        try:
            await self._connector.close()
        except BridgeError as exc:
            log.warning("hanging up: %s", exc)
        if self._connector.link is not None:
            return  # the link is the system's, and stays
        self._wanted, self.failure = False, None
        if self.up:
            self._move(Step.HANG_UP)
            self._notify_down("the bridge stops")
        if self.phase is Phase.DISCONNECTING:
            self._move(Step.DOWN)
