"""The cellular link: waits until the modem is in a network, then dials or uses the modem's own sockets.

PPP comes first, because it carries all traffic. A modem's own sockets carry only the bridge's messages. They
are the link where PPP is impossible, and take turns with PPP where it failed. While they are the link PPP is
tried again from time to time, when nothing is in flight. If that try fails the sockets are the link again
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
"""Number of failed calls in a row after which the modem's own sockets and PPP take turns."""

PPP_AGAIN = 1800.0
"""Seconds over a modem's own sockets after which PPP is tried again, because tunnels and the box's own
traffic have no link until then. Doubled after each failed try, because dialling interrupts the messages."""

LONGEST_PPP_AGAIN = 4 * 3600.0

QUIET_WAIT = 600.0
"""Longest wait, in seconds, for a moment without messages in flight, which a busy box may never have."""

SOCKETS_TIMEOUT = 150.0
"""Seconds that a modem may need to open its sockets [Quectel BG96 TCP/IP AT Commands Manual, QIACT]."""

FINDING = 5.0
"""Seconds that the supervisor has to find a modem that is there."""

CLOSE_TIMEOUT = 20.0
"""Seconds that the modem may need to close its sockets; a hung modem's are opened afresh later."""

CLOSE_TIMEOUT_AT_END = 5.0
"""The same when the process ends."""


class Dialler(Protocol):
    """pppd, as a child process or as a systemd unit."""

    @property
    def link(self) -> Link | None:
        """The link while it is up."""

    async def call(self, place: Place, timeout: float) -> Link:
        """Dial; raises `LinkError`."""

    async def disconnect(self) -> None:
        """Hang up."""

    async def close(self) -> None:
        """Release the link at the end of the process."""

    async def clear(self) -> None:
        """Hang up the link of an earlier run; does nothing if there is none. Raises `LinkError`."""

    def unavailable(self) -> str | None:
        """Return why PPP is impossible here, or None."""


class Sockets(Protocol):
    """A modem's own sockets."""

    @property
    def busy(self) -> bool:
        """Whether a connection over them is in flight, outbound or inbound."""

    async def bring_up(self, apn: str) -> str | None:
        """Open them; return the local address."""

    async def bring_down(self) -> None:
        """Close them."""


