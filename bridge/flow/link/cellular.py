"""The cellular link: waits until the modem is in a network, then dials, or uses the modem's own sockets.

PPP comes first: it carries everything. A modem's own sockets carry the bridge's messages alone; they are the
link where no PPP can be had here, and meanwhile where it failed. While they are the link PPP is tried again
from time to time, in a moment when nothing is in flight; where it fails once more they are the link again
with the next attempt, seconds later.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Protocol

from bridge.core.link import Code, Fault
from bridge.core.modem import Link, Place, Sim
from bridge.errors import BridgeError, LinkError, ModemGone, ModemSilent, NotCalled
from bridge.flow.link.supervisor import ModemSupervisor

log = logging.getLogger("network")

FAILURES_TO_SOCKETS = 2
"""Failed calls in a row after which a modem's own sockets are tried in turn with PPP."""

PPP_AGAIN = 1800.0
"""Seconds over a modem's own sockets after which PPP is tried again: tunnels and the box's own traffic have
no link until then. Doubled each time in vain, as a try interrupts the messages while it is dialled."""

LONGEST_PPP_AGAIN = 4 * 3600.0

QUIET_WAIT = 600.0
"""Seconds that this waits for a moment when nothing is in flight, which a busy box may never have."""

SOCKETS_TIMEOUT = 150.0
"""Seconds that a modem may take to have its sockets ready [Quectel BG96 TCP/IP AT Commands Manual, QIACT]."""

FINDING = 5.0
"""Seconds that the keeper has to find a modem that is there."""

PUT_AWAY = 20.0
"""Seconds that it may take to put them away; a hung modem's will be made anew anyway."""

PUT_AWAY_AT_END = 5.0
"""The same when the process ends."""


class Dialler(Protocol):
    """pppd, as a child or as a unit."""

    @property
    def link(self) -> Link | None:
        """The link, while it stands."""

    async def call(self, place: Place, timeout: float) -> Link:
        """Dial; raises `LinkError`."""

    async def disconnect(self) -> None:
        """Hang up."""

    async def close(self) -> None:
        """Let go at the end of the process."""

    async def clear(self) -> None:
        """Hang up what an earlier run of ours has left; fine where there is nothing. Raises `LinkError`."""

    def unavailable(self) -> str | None:
        """Why it cannot work here, if so."""


class Sockets(Protocol):
    """A modem's own sockets."""

    @property
    def busy(self) -> bool:
        """Whether anything is in flight over them, out or in."""

    async def bring_up(self, apn: str) -> str | None:
        """Get them ready; return the local address."""

    async def bring_down(self) -> None:
        """Put them away."""


