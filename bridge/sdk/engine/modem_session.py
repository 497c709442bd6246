"""A modem's session for a script, on the daemon's cellular link.

Everything but the constructor runs in the loop's thread; `bridge.sdk.modem` calls it from the script's.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from bridge.adapters.inbound.listener import Listener
from bridge.adapters.modem.at_port import Urc
from bridge.adapters.modem.modem import Modem
from bridge.adapters.modem.queries import answer
from bridge.adapters.modem.sms import ModemInbox
from bridge.adapters.modem_sockets.listening import ListeningSockets
from bridge.adapters.modem_sockets.sockets import Sockets
from bridge.adapters.system.loop_time import LoopTime
from bridge.assemblies.cellular_link import CellularLink
from bridge.assemblies.message_flow import until
from bridge.assemblies.workers import Workers
from bridge.core.link import Code, Phase
from bridge.core.modem import Facts, Identity, Link, Place
from bridge.errors import BridgeError, LinkError
from bridge.errors import ModemError as CoreModemError
from bridge.flow.link.traffic import Traffic
from bridge.flow.notices import Notices
from bridge.protocol.ppp.dial import Scope
from bridge.protocol.sms.listing import read_notice
from bridge.sdk.engine.dialling import MISSING, WantedModem, check_free, setup_of
from bridge.sdk.engine.errors import ModemError, NetworkError
from bridge.sdk.engine.inbox import LIMITS, Inbox
from bridge.sdk.engine.sms import SmsReader
from bridge.sdk.engine.values import SMS

log = logging.getLogger("Modem")

START_WAIT = 40.0
"""Seconds to open a modem and set it up."""

SOCKETS_WAIT = 150.0
"""Seconds for a modem to bring its sockets up."""


class Session(CellularLink):
    """An opened modem, which dials only on `connect` and is never switched off."""

    def __init__(
        self,
        wish: WantedModem,
        notices: Notices,
        *,
        scope: Callable[[], Scope],
        own_sockets: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        """``scope`` returns the traffic over PPP, ``own_sockets`` whether the modem's sockets may be used.

        ``on_change`` is called when messages can, or can no longer, be sent.
        """
        self._wish = wish
        self._may_use_sockets = own_sockets
        self._notices = notices
        self._own_sockets = False
        """Whether the sockets are up without a `connect`, as with the SDK."""
        self._want_sockets = False
        self._turn = asyncio.Lock()
        """Lock of the task that brings the sockets up."""
        self._again = Workers()
        self._listens_for: Inbox | None = None
        time = LoopTime(asyncio.get_running_loop())
        super().__init__(setup_of(wish, scope), Traffic(pending=lambda: False), time, notices)
        self.on_change = on_change
        self._inbox = ModemInbox(self.port)
        self._sms_reader = SmsReader(self._inbox)

    # -- life --------------------------------------------------------------------------------------------

    async def open(self, seconds: float = START_WAIT) -> None:
        """Open the modem and set it up; wait at most ``seconds`` for it.

        A modem that does not answer is opened too; its recovery takes as long as it needs.

        Raises `NetworkError` without a modem, `SerialError` if another program uses it (the text names it),
        and `ModemError` if its port cannot be opened.
        """
        place = self._setup.find()
        if place is None:
            where = f": {self._wish.device} is not there" if self._wish.device else ""
            raise NetworkError(f"{MISSING}{where}")
        check_free(place.at)
        self.start()
        await until(lambda: self.supervisor.modem is not None or self._problem() is not None, seconds)
        problem = self._problem()
        if problem and self.supervisor.modem is None and self.supervisor.shown_place is None:
            await self.close()
            check_free(place.at)
            raise ModemError(problem)

    def _problem(self) -> str | None:
        found = self.supervisor.fault()
        if found is None or found.text == MISSING or found.code is not Code.CLOUD_ERR_CONNECT:
            return None
        return found.text

    async def close(self) -> None:
        """Hang up and close the modem."""
        await self._again.stop()
        await self.release_sockets()
        await super().close()

    def _make(self, place: Place, on_facts: Callable[[Facts], None], on_lost: Callable[[str], None]) -> Modem:
        self._own_sockets = False
        return super()._make(place, on_facts, on_lost)

    def _takes(self, urc: Urc) -> bool:
        store = read_notice(urc.line)
        if store is None:
            return False
        self._inbox.noticed(store)
        self._notices.event("sms.received")
        return True

    def _settle(self) -> None:
        if self.supervisor.modem is None:
            self._own_sockets = False
        super()._settle()
        if self._want_sockets and not self.up and self.supervisor.ready and not self._turn.locked():
            self._again.start(self._sockets_in_time(0.0), ends=True)

    # -- the link ----------------------------------------------------------------------------------------

    async def connect(self, timeout: float) -> Link | None:
        """Bring the link up; raises `BridgeError`."""
        await self.release_sockets()
        try:
            await self.command("connect", timeout)
        except BridgeError:
            await self.command("disconnect", None)  # a failed connect is not retried by itself
            raise
        return self.network.link

    async def disconnect(self) -> None:
        """Take the link down; raises `BridgeError`."""
        await self.release_sockets()
        await self.command("disconnect", None)

    @property
    def up(self) -> bool:
        """Whether messages can be sent, because the link or the modem's sockets are up."""
        return self.network.up or self._own_sockets

    @property
    def sockets_available(self) -> bool:
        """Whether the modem has sockets of its own that may be used, and there is no link over PPP."""
        if not self._may_use_sockets():
            return False
        return self._sockets is not None and not (self.network.up and not self.cellular.over_sockets)

    @property
    def transport(self) -> Sockets | None:
        """The modem's sockets while they carry messages; otherwise None."""
        return self._sockets if self._own_sockets or self.cellular.over_sockets else None

    async def use_sockets(self, seconds: float) -> None:
        """Bring the modem's own sockets up, unless messages can be sent already; raises `BridgeError`.

        ``seconds`` is the wait for registration. A later registration, and a loss of the sockets, starts
        another attempt, until `connect` or `disconnect`.
        """
        self._want_sockets = True
        async with self._turn:
            if not self.up:
                await self._bring_up_sockets(seconds)

    async def _bring_up_sockets(self, seconds: float) -> None:
        supervisor = self.supervisor
        if not await supervisor.settled(lambda: supervisor.ready or supervisor.fault() is not None, seconds):
            raise LinkError("the modem found no network: see signal and antenna", Code.CLOUD_ERR_SIGNAL)
        found = supervisor.fault()
        if found:
            raise LinkError(found.text, found.code)
        sockets = self._usable_sockets()
        if sockets is None:
            return
        try:
            async with asyncio.timeout(SOCKETS_WAIT):
                await sockets.bring_up(self._wish.apn)
        except TimeoutError:
            raise LinkError(f"the modem's sockets were not ready within {SOCKETS_WAIT:g} s") from None
        self._own_sockets = True
        self.on_change()

    async def release_sockets(self) -> None:
        """Bring the sockets down, because a link replaces them or messages need none."""
        self._want_sockets = False
        if self._own_sockets and self._sockets:
            self._own_sockets = False
            await _quietly(self._sockets.bring_down())

    async def _sockets_in_time(self, seconds: float) -> None:
        """Bring the modem's own sockets up; the next change starts another attempt after a failure."""
        try:
            await self.use_sockets(seconds)
        except BridgeError as exc:
            log.log(logging.WARNING if seconds else logging.INFO, "the modem's sockets: %s", exc)

    def _usable_sockets(self) -> ListeningSockets | None:
        return super()._usable_sockets() if self._may_use_sockets() else None

    def _sockets_down(self, reason: str) -> None:
        self._own_sockets = False
        super()._sockets_down(reason)
        self._changed()

    # -- inbound messages --------------------------------------------------------------------------------

    async def listen(self, port: int, inbox: Inbox) -> bool:
        """Listen by the modem's sockets; return False if they do not carry messages. Raises `BridgeError`.

        A second call changes nothing. A modem that is not registered, or does not answer, listens as soon as
        it can.
        """
        if not self.sockets_available or self._sockets is None:
            return False
        if self.listener is None or (self.listener.port, self._listens_for) != (port, inbox):
            self.listener = Listener(self._loop, "0.0.0.0", port, ("tcp",), LIMITS, inbox)  # noqa: S104  # the modem's own
            self._listens_for = inbox
        if self.up:
            await self._sockets.listen(self.listener)
        else:
            await self._sockets_in_time(START_WAIT)
        return True

    async def stop_listening(self) -> None:
        """Stop listening."""
        listener, self.listener = self.listener, None
        if listener is not None and self._sockets is not None and self.transport:
            await _quietly(self._sockets.stop_listening())

    # -- questions ---------------------------------------------------------------------------------------

    def modem_to_ask(self) -> Modem:
        """Return the modem for a query; raises `ModemError` while it cannot take one."""
        if self.modem is None:
            found = self.supervisor.fault()
            lent = self.network.phase is not Phase.DISCONNECTED
            busy = "its only port is in use by the connection; disconnect first" if lent else "it is set up"
            raise ModemError(f"the modem cannot be asked: {found.text if found else busy}")
        return self.modem

    async def identify(self) -> Identity:
        """Query the identity of modem and SIM; raises `ModemError`."""
        known = self.supervisor.facts.identity
        if self.supervisor.modem is None and known.iccid:
            return known
        return await self.modem_to_ask().identify()

    async def send_sms(self, to: str, text: str) -> None:
        """Send an SMS; raises `InvalidCommand`, and `ModemError` unless it was clearly sent."""
        await answer(self.modem_to_ask(), {"what": "sms", "to": to, "text": text})

    async def count_sms(self) -> int:
        """Return how many SMS wait in the modem. Raises `ModemError`."""
        self.modem_to_ask()
        return await self._sms_reader.count()

    async def pop_sms(self) -> SMS | None:
        """Take the oldest whole SMS out of the modem; None without one. Raises `ModemError`."""
        self.modem_to_ask()
        return await self._sms_reader.pop()


async def _quietly(work: Any) -> None:
    try:
        await work
    except CoreModemError as exc:
        log.info("%s", exc)
