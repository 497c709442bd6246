"""The two families of AT sockets behind one interface: u-blox (SARA-U2, SARA-R4) and Quectel (BG96, EC21).

A dialect turns "connect", "write" and "close" into the commands of its make. The event loop's thread owns it.

A u-blox modem keeps its AT port busy while it connects, so a hung modem looks like a connecting one until the
profile's ``connect_timeout``. A Quectel modem leaves the port free, and a hang shows at the next command.
Most SARA-R4 could do the same (``async_connect`` of +USOCO), but R404M and R410M-01B do not know the
parameter [UBX-17003787 R09, section 18.9.4], so it is not used. A write keeps the AT port busy too. On all
but SARA-U2 the network determines how long, so a hang in a write shows only after `WRITING`.

A write may take only some of its bytes, or none while the modem's queue is full; it returns the number. Where
the answer leaves the number open, the dialect asks the modem how many bytes of the stream it has taken.
"""

import asyncio
import contextlib
import logging
from typing import Protocol

from bridge.errors import AtRefused, ModemError
from bridge.protocol.at.answers import context_apn
from bridge.protocol.at.engine import Answer, Urc
from bridge.protocol.at.sockets import Opened, SocketEvent, quectel, ublox

log = logging.getLogger("sockets")

LOCAL = 3.0
"""Seconds for a command that the modem answers without the network; u-blox allows less than one."""

ACTIVATION = 150.0
"""Seconds that a PDP context may take [u-blox: +UPSDA, 150 s; Quectel: +QIACT, 150 s]."""

DEACTIVATION = 40.0
"""Seconds that the deactivation of a PDP context may take [Quectel: +QIDEACT, 40 s]."""

R4_CLOSING = 130.0
"""Seconds that a SARA-R4 may take to close [SARA-R4 AT commands manual UBX-17003787, +USOCL: 120 s]."""

WRITING = 125.0
"""Seconds that a write may take [Quectel BG96 TCP/IP Application Note, +QISEND and +QISENDEX: 120 s,
"determined by network"; UBX-17003787 R09, section 18.10, +USOWR on SARA-R4: 120 s]."""

QUEUEING = 20.0
"""Seconds for u-blox's datagrams and for SARA-U2's writes, which the modem queues within about a second
[UBX-17003787 R16, section 19.11, +USOST: 10 s; Particle Device OS, mdm_hal.cpp, +USOWR on SARA-U2: 1 s]."""

CLOSING = 10
"""Seconds until the modem forces an unanswered close: Quectel's default, SARA-U2's limit."""


class Commands(Protocol):
    """The AT port as dialects see it: a `bridge.adapters.modem.at_port.AtPort`."""

    async def command(
        self,
        text: str,
        *,
        timeout: float = 10.0,
        finals: tuple[str, ...] = ("OK",),
        prompt: bytes | None = None,
        shown: str | None = None,
    ) -> Answer:
        """Send one command and return its answer; raises ModemError."""


class Dialect(Protocol):
    """The sockets of one make of modem. Every coroutine may raise ModemError."""

    sockets: int
    """Number of the modem's sockets."""
    chunk: int
    """Bytes of a stream that one `write` takes."""
    datagram: int
    """Bytes of the largest datagram."""
    pushes: bool
    """Whether received data comes with a URC; otherwise it is fetched."""
    close_closed: bool
    """Whether a socket that the peer has closed must be closed here too."""
    connecting: asyncio.Lock | None
    """Lock that is held while a connect keeps the AT port busy; None where it does not."""

    async def bring_up(self, apn: str) -> str | None:
        """Activate the PDP context and close earlier sockets; return the local address."""

    async def bring_down(self) -> None:
        """Deactivate the PDP context."""

    async def take(self, *, udp: bool, used: frozenset[int], own_port: int) -> int:
        """Return a socket that is not in ``used``; ``own_port`` is the UDP port to listen on, or 0."""

    async def connect(self, socket: int, host: str, port: int) -> None:
        """Connect over TCP."""

    async def write(self, socket: int, data: bytes, sent: int) -> int:
        """Write at most ``chunk`` bytes of a stream; return how many of them the modem took.

        ``sent`` is how many bytes of the stream the modem took before. The result is 0 while the modem's
        queue is full: wait, and write the same bytes again.
        """

    async def send(self, socket: int, host: str, port: int, data: bytes) -> None:
        """Send one datagram."""

    async def read(self, socket: int) -> tuple[bytes, bool]:
        """Fetch waiting bytes of a stream; return them and whether there may be more."""

    async def read_datagram(self, socket: int) -> tuple[str, int, bytes] | None:
        """Fetch one datagram; return the peer's address, its port and the data, or None."""

    async def listen(self, socket: int, port: int, *, udp: bool) -> None:
        """Listen on ``port``."""

    async def outstanding(self, socket: int) -> int:
        """Return how many bytes the peer has not acknowledged; 0 where the modem does not know."""

    async def close(self, socket: int) -> None:
        """Close; if that takes less than `CLOSING` seconds, the peer has closed too."""

    def event(self, urc: Urc) -> SocketEvent | None:
        """Return the socket event that an unsolicited code reports; None for other codes."""

    def lost(self, why: str) -> None:
        """Fail the calls that wait for an unsolicited code."""