class Cellular:
    """Connects through a modem; lives in the event loop's thread."""

    def __init__(
        self,
        supervisor: ModemSupervisor,
        dialler: Dialler,
        sockets: Callable[[], Sockets | None],
        apn: str,
        *,
        ppp_again: float = PPP_AGAIN,
        adopts: bool = True,
        on_cleared: Callable[[], None] = lambda: None,
    ) -> None:
        """``sockets`` returns those of the modem that is started, if it has any.

        ``ppp_again`` is the seconds over sockets until PPP is tried again, the first time. ``adopts`` says
        whether a link that an earlier run has left may be taken over; ``on_cleared`` is told when no other
        stands any more.
        """
        self._supervisor = supervisor
        self._dialler = dialler
        self._sockets_of = sockets
        self._apn = apn
        self._sockets: Sockets | None = None
        self._socket_link: Link | None = None
        self._adopts = adopts
        self._on_cleared = on_cleared
        self._cleared = False
        """Nothing of an earlier run is in the way any more."""
        self._failures = 0
        """Attempts in a row that failed, by which PPP and sockets take turns."""
        self._faults = 0
        """Those of them that the modem may be to blame for; what keeps us from calling at all is not its."""
        self._first_patience = self._patience = ppp_again
        self._again_at = math.inf
        """When PPP is to be tried again, in the loop's time, while the link is the modem's sockets."""

    @property
    def link(self) -> Link | None:
        """The link, while it stands."""
        return self._socket_link or self._dialler.link

    @property
    def over_sockets(self) -> bool:
        """Whether the link is the modem's own sockets."""
        return self._socket_link is not None

    def may_be_better(self, quiet: bool) -> bool:
        """Whether it is time to try PPP again in the place of the modem's sockets.

        ``quiet`` says that no message is in flight; that is waited for, but not for ever.
        """
        if self._sockets is None or not self.over_sockets:
            return False
        patience = 0.0 if quiet and not self._sockets.busy else QUIET_WAIT
        due = asyncio.get_running_loop().time() >= self._again_at + patience
        return due and self._dialler.unavailable() is None

    def fault(self) -> Fault | None:
        """Return what rules a link out for now."""
        return self._supervisor.fault()

    def failed(self, failures: int) -> None:
        """Note that the link did not come up, or with 0 that nobody wants it any more.

        The modem is to be recovered where it may be to blame: that is counted here.
        """
        if not failures:
            self._failures = self._faults = 0
        self._supervisor.link_failed(self._faults)

    async def order(self, command: str) -> str:
        """Carry out an order to the modem."""
        return await self._supervisor.order(command)

    async def connect(self, timeout: float) -> Link:
        """Bring the link up; raises `LinkError` or `ModemError`."""
        deadline = asyncio.get_running_loop().time() + timeout
        await self._make_way()
        await self._in_network(_until(deadline))
        sockets = self._sockets_of()
        why_not = self._dialler.unavailable()
        if sockets is None and why_not:
            raise LinkError(why_not)
        in_turn = self._failures >= FAILURES_TO_SOCKETS and self._failures % 2 == 0
        if why_not:
            log.info("no PPP (%s): the modem's own sockets carry the messages", why_not)
        try:
            if sockets and (why_not or in_turn):
                made = await self._use_sockets(sockets, min(_until(deadline), SOCKETS_TIMEOUT))
            else:
                made = await self._dial(deadline)
        except BridgeError as exc:
            self._count(exc)
            raise
        self._came_up()
        return made

    def _count(self, error: BridgeError) -> None:
        """Count an attempt that failed."""
        self._failures += 1
        if not isinstance(error, NotCalled):
            self._faults += 1
        if isinstance(error, ModemGone | ModemSilent):
            self._supervisor.doubt()

    def _came_up(self) -> None:
        self.failed(0)
        if not self.over_sockets:
            self._patience = self._first_patience
            return
        # The next is a call, and one that fails leads back to the sockets.
        self._failures = FAILURES_TO_SOCKETS - 1
        self._again_at = asyncio.get_running_loop().time() + self._patience
        self._patience = min(2 * self._patience, LONGEST_PPP_AGAIN)

    async def clear(self) -> None:
        """Hang up the link that an earlier run has left; raises `LinkError` where that cannot be done."""
        await self._dialler.clear()
        self._cleared = True
        self._supervisor.doubt()  # its port may be free now
        self._on_cleared()

    async def _make_way(self) -> None:
        """Hang up the link that an earlier run has left, unless it can be taken over.

        On a modem's only port it cannot: while it stands nobody can ask the modem who it is.
        """
        supervisor = self._supervisor
        if self._cleared:
            return
        if self._adopts:
            await supervisor.settled(lambda: supervisor.place is not None, FINDING)
            if supervisor.place is None:
                return
            if not supervisor.place.single or supervisor.modem is not None:
                self._cleared = True
                self._on_cleared()
                return
        elif self._dialler.unavailable():
            return  # what cannot dial here has left nothing
        await self.clear()

    async def _in_network(self, timeout: float) -> None:
        """Wait until the modem is in a network; what a person must see to ends the wait at once."""
        supervisor = self._supervisor

        def decided() -> bool:
            # A modem that is not there yet may come; a SIM without its PIN will not change by itself.
            found = supervisor.fault()
            return supervisor.ready or bool(
                found and found.code in (Code.CLOUD_ERR_SIM, Code.CLOUD_ERR_SIGNAL)
            )

        await supervisor.settled(decided, timeout)
        found = supervisor.fault()
        if found:
            # What is only beginning has failed by now, as far as this attempt goes.
            raise LinkError(found.text, Code.CLOUD_ERR_CONNECT if found.passing else found.code)
        if not supervisor.ready:
            busy = supervisor.facts.sim in (Sim.BUSY, Sim.UNKNOWN)
            text = "the SIM is not ready" if busy else "the modem found no network: see signal and antenna"
            code = Code.CLOUD_ERR_SIM if busy else Code.CLOUD_ERR_SIGNAL
            raise LinkError(f"{text} (within {timeout:g} s)", code)

    async def _use_sockets(self, sockets: Sockets, timeout: float) -> Link:
        self._sockets = sockets  # from now on there may be something to put away
        try:
            async with asyncio.timeout(timeout):
                address = await sockets.bring_up(self._apn)
        except TimeoutError:
            self._sockets = None
            raise LinkError(f"the modem's sockets were not ready within {timeout:.0f} s") from None
        except BridgeError:
            self._sockets = None
            raise
        if self._sockets is not sockets:
            raise LinkError("the modem's sockets were lost while they were made ready")
        self._socket_link = Link("at-sockets", address)
        return self._socket_link

    async def _dial(self, deadline: float) -> Link:
        supervisor = self._supervisor
        modem, place = supervisor.modem, supervisor.place
        if modem is None or place is None:
            raise LinkError("the modem went away")
        await modem.prepare_data(self._apn)
        # The radio may have been switched off and on for that.
        await self._in_network(_until(deadline))
        if place.single:
            supervisor.release_port()
        try:
            return await self._dialler.call(place, _until(deadline))
        except BaseException:
            if self._dialler.link is None:  # else it is called off as it comes up: `disconnect` follows
                supervisor.give_back()
            raise

    def sockets_lost(self) -> None:
        """The modem's sockets are gone: it said so, or it is gone itself."""
        self._sockets = None
        self._socket_link = None

    def hung_up(self) -> None:
        """The dialled link is down and its port free."""
        self._supervisor.give_back()

    async def disconnect(self) -> None:
        """Take the link down; raises `LinkError` where pppd cannot be ended."""
        await self._put_away(PUT_AWAY)
        try:
            await self._dialler.disconnect()
        finally:
            self.hung_up()

    async def _put_away(self, seconds: float) -> None:
        sockets, self._sockets = self._sockets, None
        self._socket_link = None
        if sockets:
            try:
                async with asyncio.timeout(seconds):
                    await sockets.bring_down()
            except TimeoutError:
                log.info("the modem did not put its sockets away within %g s", seconds)

    async def close(self) -> None:
        """Let go of the link at the end of the process."""
        await self._put_away(PUT_AWAY_AT_END)
        await self._dialler.close()


def _until(deadline: float) -> float:
    """Return the seconds that are left until ``deadline``, in the loop's time."""
    return max(deadline - asyncio.get_running_loop().time(), 1.0)
