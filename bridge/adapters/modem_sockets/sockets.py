"""A modem's own TCP and UDP sockets, by AT commands: a transport, and an inbound port, without PPP.

`Sockets` owns them all. It sends commands through an AT port, and `Sockets.urc` takes the modem's unsolicited
codes. The modem resolves names. The event loop's thread owns everything here.

When the PDP context is lost (``+UUPSDD``, ``+QIURC: "pdpdeact"``), every socket is lost with it: exchanges
end, listening ends, and ``on_down`` is called once. The owner has to listen again after the next
`Sockets.bring_up`.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from bridge.adapters.inbound.port import Owner
from bridge.adapters.modem_sockets.dialects import Commands, Dialect, Quectel, Ublox
from bridge.adapters.modem_sockets.exchange import Connection, Datagram, Handler
from bridge.adapters.modem_sockets.inbound import Datagrams, Inbound
from bridge.adapters.system.odd_lines import OddLines
from bridge.core.exchange import Job, Outcome
from bridge.errors import ModemError
from bridge.protocol.at.engine import Urc
from bridge.protocol.at.sockets import Closed, ContextLost, Data, Incoming, Readable, SocketEvent, quectel
from bridge.protocol.modems import Profile

__all__ = ["Sockets", "make_sockets", "payload_after"]

log = logging.getLogger("sockets")

_OF_SOCKETS = ("+QIURC", "+UUSO")
"""Prefixes of unsolicited codes that concern sockets alone."""

RESERVED = 2
"""Number of sockets kept free for incoming connections while the modem listens."""

payload_after = quectel.payload_after
"""Framing for the `bridge.adapters.modem.at_port.AtPort` of a modem with sockets; harmless for others."""


def make_sockets(
    profile: Profile, port: Commands, loop: asyncio.AbstractEventLoop, on_down: Callable[[str], None]
) -> "Sockets | None":
    """Return the sockets of a modem of ``profile``; None for a modem without any.

    ``on_down`` gets the reason why a PDP context was lost. The port must have been made with `payload_after`,
    and must pass its unsolicited codes to `Sockets.urc`.
    """
    dialect: Dialect
    if profile.sockets is None:
        return None
    if profile.sockets == "quectel":
        dialect = Quectel(port, loop, connecting=profile.connect_timeout)
    else:
        dialect = Ublox(port, r4=profile.sockets == "ublox-r4", connecting=profile.connect_timeout)
    return Sockets(dialect, loop, on_down)


class _Entry:
    """A socket in use."""

    __slots__ = ("closed", "ending", "handler", "udp", "waiting")

    def __init__(self, handler: Handler, *, udp: bool) -> None:
        self.handler = handler
        self.udp = udp
        self.waiting = False
        """Whether data waits in the modem."""
        self.closed = False
        """Whether the peer has closed."""
        self.ending = False
        """Whether the bridge is closing it, so that its events no longer matter."""


class Sockets:
    """All sockets of one modem; itself a transport of TCP jobs."""

    def __init__(
        self, dialect: Dialect, loop: asyncio.AbstractEventLoop, on_down: Callable[[str], None]
    ) -> None:
        self.dialect = dialect
        self.loop = loop
        self.datagrams = DatagramTransport(self)
        """The transport of UDP jobs."""
        self._on_down = on_down
        self._up = False
        self._entries: dict[int, _Entry] = {}
        self._epoch = 0
        """Number of the PDP context, to detect a socket of an earlier one."""
        self._fetching: dict[int, asyncio.Task[None]] = {}
        self._taking = False
        self._queue: deque[asyncio.Future[None]] = deque()
        self._listening: dict[str, tuple[int, Handler]] = {}
        self._inbound: Inbound | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._odd = OddLines(log)

    # -- the PDP context ---------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether the PDP context is active."""
        return self._up

    @property
    def busy(self) -> bool:
        """Whether a message is in flight, out or in; a listening socket does not count."""
        return len(self._entries) > len(self._listening)

    async def bring_up(self, apn: str) -> str | None:
        """Activate the PDP context and return the local address; raises ModemError. May take minutes."""
        self._drop("the modem connects again")
        address = await self.dialect.bring_up(apn)
        self._up = True
        return address

    async def bring_down(self) -> None:
        """Deactivate the PDP context and fail the messages in flight; raises ModemError."""
        self._drop("the modem's connection is closed")
        await self.dialect.bring_down()

    def lost(self, why: str) -> None:
        """Learn that the port is gone; ``on_down`` is not called."""
        self._drop(why)

    def _drop(self, why: str) -> None:
        """Forget every socket."""
        self._up = False
        self._epoch += 1
        entries, self._entries = self._entries, {}
        self._listening = {}
        self._inbound = None
        self.dialect.lost(why)
        for waiting in self._queue:
            if not waiting.done():
                waiting.set_exception(ModemError(why))
        self._queue.clear()
        for entry in entries.values():
            entry.handler.lost(why)

    # -- carrying ----------------------------------------------------------------------------------------

    def start(self, job: Job, done: Callable[[Outcome], None]) -> None:
        """Begin ``job`` over TCP; ``done`` is called exactly once, and never before this returns."""
        Connection(self, job, done)

    async def take(self, handler: Handler, *, udp: bool, own_port: int = 0) -> int:
        """Wait for a free socket and give it to ``handler``; raises ModemError."""
        if not self._up:
            raise ModemError("the modem is not connected")
        epoch = self._epoch
        await self._room()
        try:
            socket = await self.dialect.take(udp=udp, used=frozenset(self._entries), own_port=own_port)
            if epoch != self._epoch:
                raise ModemError("the modem's connection was lost")
            self._own(socket, _Entry(handler, udp=udp))
        finally:
            self._taking = False
            self._next()
        return socket

    async def _room(self) -> None:
        """Wait for room; admit one caller at a time, so that no number is chosen twice."""
        waiting = self.loop.create_future()
        self._queue.append(waiting)
        self._next()
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self._taking = False
                self._next()
            raise

    def _next(self) -> None:
        reserved = RESERVED if self._listening else 0
        while self._queue and not self._taking and len(self._entries) < self.dialect.sockets - reserved:
            waiting = self._queue.popleft()
            if not waiting.done():
                self._taking = True
                waiting.set_result(None)

    async def release(self, socket: int, handler: Handler, *, close: bool) -> None:
        """Forget the ``socket`` of ``handler``, after closing it if ``close`` says so."""
        entry = self._entries.get(socket)
        if entry is None or entry.handler is not handler:
            return  # lost with the PDP context; or closed by the peer, and the number has a new owner
        entry.ending = True
        if close:
            await self._close(socket, entry)
        if self._entries.get(socket) is entry:
            del self._entries[socket]
        self._next()

    async def _close(self, socket: int, entry: _Entry) -> None:
        if fetching := self._fetching.get(socket):  # the answer may report that the peer has closed
            await asyncio.wait([fetching])
        if self._entries.get(socket) is not entry or (entry.closed and not self.dialect.close_closed):
            return
        try:
            await self.dialect.close(socket)
        except ModemError as exc:
            log.debug("closing socket %d: %s", socket, exc)

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Keep a reference to ``task`` until it has ended."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.loop.call_exception_handler(
                {"message": "a socket's task failed", "exception": error, "task": task}
            )

    # -- listening ---------------------------------------------------------------------------------------

    async def listen(self, owner: Owner, protocols: tuple[str, ...] = ("tcp",)) -> None:
        """Take messages on ``owner.port`` for ``owner``, a `bridge.adapters.inbound.listener.Listener`.

        The owner's limits apply, and its sink gets the messages. Listening lasts as long as the PDP context;
        a second call changes nothing. Raises ModemError.
        """
        if self._inbound is None or self._inbound.owner is not owner:
            await self.stop_listening()
            self._inbound = Inbound(self, owner)
        for protocol in (each for each in protocols if each not in self._listening):
            udp = protocol == "udp"
            handler = Datagrams(owner) if udp else Handler()
            socket = await self.take(handler, udp=udp, own_port=owner.port)
            try:
                await self.dialect.listen(socket, owner.port, udp=udp)
            except ModemError:
                await self.release(socket, handler, close=True)
                raise
            self._listening[protocol] = (socket, handler)
            log.info("listening on the modem's port %d, %s", owner.port, protocol)

    async def stop_listening(self) -> None:
        """Accept nothing new; messages that have begun may finish."""
        listening, self._listening = self._listening, {}
        for socket, handler in listening.values():
            await self.release(socket, handler, close=True)

    # -- the modem's unsolicited codes -------------------------------------------------------------------

    def urc(self, urc: Urc) -> None:
        """Take an unsolicited code; ignore one that does not concern sockets."""
        event = self.dialect.event(urc)
        if isinstance(event, ContextLost):
            if self._up:
                self._drop("the network ended the connection")
                self._on_down("the network ended the connection")
        elif isinstance(event, Incoming):
            self._accept(event)
        elif event is None and urc.line.startswith(_OF_SOCKETS):
            self._odd.say(urc.line)
        elif event is not None and not isinstance(event, ContextLost):
            self._about(event)

    def _accept(self, event: Incoming) -> None:
        if self._inbound is None:
            return
        entry = _Entry(Handler(), udp=False)
        self._own(event.socket, entry)
        entry.handler = self._inbound.incoming(event.socket, event.host, event.port)

    def _own(self, socket: int, entry: _Entry) -> None:
        """Register a new owner; end the previous one, which may not know yet that its socket was closed."""
        known = self._entries.get(socket)
        self._entries[socket] = entry
        if known is not None and known.closed:
            known.handler.closed()
        elif known is not None:
            known.handler.lost("the modem gave its socket away")

    def _about(self, event: SocketEvent) -> None:
        entry = self._entries.get(event.socket) if not isinstance(event, ContextLost) else None
        match event:
            case _ if entry is None:
                return
            case Readable(socket=socket):
                self._fetch_soon(socket, entry)
            case Data(whole=False):
                entry.handler.lost("bytes were lost between the modem and us")
            case Data(data=data, host=host, port=port):
                entry.handler.received(data, host, port)
            case Closed(socket=socket):
                entry.closed = True
                if self.dialect.pushes:
                    entry.handler.closed()
                else:
                    self._fetch_soon(socket, entry)

    def _fetch_soon(self, socket: int, entry: _Entry) -> None:
        entry.waiting = True
        if not entry.closed:
            entry.handler.data_waits(waiting=True)
        if socket not in self._fetching:
            task = self._fetching[socket] = self.loop.create_task(self._fetch(socket))
            self.keep(task)

    async def _fetch(self, socket: int) -> None:
        """Fetch for the owner of ``socket`` until nothing waits, then pass on the peer's close."""
        entry = self._entries.get(socket)
        try:
            while entry is not None and entry.waiting:
                entry.waiting = False
                while not entry.ending and await self._fetch_once(socket):
                    pass
                if self._entries.get(socket) is entry and not entry.waiting:
                    entry.handler.data_waits(waiting=False)
                    if entry.closed:
                        entry.handler.closed()
                        return
                entry = self._entries.get(socket)
        except ModemError as exc:
            if entry is not None:
                entry.handler.lost(str(exc))
        finally:
            del self._fetching[socket]

    async def _fetch_once(self, socket: int) -> bool:
        """Fetch one piece; return whether there may be more.

        The piece goes to the owner at the time of the answer: a code that reassigned the socket came before.
        """
        entry = self._entries.get(socket)
        if entry is None:
            return False
        if entry.udp:
            datagram = await self.dialect.read_datagram(socket)
            if datagram is not None:
                host, port, data = datagram
                entry.handler.received(data, host, port)
            return datagram is not None
        data, more = await self.dialect.read(socket)
        entry = self._entries.get(socket)
        if data and entry is not None:
            entry.handler.received(data, "", 0)
        return more

    # -- the end -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Fail every exchange and close; the PDP context stays as it is."""
        self._drop("the modem's sockets were closed")
        for task in tuple(self._tasks):
            task.cancel()
        with contextlib.suppress(ModemError):
            await asyncio.gather(*self._tasks, return_exceptions=True)


class DatagramTransport:
    """Carries UDP jobs over a modem's sockets.

    As with the machine's own network, connected but not written means that the datagram can never be sent.
    """

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets

    def start(self, job: Job, done: Callable[[Outcome], None]) -> None:
        """Begin ``job``; ``done`` is called exactly once, and never before this returns."""
        Datagram(self._sockets, job, done)
