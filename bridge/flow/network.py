"""Network manager: brings the link up, keeps it up, and tells its state.

One task drives the link (`run`): it compares what is wanted with what is, and dials, waits, or hangs up.
Everything else only changes what is wanted or tells what happened, and wakes it. The link's life is the table
in `bridge.core.link`.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Protocol

from bridge.core.link import LIFE, Code, Phase, Step, Trouble, Verdict, judge
from bridge.core.messages import Now
from bridge.core.modem import Link
from bridge.core.pulse import Pulse
from bridge.errors import BridgeError, LinkError, OperationError
from bridge.flow.waiting import Waiters

log = logging.getLogger("network")

DIAL_TIMEOUT = 200.0
"""Seconds that an attempt may take; a SARA-R410 needs up to 122 [hologram-python 0.10]."""

LONGEST_PAUSE = {"cellular": 300.0, "wifi": 30.0}
"""Seconds between attempts at most: mobile networks bar those who knock all the time. Wi-Fi is looked at."""

FIRST_PAUSE = 5.0
"""Seconds after the first failure; doubled at each further one."""

STEADY = 30.0
"""Seconds after which a link has proved itself. One that breaks sooner, for the second time in a row, is made
anew after a pause as if it had not come up; of so many seconds at most."""

IDLE = 30.0
"""Seconds without anything to send after which a link on demand is hung up."""

STALE = 600.0
"""Seconds after which a link over which nothing is reached is made anew: a network can forget a context that
both ends believe in. Doubled each time in vain, as the far end itself may be what is down."""

LONGEST_STALE = 4 * 3600.0

ENDING = 5.0
"""Seconds that what is being sent gets to end before a link is hung up that stands: what is cut off is sent
twice, and a text to the cloud is in doubt."""

LOOK = 30.0
"""Seconds between looks at a link that stands."""

COMMAND_TIMEOUT = 240.0
"""Seconds that a command about the modem may take."""


class Connector(Protocol):
    """What makes the link: pppd, a modem's own sockets, or Wi-Fi."""

    @property
    def link(self) -> Link | None:
        """The link, while it stands."""

    async def connect(self, timeout: float) -> Link:
        """Bring it up within ``timeout`` seconds; raises `LinkError` or `ModemError`."""

    async def disconnect(self) -> None:
        """Take it down; fine when there is none."""

    async def close(self) -> None:
        """Let go of it at the end of the process."""

    async def order(self, command: str) -> str:
        """Carry out ``reset``, ``radio_on`` or ``radio_off``; return what was done."""

    def trouble(self) -> Trouble | None:
        """What rules a link out for now."""

    def failed(self, failures: int) -> None:
        """Told after so many failed attempts in a row; 0: the link is not wanted any more."""