class Ublox:
    """SARA-U2, or SARA-R4 with ``r4``, which has +CGACT instead of +UPSDA."""

    sockets = ublox.SOCKETS
    chunk = ublox.CHUNK
    datagram = ublox.DATAGRAM
    pushes = False
    close_closed = False

    def __init__(self, port: Commands, *, r4: bool, connecting: float) -> None:
        """``connecting`` is the limit of a connect, in seconds."""
        self._port = port
        self._r4 = r4
        self._connecting = connecting
        self.connecting: asyncio.Lock | None = asyncio.Lock()

    async def bring_up(self, apn: str) -> str | None:
        """Activate profile 0, or context 1 on SARA-R4."""
        await self._port.command(ublox.HEX_MODE)
        if self._r4:
            return await self._bring_up_r4(apn)
        if ublox.is_active(await self._port.command(ublox.ACTIVE)):
            await self.bring_down()
        for text in ublox.profile(apn):
            await self._port.command(text)
        await self._port.command(ublox.ACTIVATE, timeout=ACTIVATION)
        return ublox.address(await self._port.command(ublox.ADDRESS))

    async def _bring_up_r4(self, apn: str) -> str | None:
        with contextlib.suppress(AtRefused):  # without these codes a lost context shows as closing sockets
            await self._port.command(ublox.R4_TELL)
        await self._set_apn(apn)
        await self._port.command(ublox.R4_ACTIVATE, timeout=ACTIVATION)
        for socket in range(self.sockets):  # sockets are open if the context was up before
            with contextlib.suppress(AtRefused):
                await self.close(socket)
        return ublox.address(await self._port.command(ublox.R4_ADDRESS))

    async def _set_apn(self, apn: str) -> None:
        """Set the APN of SARA-R4's context if it differs.

        Some firmware refuses that while it is attached; it then keeps the APN that it attached with.
        """
        with contextlib.suppress(AtRefused):
            if context_apn((await self._port.command(ublox.R4_CONTEXTS)).lines) == ("IP", apn):
                return
        try:
            for text in ublox.r4_profile(apn):
                await self._port.command(text)
        except AtRefused as exc:
            log.warning("the modem keeps the APN that it has: %s", exc)

    async def bring_down(self) -> None:
        """Deactivate; LTE refuses it for the last bearer, which is no error [3GPP TS 27.007, 10.1.10]."""
        with contextlib.suppress(AtRefused):
            await self._port.command(
                ublox.R4_DEACTIVATE if self._r4 else ublox.DEACTIVATE, timeout=DEACTIVATION
            )

    async def take(self, *, udp: bool, used: frozenset[int], own_port: int) -> int:
        """Create a socket; the modem chooses its number."""
        del used
        text = ublox.create(ublox.UDP, own_port) if udp else ublox.create(ublox.TCP)
        socket = ublox.created(await self._port.command(text, timeout=LOCAL))
        if socket < 0:
            raise ModemError("the modem created a socket without a number")
        return socket

    async def connect(self, socket: int, host: str, port: int) -> None:
        """Connect; the AT port is busy until the connection is up or has failed."""
        await self._port.command(ublox.connect(socket, host, port), timeout=self._connecting)

    async def write(self, socket: int, data: bytes, sent: int) -> int:
        """Write in hex."""
        text, shown = ublox.write(socket, data), _shown("USOWR", data)
        seconds = WRITING if self._r4 else QUEUEING
        try:
            count = ublox.written(await self._port.command(text, timeout=seconds, shown=shown), socket)
        except AtRefused:
            if await self._figure(ublox.ask_error(socket)) != ublox.FULL:
                raise
            count = 0
        if count == len(data):
            return count
        gained = await self._figure(ublox.ask_sent(socket)) - sent
        count = count if count < len(data) else -1
        if count < gained <= len(data):
            return gained
        if count < 0:
            raise ModemError("the modem does not say how much of the data it took")
        return count

    async def _figure(self, text: str) -> int:
        """Return the figure of a +USOCTL answer; -1 where the modem refuses it."""
        try:
            answer = await self._port.command(text, timeout=LOCAL)
            return ublox.figure(answer, *map(int, text.partition("=")[2].split(",")))
        except AtRefused:
            return -1

    async def send(self, socket: int, host: str, port: int, data: bytes) -> None:
        """Send one datagram, in hex or after a prompt."""
        text, rest = ublox.send(socket, host, port, data)
        shown = _shown("USOST", data)
        answer = await self._port.command(text, timeout=QUEUEING, prompt=rest, shown=shown)
        if ublox.sent(answer, socket) != len(data):
            raise ModemError("the modem does not say that it sent the whole datagram")

    async def read(self, socket: int) -> tuple[bytes, bool]:
        """Fetch the waiting bytes; a refusal means that none wait."""
        try:
            answer = await self._port.command(ublox.read(socket), timeout=LOCAL)
        except AtRefused:
            return b"", False
        if not ublox.is_whole(answer, socket):
            raise ModemError("bytes were lost between the modem and us")
        data = ublox.data_read(answer)
        return data, len(data) >= ublox.READ

    async def read_datagram(self, socket: int) -> tuple[str, int, bytes] | None:
        """Fetch one datagram."""
        try:
            return ublox.datagram_read(await self._port.command(ublox.read_datagram(socket), timeout=LOCAL))
        except AtRefused:
            return None

    async def listen(self, socket: int, port: int, *, udp: bool) -> None:
        """Listen; some firmware refuses it for a UDP socket, whose port is bound already."""
        try:
            await self._port.command(ublox.listen(socket, port))
        except AtRefused:
            if not udp:
                raise

    async def outstanding(self, socket: int) -> int:
        """Ask the modem."""
        return max(0, await self._figure(ublox.ask_outstanding(socket)))

    async def close(self, socket: int) -> None:
        """Close; SARA-R4 may take 120 s."""
        await self._port.command(ublox.close(socket), timeout=R4_CLOSING if self._r4 else CLOSING + 5.0)

    def event(self, urc: Urc) -> SocketEvent | None:
        """Read +UUSORD and the related codes."""
        return ublox.event(urc, r4=self._r4)

    def lost(self, why: str) -> None:
        """Do nothing: no call of this dialect waits for an unsolicited code."""


