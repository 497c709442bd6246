"""Network manager: brings the link up, keeps it up, and tells its state.

One task drives the link (`run`): it compares what is wanted with what is, and dials, waits, or hangs up.
Everything else only changes what is wanted or tells what happened, and wakes it. The link's life is the table
in `bridge.core.link`; the commands that users give are in `bridge.flow.link.commands`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from bridge.core.link import LIFE, Code, Fault, Phase, Step, Verdict, judge
from bridge.core.messages import Now
from bridge.core.modem import Link
from bridge.core.progress import Progress
from bridge.errors import BridgeError, LinkError, OperationError
from bridge.flow.link.connector import Connector
from bridge.flow.link.pacing import Attempts, Staleness
from bridge.flow.link.traffic import IDLE, Idleness, Traffic
from bridge.flow.link.waiting import Waiters

log = logging.getLogger("network")

DIAL_TIMEOUT = 200.0
"""Seconds that an attempt may take; a SARA-R410 needs up to 122 [hologram-python 0.10]."""

ENDING = 5.0
"""Seconds that what is being sent gets to end before a link is hung up that stands: what is cut off is sent
twice, and a text to the cloud is in doubt."""

LOOK = 30.0
"""Seconds between looks at a link that stands."""


class Network:
    """Owns the link; lives in the event loop's thread."""

    def __init__(
        self,
        connector: Connector,
        traffic: Traffic,
        *,
        kind: str,
        interface: str,
        autoconnect: bool | str,
        clock: Callable[[], Now],
        on_change: Callable[[], None],
        on_event: Callable[..., None],
        on_up: Callable[[], None],
        may_be_better: Callable[[bool], bool] = lambda _: False,
    ) -> None:
        """``kind`` is ``cellular`` or ``wifi``.

        ``may_be_better`` says whether it is time to try for a better link than the one that stands; it gets
        whether nothing is being sent.
        """
        self.kind = kind
        self.interface = interface
        self.phase = Phase.DISCONNECTED
        self.since: float | None = None
        """Unix seconds at which the link came up."""
        self.failure: Fault | None = None
        """How the last attempt ended, while a link is wanted."""
        self.radio = True
        self._connector = connector
        self._traffic = traffic
        self._autoconnect = autoconnect
        self._wanted = autoconnect is True
        """It is to be up, whatever there is to send."""
        self._on_demand = autoconnect == "on_demand"
        """What waits to be sent brings it up; not after `disconnect`, until `connect`."""
        self._may_be_better = may_be_better
        self._stands = False
        """The link that is to be hung up carries still."""
        self._clock = clock
        self._on_change = on_change
        self._on_event = on_event
        self._on_up = on_up
        self._attempts = Attempts(kind, clock)
        self._staleness = Staleness(clock, traffic.unreached_since)
        self._idleness = Idleness(traffic, clock)
        self._wake = asyncio.Event()
        self._waiters = Waiters()
        self._attempt: asyncio.Task[Link] | None = None
        self._evidence: Fault | None = None
        self._timeout: float | None = None
        self._turns = 0
        self._turning = False
        """The driver dials or hangs up."""
        self._allowed = DIAL_TIMEOUT
        """Seconds that the last attempt may take."""
        self._holding = 0
        """How many keep us from dialling."""
        self.downs = 0
        """How often the link was taken down for good, so that who waits for that cannot miss it."""
        self._stopping = False

    @property
    def up(self) -> bool:
        """Whether the link carries."""
        return self.phase is Phase.CONNECTED

    @property
    def link(self) -> Link | None:
        """The link, while it stands."""
        return self._connector.link if self.up else None

    def verdict(self) -> Verdict:
        """Return what the status says."""
        wanted = self.radio and (self._wanted or self._on_demand)
        return judge(self.phase, self._connector.fault(), self.failure if wanted else None)

    # -- told from outside -------------------------------------------------------------------------------

    def lost(self, reason: str) -> None:
        """The link went down by itself."""
        if self.phase is not Phase.CONNECTED:
            return
        log.warning("the link is down: %s", reason)
        self.failure = Fault(Code.CLOUD_ERR_CONNECT, reason)
        self._attempts.broke()
        self._move(Step.LOST)
        self._told_down(reason)

    def changed_facts(self) -> None:
        """What the modem tells has changed; trouble that has gone is a reason to try at once."""
        before, self._evidence = self._evidence, self._connector.fault()
        if before and not self._evidence:
            self._attempts.at_once()
            self._wake.set()
        elif self._evidence and self._evidence.code is Code.CLOUD_ERR_SIM and self.up:
            log.warning("hanging up: %s", self._evidence.text)
            self.hang_up()
            self._stands = False  # a link without its SIM carries nothing

    def wanted_now(self) -> None:
        """Something waits to be sent: a link on demand comes up."""
        if self._on_demand:
            self._wake.set()

    # -- what is wanted ----------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether it is to be up, whatever there is to send."""
        return self._wanted

    def want(self) -> None:
        """Have it up, and try without a pause; raises `OperationError` while the radio is off."""
        if not self.radio:
            raise OperationError("the radio is off: radio_on first")
        self._wanted, self._on_demand = True, self._autoconnect == "on_demand"
        self._attempts.forget()
        self.failure = None

    def give_up(self) -> None:
        """Have it no more, until `want`; what stands is hung up by `hang_up`."""
        self._wanted = self._on_demand = False
        self.failure = None
        self._connector.failed(0)

    def hang_up(self, reason: str = "it was hung up", *, unknown: bool = False) -> None:
        """Take the link down, or call the attempt off; one that is still wanted is dialled again.

        With ``unknown`` one that we know nothing of as well: an earlier run may have left it.
        """
        if self._attempt:
            self._attempt.cancel()
        unknown = unknown and self.phase is Phase.DISCONNECTED and not self._stopping
        if unknown or self.phase in (Phase.CONNECTING, Phase.CONNECTED):
            self._stands = was_up = self.up
            self._move(Step.HANG_UP)
            if was_up:
                self._told_down(reason)
        self._wake.set()
        self._waiters.tell()

    @contextlib.contextmanager
    def trying(self, timeout: float | None) -> Iterator[None]:
        """Try at once; an attempt that begins meanwhile may take ``timeout`` seconds."""
        if self.phase is not Phase.CONNECTING:  # else it is for the attempt that is in flight
            self._timeout = timeout
        self._wake.set()
        try:
            yield
        finally:
            self._timeout = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Dial nothing meanwhile; several may hold it."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
            self._attempts.at_once()
            self._wake.set()
            self._waiters.tell()
            self._on_change()

    async def order(self, name: str) -> str:
        """Give the modem an order, while the link is down and `held`; return what was done."""
        done = await self._connector.order(name)
        self.radio = name != "radio_off"
        return done

    async def settled(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until ``condition`` holds; return whether it did within ``seconds``."""
        return await self._waiters.until(condition, seconds)

    def progress(self) -> tuple[Progress, ...]:
        """Return how far the driver has come, for the watchdog."""
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
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()

    async def _turn(self) -> None:
        if self.phase is Phase.DISCONNECTING:
            await self._hang_up()
        elif self.phase is Phase.DISCONNECTED and self._should_dial():
            await self._dial()
        elif self.up and self._on_demand and self._idleness.look():
            log.info("hanging up: nothing was sent for %g s", IDLE)
            self._wanted = False  # a `connect` that came while it was up has had its way too
            self.hang_up()
        elif self.up and self._staleness.look():
            self.lost("nothing was reached over it for a long time; it is made anew")
        elif self.up and self._may_be_better(not self._traffic.in_flight()):
            log.info("hanging up: a better link is tried")
            self.hang_up("a better link is tried")

    async def _hang_up(self) -> None:
        stands, self._stands = self._stands, False
        if stands:
            await self._let_end()
        try:
            await self._connector.disconnect()
        except BridgeError as exc:
            # Nothing more can be done; what is left of it shows at the next attempt.
            log.warning("hanging up: %s", exc)
        if self.phase is Phase.DISCONNECTING:  # `stop` may have been there before us
            self.downs += 1
            self._move(Step.DOWN)

    async def _let_end(self) -> None:
        """Let what is in flight end; nothing new is begun, as the link is not up any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                while self._traffic.in_flight() and self._connector.link is not None:
                    await asyncio.sleep(0.05)

    def _should_dial(self) -> bool:
        wanted = self._wanted or (self._on_demand and self._traffic.pending())
        may = self.radio and not self._holding and not self._stopping
        return wanted and may and not self._attempts.wait

    def _pause(self) -> float | None:
        """Seconds until the driver has to look again."""
        if self.phase is Phase.DISCONNECTING:
            return 0.0
        if self._stopping:
            return None
        if self._on_demand:
            return 1.0
        if self.phase is Phase.DISCONNECTED and self._wanted and self.radio and not self._holding:
            return self._attempts.wait
        return LOOK if self.up else None

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
        if self.phase is not Phase.CONNECTING:  # it was called off meanwhile
            if not attempt.cancelled() and attempt.exception():
                log.info("the attempt was called off: %s", attempt.exception())
            return
        if attempt.cancelled():
            self._move(Step.FAILED)
            return
        error = attempt.exception()
        if error is None and self._connector.link is None:
            self._broke_at_once()
        elif error is None:
            self._came_up(attempt.result())
        elif isinstance(error, BridgeError):
            self._did_not(error)
        else:
            raise error

    def _came_up(self, link: Link) -> None:
        self._attempts.came_up()
        self._staleness.came_up()
        self._idleness.came_up()
        self.failure = None
        if self._on_demand:  # `connect` has had its way
            self._wanted = False
        self.since = self._clock().wall
        self._move(Step.UP)
        where = {"interface": link.interface, "local_ip": link.local_ip}
        log.info("the link is up: %s, address %s", link.interface, link.local_ip)
        self._on_event("network.connected", **where)
        self._on_event(f"{self.kind}.connected", **where)
        self._on_up()

    def _broke_at_once(self) -> None:
        """It was lost before we heard that it had come up; what it took is still to be given back."""
        self._fail(LinkError("the link broke as soon as it was up"))
        self._move(Step.HANG_UP)
        self._connector.failed(self._attempts.failures)

    def _did_not(self, error: BridgeError) -> None:
        self._fail(error)
        self._move(Step.FAILED)
        self._connector.failed(self._attempts.failures)

    def _fail(self, error: BridgeError) -> None:
        evidence = self._connector.fault()
        code = getattr(error, "status", None) or (evidence.code if evidence else Code.CLOUD_ERR_CONNECT)
        self.failure = Fault(Code(code), str(error))
        pause = self._attempts.failed(waited=evidence is None and code != Code.CLOUD_ERR_CONNECT)
        failures = self._attempts.failures
        log.warning("no link (attempt %d): %s; tried again in %.0f s", failures, error, pause)

    # -- telling -----------------------------------------------------------------------------------------

    def _told_down(self, reason: str) -> None:
        self.since = None
        self._on_event("network.disconnected", reason=reason)
        self._on_event(f"{self.kind}.disconnected", reason=reason)

    def _move(self, step: Step) -> None:
        before = self.phase
        self.phase = LIFE[before, step]
        log.debug("link: %s, %s -> %s", before, step, self.phase)
        self._on_change()
        self._wake.set()
        self._waiters.tell()

    async def stop(self) -> None:
        """Let go of the link at the end of the process; nothing is dialled any more."""
        self._stopping = True
        if self._attempt:
            self._attempt.cancel()
            await asyncio.wait({self._attempt})
        try:
            await self._connector.close()
        except BridgeError as exc:
            log.warning("hanging up: %s", exc)
        if self._connector.link is not None:
            return  # it is the system's, and stays
        self._wanted, self.failure = False, None
        if self.up:
            self._move(Step.HANG_UP)
            self._told_down("the bridge stops")
        if self.phase is Phase.DISCONNECTING:
            self._move(Step.DOWN)
