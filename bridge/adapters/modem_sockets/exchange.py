"""One exchange over a modem's own socket: connect, write the request in chunks, read the answer.

The differences to `bridge.adapters.ip.tcp`:

* A modem cannot close one direction alone. Where the peer's close is the receipt (`Job.until_close`), the
  peer gets half of the silence to close by itself. Once it has acknowledged every byte, the socket is closed.
  If the modem reports the close before it would force it, the peer has closed too. An answer that the peer
  sends only after our FIN is lost.
* Most modems' close blocks the AT port until the peer answers, so after an answer the exchange waits a moment
  for the peer's own close. Modems offer no reset, which would save packets.
* Time in which other commands hold the AT port does not count as the peer's silence.
* The modem holds few bytes, and reports only for an open socket how many the peer has acknowledged: the
  exchange is ``shallow``.
* Traffic is an estimate: see `bridge.protocol.at.sockets.traffic`.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from bridge.adapters.modem_sockets.dialects import CLOSING, Dialect
from bridge.core.exchange import Exchange, Job, Outcome
from bridge.core.messages import Traffic
from bridge.errors import AtRefused, ModemError
from bridge.protocol.at.sockets import traffic
from bridge.protocol.at.sockets.traffic import Meter

CLOSE_GRACE = 0.5
"""Seconds that the peer has to close after its answer, before the bridge closes."""

FULL = 0.5
"""Seconds until the same bytes are written again to a modem whose queue is full."""

ACKNOWLEDGING = 0.5
"""Seconds between checks of what the peer has acknowledged."""


class Handler:
    """The owner of a socket. This base ignores everything, which suits a listening socket."""

    def data_waits(self, *, waiting: bool) -> None:
        """Learn whether data waits in the modem, to be fetched when the AT port is free."""

    def received(self, data: bytes, host: str, port: int) -> None:
        """Take received data; ``host`` and ``port`` are a datagram's peer."""

    def closed(self) -> None:
        """Learn that the peer has closed; all its data has been received."""

    def lost(self, why: str) -> None:
        """Learn that the socket is gone."""


class Pool(Protocol):
    """The sockets' owner as an exchange sees it."""

    loop: asyncio.AbstractEventLoop
    dialect: Dialect

    async def take(self, handler: Handler, *, udp: bool) -> int:
        """Wait for a free socket and give it to ``handler``; raises ModemError."""

    async def release(self, socket: int, handler: Handler, *, close: bool) -> None:
        """Forget the ``socket`` of ``handler``, after closing it if ``close`` says so."""

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Keep a reference to ``task`` until it has ended."""


class Connection(Handler):
    """The socket of one exchange: the `Exchange` decides; a task carries its decisions out and cleans up."""

    def __init__(self, pool: Pool, job: Job, done: Callable[[Outcome], None]) -> None:
        self._pool = pool
        self._loop = pool.loop
        self._job = job
        self._done = done
        self._meter = Meter()
        self._shut = False
        self._peer_closed = asyncio.Event()
        self._over = asyncio.Event()
        self._exchange = Exchange(job, self._loop.time(), shallow=True)
        self._exchange.held = True
        self._timer = self._loop.call_at(self._exchange.tick(self._loop.time()), self._on_timer)
        pool.keep(self._loop.create_task(self._run()))

    # -- the socket's callbacks --------------------------------------------------------------------------

    def data_waits(self, *, waiting: bool) -> None:
        """Do not count time as silence while data waits in the modem."""
        if waiting:
            self._exchange.held = True
        else:
            self._exchange.alive(self._loop.time())

    def received(self, data: bytes, host: str = "", port: int = 0) -> None:
        """Take a piece of the answer."""
        del host, port
        self._meter.read(len(data))
        self._exchange.received(data, self._loop.time())
        self._step()

    def closed(self) -> None:
        """End the exchange, because the peer has closed."""
        self._peer_closed.set()
        self._exchange.closed()
        self._step()

    def lost(self, why: str) -> None:
        """Fail the exchange, because the socket is gone."""
        self._peer_closed.set()
        self._exchange.failed(why)
        self._step()

    # -- the exchange's steps ----------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            socket = await self._pool.take(self, udp=False)
            try:
                await self._carry(socket)
            finally:
                close = not self._peer_closed.is_set() or self._pool.dialect.close_closed
                closing = self._pool.release(socket, self, close=close and not self._shut)
                self._pool.keep(self._loop.create_task(closing))
        except ModemError as exc:
            self._exchange.failed(str(exc) if self._exchange.reached else _text(exc))
        finally:  # an exchange that is not over was cancelled
            self.lost("the modem's sockets were closed")

    async def _carry(self, socket: int) -> None:
        job, dialect, exchange = self._job, self._pool.dialect, self._exchange
        async with dialect.connecting or contextlib.nullcontext():
            if exchange.over:
                return
            exchange.alive(self._loop.time())
            self._meter.ask(job.host)
            await dialect.connect(socket, host_text(job.host), job.port)
        self._meter.stand()
        exchange.connected(self._loop.time())
        await self._write(socket)
        if job.until_close:
            await self._close_after(socket, job.silence / 2)
        elif job.orderly:
            await self._taken(socket)
        await self._await_end(socket)
        if exchange.answer:
            await _within(self._peer_closed, CLOSE_GRACE)

    async def _write(self, socket: int) -> None:
        """Write the request in the portions that the modem takes.

        Where the queue is full although no byte is outstanding, the modem is at fault, and the time does not
        count as the peer's silence.
        """
        exchange, dialect = self._exchange, self._pool.dialect
        while not (exchange.handed_over or exchange.over):
            exchange.written = exchange.held = True
            chunk = self._job.request[exchange.sent : exchange.sent + dialect.chunk]
            taken = await dialect.write(socket, chunk, exchange.sent)
            if not taken:
                exchange.held = not await self._outstanding(socket)
                await _within(self._over, FULL)
                continue
            self._meter.write(taken)
            exchange.took(taken, self._loop.time())

    async def _await_end(self, socket: int) -> None:
        """Wait for the end; ask after bytes that the modem holds, because a slow link may still send them."""
        exchange = self._exchange
        while not exchange.over:
            await _within(self._over, self._job.silence / 3)
            if exchange.acked < exchange.sent and not exchange.over:
                await self._outstanding(socket)

    async def _outstanding(self, socket: int) -> int:
        """Return how many bytes the peer has not acknowledged."""
        waiting = await self._pool.dialect.outstanding(socket)
        self._exchange.acknowledged(self._exchange.sent - waiting, self._loop.time())
        self._step()
        return waiting

    async def _close_after(self, socket: int, quiet: float) -> None:
        """Wait for the peer's close, then close; unless the modem forced the close, the peer closed too."""
        exchange = self._exchange
        while not exchange.over and (rest := exchange.alive_at + quiet - self._loop.time()) > 0:
            await _within(self._over, rest)
        if not await self._taken(socket):
            return
        begun = self._loop.time()
        try:
            await self._pool.dialect.close(socket)
        except AtRefused:  # the peer closed first, and the modem's report of it is about to come
            await _within(self._over, CLOSE_GRACE)
            exchange.end("the modem could not close")
        else:
            self._shut = True
            if self._loop.time() - begun < CLOSING - 1:
                self.closed()
            exchange.end("the peer did not close")
        self._step()

    async def _taken(self, socket: int) -> bool:
        """Wait until the peer has acknowledged every byte; return False where the exchange ended before."""
        while not self._exchange.over and await self._outstanding(socket):
            await _within(self._over, ACKNOWLEDGING)
        return not self._exchange.over

    # -- deciding ----------------------------------------------------------------------------------------

    def _on_timer(self) -> None:
        due = self._step()
        if not self._over.is_set():
            self._timer = self._loop.call_at(due, self._on_timer)

    def _step(self) -> float:
        """Report the end once the exchange is over; return the time of the next check."""
        exchange = self._exchange
        due = exchange.tick(self._loop.time())
        if exchange.over and not self._over.is_set():
            self._over.set()
            self._timer.cancel()
            spent = self._meter.closed() if exchange.reached else self._meter.spent
            # From a turn of its own: `start` may still be in flight.
            self._loop.call_soon(self._done, exchange.outcome(spent))
        return due