class Quectel:
    """BG96 and EC21."""

    sockets = quectel.SOCKETS
    chunk = quectel.CHUNK
    datagram = quectel.DATAGRAM
    pushes = True
    close_closed = True

    def __init__(self, port: Commands, loop: asyncio.AbstractEventLoop, *, connecting: float) -> None:
        """``connecting`` is the limit of an opening, in seconds."""
        self._port = port
        self._loop = loop
        self._connecting = connecting
        self.connecting: asyncio.Lock | None = None
        self._opening: dict[int, asyncio.Future[int]] = {}

    async def bring_up(self, apn: str) -> str | None:
        """Activate context 1; deactivate it first if it is active, which closes its sockets."""
        if quectel.address(await self._port.command(quectel.ACTIVE)):
            await self.bring_down()
        for text in quectel.profile(apn):
            await self._port.command(text)
        await self._port.command(quectel.ACTIVATE, timeout=ACTIVATION)
        return quectel.address(await self._port.command(quectel.ACTIVE))

    async def bring_down(self) -> None:
        """Deactivate context 1."""
        with contextlib.suppress(AtRefused):
            await self._port.command(quectel.DEACTIVATE, timeout=DEACTIVATION)

    async def take(self, *, udp: bool, used: frozenset[int], own_port: int) -> int:
        """Choose the lowest free number, because the modem gives the highest to incoming connections."""
        del udp, own_port
        free = next((number for number in range(self.sockets) if number not in used), None)
        if free is None:
            raise ModemError("all sockets of the modem are in use")
        return free

    async def connect(self, socket: int, host: str, port: int) -> None:
        """Connect; the AT port is free meanwhile."""
        await self._open(socket, quectel.open_socket(socket, "TCP", host, port))

    async def _open(self, socket: int, text: str) -> None:
        opened = self._opening[socket] = self._loop.create_future()
        try:
            await self._port.command(text, timeout=LOCAL)
            error = await asyncio.wait_for(opened, self._connecting)
        except TimeoutError:
            raise ModemError("the modem did not say how an opening ended") from None
        finally:
            self._opening.pop(socket, None)
        if error:
            raise AtRefused(text, f"+QIOPEN: {socket},{error}", "QIOPEN", error)

    async def write(self, socket: int, data: bytes, sent: int) -> int:
        """Write; a full queue counts only where the modem knows the socket: it refuses a lost one alike."""
        try:
            await self._give(socket, data)
        except AtRefused as exc:
            if exc.kind != quectel.FULL:
                raise
            try:
                answer = await self._port.command(quectel.ask_outstanding(socket), timeout=LOCAL)
            except AtRefused:
                raise exc from None
            total = quectel.sent(answer)
            if not sent <= total <= sent + len(data):
                raise
            return total - sent
        return len(data)

    async def _give(self, socket: int, data: bytes) -> None:
        """Pass ``data`` to the modem, in hex or after a prompt."""
        text, rest = quectel.write(socket, data)
        shown = _shown("QISENDEX", data)
        await self._port.command(text, timeout=WRITING, finals=quectel.SENT, prompt=rest, shown=shown)

    async def send(self, socket: int, host: str, port: int, data: bytes) -> None:
        """Open a socket to the peer, and send."""
        await self._open(socket, quectel.open_socket(socket, "UDP", host, port))
        await self._give(socket, data)

    async def read(self, socket: int) -> tuple[bytes, bool]:
        """Return nothing: data comes with a URC."""
        del socket
        return b"", False

    async def read_datagram(self, socket: int) -> tuple[str, int, bytes] | None:
        """Return None: datagrams come with a URC."""
        del socket
        return None

    async def listen(self, socket: int, port: int, *, udp: bool) -> None:
        """Listen on all of the modem's addresses, which the manual writes as 127.0.0.1."""
        service = "UDP SERVICE" if udp else "TCP LISTENER"
        await self._open(socket, quectel.open_socket(socket, service, "127.0.0.1", 0, port))

    async def outstanding(self, socket: int) -> int:
        """Ask the modem."""
        try:
            answer = await self._port.command(quectel.ask_outstanding(socket), timeout=LOCAL)
        except AtRefused:
            return 0
        return quectel.outstanding(answer)

    async def close(self, socket: int) -> None:
        """Close; the modem forces it after `CLOSING` seconds."""
        await self._port.command(quectel.close(socket, CLOSING), timeout=CLOSING + 5.0)

    def event(self, urc: Urc) -> SocketEvent | None:
        """Read +QIURC; pass +QIOPEN to the call that waits for it."""
        found = quectel.event(urc)
        if isinstance(found, Opened):
            opened = self._opening.get(found.socket)
            if opened is not None and not opened.done():
                opened.set_result(found.error)
            return None
        return found

    def lost(self, why: str) -> None:
        """Fail the calls that wait for +QIOPEN."""
        for opened in self._opening.values():
            if not opened.done():
                opened.set_exception(ModemError(why))


def _shown(name: str, data: bytes) -> str:
    """Return a command for traces without its payload, which may hold keys."""
    return f"AT+{name}=… ({len(data)} bytes)"