class Network:
    """Owns the link; lives in the event loop's thread."""

    def __init__(
        self,
        connector: Connector,
        *,
        kind: str,
        interface: str,
        autoconnect: bool | str,
        pending: Callable[[], bool],
        clock: Callable[[], Now],
        on_change: Callable[[], None],
        on_event: Callable[..., None],
        on_up: Callable[[], None],
        unreached_since: Callable[[], float | None] = lambda: None,
        sent: Callable[[], int] = lambda: 0,
        under_way: Callable[[], int] = lambda: 0,
    ) -> None:
        """``kind`` is ``cellular`` or ``wifi``; ``pending`` says whether anything waits to be sent.

        ``sent`` counts what was sent: a message may come and go between two looks at ``pending``.
        ``under_way`` is how many messages are being sent.
        ``unreached_since`` returns since when, in monotonic seconds, nothing was reached over the link.
        """
        self.kind = kind
        self.interface = interface
        self.phase = Phase.DISCONNECTED
        self.since: float | None = None
        """Unix seconds at which the link came up."""
        self.failure: Trouble | None = None
        """How the last attempt ended, while a link is wanted."""
        self.radio = True
        self._connector = connector
        self._autoconnect = autoconnect
        self._wanted = autoconnect is True
        """It is to be up, whatever there is to send."""
        self._on_demand = autoconnect == "on_demand"
        """What waits to be sent brings it up; not after `disconnect`, until `connect`."""
        self._pending = pending
        self._sent = sent
        self._under_way = under_way
        self._stands = False
        """The link that is to be hung up carries still."""
        self._counted = 0
        self._clock = clock
        self._on_change = on_change
        self._on_event = on_event
        self._on_up = on_up
        self._unreached_since = unreached_since
        self._patience = STALE
        self._up_at = 0.0
        self._wake = asyncio.Event()
        self._waiters = Waiters()
        self._attempt: asyncio.Task[Link] | None = None
        self._failures = 0
        self._breaks = 0
        """Links in a row that did not stand for long."""
        self._not_before = 0.0
        self._evidence: Trouble | None = None
        self._busy_at = 0.0
        self._timeout: float | None = None
        self._turns = 0
        self._turning = False
        """The driver dials or hangs up."""
        self._allowed = DIAL_TIMEOUT
        """Seconds that the last attempt may take."""
        self._ordered = 0
        """Orders that are carried out or wait: nothing is dialled meanwhile."""
        self._orders = asyncio.Lock()
        """Held by the order that is being carried out."""
        self._downs = 0
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
        return judge(self.phase, self._connector.trouble(), self.failure if wanted else None)

    # -- told from outside -------------------------------------------------------------------------------

    def lost(self, reason: str) -> None:
        """The link went down by itself."""
        if self.phase is not Phase.CONNECTED:
            return
        log.warning("the link is down: %s", reason)
        self.failure = Trouble(Code.CLOUD_ERR_CONNECT, reason)
        now = self._clock().mono
        self._breaks = self._breaks + 1 if now - self._up_at < STEADY else 0
        if self._breaks > 1:
            self._not_before = now + min(self._pause_after(self._breaks - 1), STEADY)
        self._move(Step.LOST)
        self._told_down(reason)

    def changed_facts(self) -> None:
        """What the modem tells has changed; trouble that has gone is a reason to try at once."""
        before, self._evidence = self._evidence, self._connector.trouble()
        if before and not self._evidence:
            self._not_before = 0.0
            self._wake.set()
        elif self._evidence and self._evidence.code is Code.CLOUD_ERR_SIM and self.up:
            log.warning("hanging up: %s", self._evidence.text)
            self._drop()
            self._stands = False  # a link without its SIM carries nothing

    def wanted_now(self) -> None:
        """Something waits to be sent: a link on demand comes up."""
        if self._on_demand:
            self._wake.set()

    # -- commands ----------------------------------------------------------------------------------------

    async def command(self, name: str, timeout: float | None) -> str:
        """Carry out one of the commands of ``hologram/network/set``; return what was done.

        Raises:
            BridgeError: it could not be done; the text says why.

        """
        if name == "connect":
            return await self._connect(timeout)
        if name == "disconnect":
            await self._disconnect()
            return "disconnected"
        if name == "reconnect":
            return await self._reconnect(timeout)
        return await self._order(name, timeout)

    async def _connect(self, timeout: float | None) -> str:
        self._want()
        return await self._outcome(timeout)

    async def _outcome(self, timeout: float | None) -> str:
        """Wait for the link that is wanted, unless somebody changes that."""
        if not self.up:
            if self.phase is not Phase.CONNECTING:  # else it is for the attempt that is under way
                self._timeout = timeout
            self._wake.set()
            try:
                await self._until(self._is_decided, timeout)
            finally:
                self._timeout = None
        link = self.link
        if link is not None:
            return f"connected: {link.interface} has {link.local_ip or 'no address'}"
        if not self.radio:
            raise LinkError("the radio was switched off meanwhile")
        why = self.failure.text if self.failure else "disconnect was asked for meanwhile"
        raise LinkError(f"{why}{'; it is tried again' if self._wanted else ''}")

    def _is_decided(self) -> bool:
        """Whether a wish for a link has its answer, be it for now."""
        return self.up or self.failure is not None or not self._wanted or not self.radio

    def _want(self) -> None:
        if not self.radio:
            raise OperationError("the radio is off: radio_on first")
        self._wanted, self._on_demand = True, self._autoconnect == "on_demand"
        self._not_before, self._failures, self._breaks = 0.0, 0, 0
        self.failure = None

    async def _reconnect(self, timeout: float | None) -> str:
        # Wanted all the while: a hang-up that fails must not leave a remote box offline.
        self._want()
        await self._down()
        return await self._outcome(timeout)

    async def _disconnect(self) -> None:
        self._wanted = self._on_demand = False
        self.failure = None
        self._connector.failed(0)
        await self._down()

    async def _down(self) -> None:
        """Hang up; done once the link was down, though it may be dialled again by then."""
        downs = self._downs
        self._drop()
        await self._until(lambda: self.phase is Phase.DISCONNECTED or self._downs != downs, COMMAND_TIMEOUT)

    def _drop(self) -> None:
        if self._attempt:
            self._attempt.cancel()
        if self.phase in (Phase.CONNECTING, Phase.CONNECTED):
            self._stands = was_up = self.up
            self._move(Step.HANG_UP)
            if was_up:
                self._told_down("it was hung up")
        self._wake.set()
        self._waiters.tell()

    async def _order(self, name: str, timeout: float | None) -> str:
        seconds = timeout or COMMAND_TIMEOUT
        self._ordered += 1
        try:
            async with asyncio.timeout(seconds), self._orders:
                await self._down()
                done = await self._connector.order(name)
                self.radio = name != "radio_off"
        except TimeoutError:
            raise OperationError(f"{name} took longer than {seconds:g} s") from None
        finally:
            self._ordered -= 1
            self._not_before = 0.0
            self._wake.set()
            self._waiters.tell()
            self._on_change()
        return done

    async def _until(self, condition: Callable[[], bool], timeout: float | None) -> None:
        """Wait until ``condition`` holds; raises `LinkError` after ``timeout`` seconds."""
        seconds = timeout or COMMAND_TIMEOUT
        if not await self._waiters.until(condition, seconds):
            raise LinkError(f"not within {seconds:g} s; it is tried on")

    def pulses(self) -> tuple[Pulse, ...]:
        """Return how far the driver has come, for the watchdog."""
        return (Pulse("network", self._turns, self._turning, self._allowed),)

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
        elif self.up and self._on_demand and self._idle():
            log.info("hanging up: nothing was sent for %g s", IDLE)
            self._drop()
        elif self.up and self._stale():
            self.lost("nothing was reached over it for a long time; it is made anew")

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
            self._downs += 1
            self._move(Step.DOWN)

    async def _let_end(self) -> None:
        """Let what is under way end; nothing new is begun, as the link is not up any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                while self._under_way() and self._connector.link is not None:
                    await asyncio.sleep(0.05)

    def _stale(self) -> bool:
        since, now = self._unreached_since(), self._clock().mono
        if since is None:
            self._patience = STALE
            return False
        if now - max(since, self._up_at) < self._patience:
            return False
        self._patience = min(2 * self._patience, LONGEST_STALE)
        return True

    def _should_dial(self) -> bool:
        wanted = self._wanted or (self._on_demand and self._pending())
        may = self.radio and not self._ordered and not self._stopping
        return wanted and may and self._clock().mono >= self._not_before

    def _idle(self) -> bool:
        now = self._clock().mono
        sent, self._counted = self._counted, self._sent()
        if self._pending() or sent != self._counted:
            self._busy_at = now
        return now - self._busy_at >= IDLE

    def _pause(self) -> float | None:
        """Seconds until the driver has to look again."""
        if self.phase is Phase.DISCONNECTING:
            return 0.0
        if self._stopping:
            return None
        if self._on_demand:
            return 1.0
        if self.phase is Phase.DISCONNECTED and self._wanted and self.radio and not self._ordered:
            return max(self._not_before - self._clock().mono, 0.0)
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
        self._failures = 0
        self.failure = None
        if self._on_demand:  # `connect` has had its way
            self._wanted = False
        self._busy_at = self._up_at = self._clock().mono
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
        self._connector.failed(self._failures)

    def _did_not(self, error: BridgeError) -> None:
        self._fail(error)
        self._move(Step.FAILED)
        self._connector.failed(self._failures)

    def _fail(self, error: BridgeError) -> None:
        self._failures += 1
        evidence = self._connector.trouble()
        code = getattr(error, "status", None) or (evidence.code if evidence else Code.CLOUD_ERR_CONNECT)
        self.failure = Trouble(Code(code), str(error))
        # Who only waited for a network in vain has not knocked, and goes on waiting.
        waited = evidence is None and code != Code.CLOUD_ERR_CONNECT
        pause = self._pause_after(1 if waited else self._failures)
        self._not_before = self._clock().mono + pause
        log.warning("no link (attempt %d): %s; tried again in %.0f s", self._failures, error, pause)

    def _pause_after(self, failures: int) -> float:
        pause = min(LONGEST_PAUSE[self.kind], FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
        return pause * random.uniform(0.75, 1.0)  # noqa: S311 no secret

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