class Datagram(Handler):
    """One datagram to one peer, which does not acknowledge it."""

    def __init__(self, pool: Pool, job: Job, done: Callable[[Outcome], None]) -> None:
        self._pool = pool
        self._job = job
        self._done: Callable[[Outcome], None] | None = done
        self._spent = Traffic()
        """What it costs once the modem was asked to send it, whatever the modem says then."""
        self._timer = pool.loop.call_later(job.limit, self._finish, "no answer")
        pool.keep(pool.loop.create_task(self._run()))

    async def _run(self) -> None:
        job, dialect = self._job, self._pool.dialect
        size = len(job.request)
        if not 0 < size <= dialect.datagram:
            self._finish(f"the modem's datagrams have 1 to {dialect.datagram} bytes, not {size}", fits=False)
            return
        try:
            socket = await self._pool.take(self, udp=True)
            try:
                if self._done:
                    host = host_text(job.host)
                    self._spent = traffic.lookup(job.host).plus(Traffic(traffic.datagram(size)))
                    await dialect.send(socket, host, job.port, job.request)
                    self._finish(None)
            finally:
                await self._pool.release(socket, self, close=True)
        except ModemError as exc:
            self._finish(_text(exc))
        finally:  # a datagram without a result was cancelled
            self.lost("the modem's sockets were closed")

    def lost(self, why: str) -> None:
        """Fail, because the socket is gone."""
        self._finish(why)

    def _finish(self, error: str | None, *, fits: bool = True) -> None:
        done, self._done = self._done, None
        self._timer.cancel()
        if done is None:
            return
        job = self._job
        if error is None:
            outcome = Outcome(connected=True, written=True, complete=True, traffic=self._spent)
        else:
            text = error if not fits else f"cannot send to {job.host}:{job.port}: {error}"
            outcome = Outcome(connected=not fits, error=text, traffic=self._spent)
        self._pool.loop.call_soon(done, outcome)


def host_text(host: str) -> str:
    """Return ``host`` in ASCII for a quoted AT parameter; raises ModemError."""
    try:
        text = host if ":" in host else host.encode("idna").decode()
    except UnicodeError:
        text = ""
    if not text or '"' in text or not text.isprintable() or "," in text:
        raise ModemError(f"{host!r} is not a host name")
    return text


async def _within(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(0.0, seconds))


def _text(error: ModemError) -> str:
    """Return the modem's error without our command, which the reader did not send."""
    return error.final if isinstance(error, AtRefused) else str(error)
