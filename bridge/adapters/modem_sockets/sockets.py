"""A modem's own TCP and UDP sockets, by AT commands: a transport, and an inbound port, without PPP.

`Sockets` owns them all; it gives commands by an AT port and learns of the rest by `Sockets.urc`. Names are
resolved by the modem. Owned by the event loop's thread.

When the PDP context is lost (``+UUPSDD``, ``+QIURC: "pdpdeact"``) every socket is lost with it: exchanges
end, listening ends, and ``on_down`` is told, once; after the next `Sockets.bring_up` listen again.
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
"""How codes begin that are about sockets alone."""

RESERVED = 2
"""Sockets that are left for what comes in, while we listen."""

payload_after = quectel.payload_after
"""For the `bridge.adapters.modem.at_port.AtPort` of a modem with sockets; harmless for the others."""


def make_sockets(
    profile: Profile, port: Commands, loop: asyncio.AbstractEventLoop, on_down: Callable[[str], None]
) -> "Sockets | None":
    """Return the sockets of a modem of ``profile``, None where it has none.

    ``on_down`` is told of a lost PDP context. The port must have been made with `payload_after`, and hand its
    unsolicited codes to `Sockets.urc`.
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
        """Data waits in the modem."""
        self.closed = False
        """The peer has closed."""
        self.ending = False
        """We are closing: what it says is of no interest."""


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
        """Counts the PDP contexts."""
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
        """Whether the PDP context stands."""
        return self._up

    @property
    def busy(self) -> bool:
        """Whether anything is in flight, out or in; listening is not."""
        return len(self._entries) > len(self._listening)

    async def bring_up(self, apn: str) -> str | None:
        """Activate the PDP context and return our address; raises ModemError. May take minutes."""
        self._drop("the connection is made anew")
        address = await self.dialect.bring_up(apn)
        self._up = True
        return address

    async def bring_down(self) -> None:
        """Deactivate the PDP context; raises ModemError. What is in flight ends."""
        self._drop("the modem's connection is closed")
        await self.dialect.bring_down()

    def lost(self, why: str) -> None:
        """Learn that the port is gone; ``on_down`` is not told."""
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
        """Wait until a socket may be taken; one at a time, so that no number is chosen twice."""
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

    async def give_back(self, socket: int, handler: Handler, *, close: bool) -> None:
        """Forget the ``socket`` of ``handler``, after closing it if ``close`` says so."""
        entry = self._entries.get(socket)
        if entry is None or entry.handler is not handler:
            return  # it went with the PDP context; or the peer closed, and its number has a new owner
        entry.ending = True
        if close:
            await self._close(socket, entry)
        if self._entries.get(socket) is entry:
            del self._entries[socket]
        self._next()

    async def _close(self, socket: int, entry: _Entry) -> None:
        if fetching := self._fetching.get(socket):  # its answer may be that the peer has closed
            await asyncio.wait([fetching])
        if self._entries.get(socket) is not entry or (entry.closed and not self.dialect.close_closed):
            return
        try:
            await self.dialect.close(socket)
        except ModemError as exc:
            log.debug("closing socket %d: %s", socket, exc)

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Hold on to ``task`` until it has ended."""
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

        Its limits hold, and its sink gets the messages; fine where it does so already. Raises ModemError.
        Lasts as long as the PDP context.
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
                await self.give_back(socket, handler, close=True)
                raise
            self._listening[protocol] = (socket, handler)
            log.info("listening on the modem's port %d, %s", owner.port, protocol)

    async def stop_listening(self) -> None:
        """Take nothing new; what has begun may end."""
        listening, self._listening = self._listening, {}
        for socket, handler in listening.values():
            await self.give_back(socket, handler, close=True)

    # -- what the modem says -----------------------------------------------------------------------------

    def urc(self, urc: Urc) -> None:
        """Take an unsolicited code; one that is not about sockets is ignored."""
        news = self.dialect.news(urc)
        if isinstance(news, ContextLost):
            if self._up:
                self._drop("the network ended the connection")
                self._on_down("the network ended the connection")
        elif isinstance(news, Incoming):
            self._accept(news)
        elif news is None and urc.line.startswith(_OF_SOCKETS):
            self._odd.say(urc.line)
        elif news is not None and not isinstance(news, ContextLost):
            self._about(news)

    def _accept(self, news: Incoming) -> None:
        if self._inbound is None:
            return
        entry = _Entry(Handler(), udp=False)
        self._own(news.socket, entry)
        entry.handler = self._inbound.incoming(news.socket, news.host, news.port)

    def _own(self, socket: int, entry: _Entry) -> None:
        """Enter a new owner; the one before may not have heard yet that its socket is free again."""
        known = self._entries.get(socket)
        self._entries[socket] = entry
        if known is not None and known.closed:
            known.handler.closed()
        elif known is not None:
            known.handler.lost("the modem gave its socket away")

    def _about(self, news: SocketEvent) -> None:
        entry = self._entries.get(news.socket) if not isinstance(news, ContextLost) else None
        match news:
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
            entry.handler.stirs(waiting=True)
        if socket not in self._fetching:
            task = self._fetching[socket] = self.loop.create_task(self._fetch(socket))
            self.keep(task)

    async def _fetch(self, socket: int) -> None:
        """Fetch for whoever has ``socket`` until nothing is left, then pass on the peer's close."""
        entry = self._entries.get(socket)
        try:
            while entry is not None and entry.waiting:
                entry.waiting = False
                while not entry.ending and await self._fetch_once(socket):
                    pass
                if self._entries.get(socket) is entry and not entry.waiting:
                    entry.handler.stirs(waiting=False)
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

        It is for who has the socket when the answer comes: a code that gave it away came before.
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
        """End everything; the PDP context stays as it is."""
        self._drop("the modem's sockets were closed")
        for task in tuple(self._tasks):
            task.cancel()
        with contextlib.suppress(ModemError):
            await asyncio.gather(*self._tasks, return_exceptions=True)


class DatagramTransport:
    """Carries UDP jobs over a modem's sockets.

    As with the machine's own network, connected but not written means that it can never be sent.
    """

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets

    def start(self, job: Job, done: Callable[[Outcome], None]) -> None:
        """Begin ``job``; ``done`` is called exactly once, and never before this returns."""
        Datagram(self._sockets, job, done)