class Cellular:
    """Connects through a modem; lives in the event loop's thread."""

    kind = "cellular"

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
        """``sockets`` returns the sockets of the started modem, if it has any.

        ``ppp_again`` is the seconds over sockets until PPP is tried again, the first time. ``adopts`` says
        whether a link of an earlier run may be taken over. ``on_cleared`` is called when no link of an
        earlier run is left.
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
        """Whether no link of an earlier run is in the way."""
        self._failures = 0
        """Number of failed attempts in a row, by which PPP and sockets take turns."""
        self._faults = 0
        """Number of failed attempts in a row that may be the modem's fault. Local problems do not count."""
        self._first_patience = self._patience = ppp_again
        self._again_at = math.inf
        """Loop time of the next try of PPP, while the link is the modem's sockets."""

    @property
    def link(self) -> Link | None:
        """The link while it is up."""
        return self._socket_link or self._dialler.link

    @property
    def radio(self) -> bool:
        """Whether the radio is on, as far as it was commanded."""
        return self._supervisor.radio

    @property
    def over_sockets(self) -> bool:
        """Whether the link is the modem's own sockets."""
        return self._socket_link is not None

    def may_be_better(self, quiet: bool) -> bool:
        """Whether to try PPP again in place of the modem's sockets.

        ``quiet`` says that no message is in flight. The try waits for such a moment, but not for ever.
        """
        if self._sockets is None or not self.over_sockets:
            return False
        patience = 0.0 if quiet and not self._sockets.busy else QUIET_WAIT
        due = asyncio.get_running_loop().time() >= self._again_at + patience
        return due and self._dialler.unavailable() is None

    def fault(self) -> Fault | None:
        """Return the fault that rules a link out for now."""
        return self._supervisor.fault()

    def failed(self, failures: int) -> None:
        """Record a failed attempt, or, with 0, that the link is not wanted any more.

        The supervisor gets the number of failures that may be the modem's fault, so that it can recover it.
        """
        if not failures:
            self._failures = self._faults = 0
        self._supervisor.link_failed(self._faults)

    async def order(self, command: str) -> str:
        """Carry out a command of the user's on the modem."""
        return await self._supervisor.order(command)

    async def connect(self, timeout: float) -> Link:
        """Bring the link up; raises `LinkError` or `ModemError`."""
        deadline = asyncio.get_running_loop().time() + timeout
        await self._clear_or_adopt()
        await self._in_network(_until(deadline))
        sockets = self._sockets_of()
        why_not = self._dialler.unavailable()
        if sockets is None and why_not:
            raise LinkError(why_not)
        sockets_turn = self._failures >= FAILURES_TO_SOCKETS and self._failures % 2 == 0
        if why_not:
            log.info("no PPP (%s): the modem's own sockets carry the messages", why_not)
        try:
            if sockets and (why_not or sockets_turn):
                link = await self._use_sockets(sockets, min(_until(deadline), SOCKETS_TIMEOUT))
            else:
                link = await self._dial(deadline)
        except BridgeError as exc:
            self._count(exc)
            raise
        self._came_up()
        return link

    def _count(self, error: BridgeError) -> None:
        """Count a failed attempt."""
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
        # The next attempt is a call; if it fails the one after it uses the sockets again.
        self._failures = FAILURES_TO_SOCKETS - 1
        self._again_at = asyncio.get_running_loop().time() + self._patience
        self._patience = min(2 * self._patience, LONGEST_PPP_AGAIN)

    async def clear(self) -> None:
        """Hang up the link of an earlier run; raises `LinkError` if that fails."""
        await self._dialler.clear()
        self._cleared = True
        self._supervisor.doubt()  # the port may be free now
        self._on_cleared()

    async def _clear_or_adopt(self) -> None:
        """Hang up the link of an earlier run, unless it can be taken over.

        A link over the modem's only port cannot, because the modem cannot be identified while it is up.
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
            return  # without PPP here an earlier run cannot have left a link
        await self.clear()

    async def _in_network(self, timeout: float) -> None:
        """Wait until the modem is in a network; a fault that needs a person ends the wait at once."""
        supervisor = self._supervisor

        def decided() -> bool:
            # A missing modem may still appear; a SIM without its PIN does not change by itself.
            found = supervisor.fault()
            return supervisor.ready or bool(
                found and found.code in (Code.CLOUD_ERR_SIM, Code.CLOUD_ERR_SIGNAL)
            )

        await supervisor.settled(decided, timeout)
        found = supervisor.fault()
        if found:
            # A passing fault counts as a failure of this attempt, because its time is over.
            raise LinkError(found.text, Code.CLOUD_ERR_CONNECT if found.passing else found.code)
        if not supervisor.ready:
            busy = supervisor.facts.sim in (Sim.BUSY, Sim.UNKNOWN)
            text = "the SIM is not ready" if busy else "the modem found no network: see signal and antenna"
            code = Code.CLOUD_ERR_SIM if busy else Code.CLOUD_ERR_SIGNAL
            raise LinkError(f"{text} (within {timeout:g} s)", code)

    async def _use_sockets(self, sockets: Sockets, timeout: float) -> Link:
        self._sockets = sockets  # from now on there may be sockets to close
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
        # `prepare_data` may have switched the radio off and on.
        await self._in_network(_until(deadline))
        if place.single:
            supervisor.release_port()
        try:
            return await self._dialler.call(place, _until(deadline))
        except BaseException:
            if self._dialler.link is None:  # otherwise `disconnect` follows and reclaims the port
                supervisor.reclaim_port()
            raise

    def sockets_lost(self) -> None:
        """Note that the modem's sockets are gone: reported by the modem, or lost together with it."""
        self._sockets = None
        self._socket_link = None

    def hung_up(self) -> None:
        """Note that the dialled link is down and its port free."""
        self._supervisor.reclaim_port()

    async def disconnect(self) -> None:
        """Take the link down; raises `LinkError` if pppd cannot be ended."""
        await self._close_sockets(CLOSE_TIMEOUT)
        try:
            await self._dialler.disconnect()
        finally:
            self.hung_up()

    async def _close_sockets(self, seconds: float) -> None:
        sockets, self._sockets = self._sockets, None
        self._socket_link = None
        if sockets:
            try:
                async with asyncio.timeout(seconds):
                    await sockets.bring_down()
            except TimeoutError:
                log.info("the modem did not close its sockets within %g s", seconds)

    async def close(self) -> None:
        """Release the link at the end of the process."""
        await self._close_sockets(CLOSE_TIMEOUT_AT_END)
        await self._dialler.close()


def _until(deadline: float) -> float:
    """Return the seconds left until ``deadline``, in the loop's time."""
    return max(deadline - asyncio.get_running_loop().time(), 1.0)
