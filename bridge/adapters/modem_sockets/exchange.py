"""One exchange over a modem's own socket: connect, write the request in chunks, read the answer.

What differs from `bridge.adapters.ip.tcp`:

* A modem cannot close one side only. Where the peer's close is the receipt (`Job.until_close`), the peer gets
  half of the silence to close by itself. Then, once it has acknowledged every byte, the socket is closed for
  good, and that the modem reports it closed before it would force it means that the peer has closed too. What
  a peer answers only after it has seen our end is lost.
* Most modems' close blocks the AT port until the peer answers, so after an answer the peer's own close is
  waited for a moment. Nothing is saved by a reset, which modems do not offer.
* The time in which commands of others hold the AT port is no silence of the peer's.
* A chunk that the modem takes is a sign of life; so is a byte that the peer acknowledges of those that the
  modem still has.
* Whether the peer has acknowledged everything is asked of the modem; a peer that has said all that is waited
  for, or has closed, after the modem took the last of the request counts as having it.
* Traffic is an estimate: see `bridge.protocol.at.sockets.traffic`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from bridge.adapters.modem_sockets.dialects import CLOSING, Dialect
from bridge.core.exchange import Job, Outcome
from bridge.core.messages import Traffic
from bridge.errors import AtRefused, ModemError
from bridge.protocol.at.sockets import traffic
from bridge.protocol.at.sockets.traffic import Meter

log = logging.getLogger("sockets")

ANSWER_LIMIT = 65536
"""Bytes of an answer that are kept."""

CLOSE_GRACE = 0.5
"""Seconds that the peer has to close after its answer, before we do."""


FULL = 0.5
"""Seconds until a modem whose queue is full is given the same bytes again."""

ACKNOWLEDGING = 0.5
"""Seconds between looks at what the peer has acknowledged."""


class Handler(Protocol):
    """Who has a socket."""

    def stirs(self, *, waiting: bool) -> None:
        """Learn that data waits in the modem, to be fetched when the AT port is free; or no more."""

    def received(self, data: bytes, host: str, port: int) -> None:
        """Take what came; with the peer where it is a datagram."""

    def closed(self) -> None:
        """Learn that the peer has closed; what it sent has been received."""

    def lost(self, why: str) -> None:
        """Learn that the socket is gone."""


class Pool(Protocol):
    """What an exchange needs of the sockets' owner."""

    loop: asyncio.AbstractEventLoop
    dialect: Dialect

    async def take(self, handler: Handler, *, udp: bool) -> int:
        """Wait for a free socket and give it to ``handler``; raises ModemError."""

    async def give_back(self, socket: int, handler: Handler, *, close: bool) -> None:
        """Forget the ``socket`` of ``handler``, after closing it if ``close`` says so."""

    def keep(self, task: "asyncio.Task[None]") -> None:
        """Hold on to a task until it has ended."""


class Exchange:
    """One job's life. The task moves it on; `_finish` ends it, whoever comes first; the task cleans up."""

    def __init__(self, pool: Pool, job: Job, done: Callable[[Outcome], None]) -> None:
        self._pool = pool
        self._loop = pool.loop
        self._job = job
        self._done: Callable[[Outcome], None] | None = done
        self._meter = Meter()
        self._connected = self._written = self._shut = False
        self._sent = self._acked = 0
        """Bytes of the request that the modem took; that the peer has acknowledged, as far as was asked."""
        self._handed_over = self._acknowledged = False
        """The modem has all of the request; so has the peer."""
        self._held = True
        """We wait for the AT port, not for the peer."""
        self._answer = b""
        self._peer_closed = asyncio.Event()
        self._over = asyncio.Event()
        self._began = self._last = self._loop.time()
        self._deadline = self._last + job.limit
        self._timer = self._loop.call_at(self._last + min(job.silence, job.limit), self._check_time)
        pool.keep(self._loop.create_task(self._run()))

    # -- what the socket says ----------------------------------------------------------------------------

    def stirs(self, *, waiting: bool) -> None:
        """Data waits in the modem: no silence."""
        if waiting:
            self._held = True
        else:
            self._alive()

    def received(self, data: bytes, host: str = "", port: int = 0) -> None:
        """Take a piece of the answer."""
        del host, port
        self._meter.read(len(data))
        self._alive()
        if self._done is None:
            return
        self._answer = (self._answer + data)[:ANSWER_LIMIT]
        early = self._job.orderly and not self._handed_over
        if not self._job.until_close and not early and self._job.complete(self._answer):
            self._finish()

    def closed(self) -> None:
        """The peer has closed, which ends the exchange."""
        self._peer_closed.set()
        self._finish(None if self._connected else self._unreached("the connection broke"), closed=True)

    def lost(self, why: str) -> None:
        """The socket is gone."""
        self._peer_closed.set()
        self._finish(why if self._connected else self._unreached(why))

    # -- the way -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            socket = await self._pool.take(self, udp=False)
            try:
                await self._carry(socket)
            finally:
                close = not self._peer_closed.is_set() or self._pool.dialect.close_closed
                closing = self._pool.give_back(socket, self, close=close and not self._shut)
                self._pool.keep(self._loop.create_task(closing))
        except ModemError as exc:
            self._finish(str(exc) if self._connected else self._unreached(_text(exc)))
        finally:  # where it is not over, the task was cancelled
            self.lost("the modem's sockets were closed")

    async def _carry(self, socket: int) -> None:
        job, dialect = self._job, self._pool.dialect
        async with dialect.connecting or contextlib.nullcontext():
            if self._over.is_set():
                return
            self._alive()
            self._meter.ask(job.host)
            await dialect.connect(socket, host_text(job.host), job.port)
        self._stands()
        await self._write(socket)
        self._handed_over = not self._over.is_set()
        if job.until_close:
            await self._close_after(socket, job.silence / 2)
        elif job.orderly:
            self._acknowledged = await self._taken(socket)
        await self._await_end(socket)
        if self._answer:
            await _within(self._peer_closed, CLOSE_GRACE)

    async def _write(self, socket: int) -> None:
        """Write the request, as much at a time as the modem takes.

        A queue that is full although nothing is outstanding is the modem's fault: no silence of the peer's.
        """
        request, dialect = self._job.request, self._pool.dialect
        while self._sent < len(request) and not self._over.is_set():
            self._written = self._held = True
            chunk = request[self._sent : self._sent + dialect.chunk]
            taken = await dialect.write(socket, chunk, self._sent)
            if not taken:
                self._held = not await self._outstanding(socket)
                await _within(self._over, FULL)
                continue
            self._sent += taken
            self._meter.write(taken)
            self._alive()

    async def _await_end(self, socket: int) -> None:
        """Wait until it is over; the modem may hold bytes that a slow link takes its time over."""
        while not self._over.is_set():
            await _within(self._over, self._job.silence / 3)
            if self._acked < self._sent and not self._over.is_set():
                await self._outstanding(socket)

    async def _outstanding(self, socket: int) -> int:
        """Return how many bytes the peer has not acknowledged; more that it has are a sign of life."""
        waiting = await self._pool.dialect.outstanding(socket)
        if self._sent - waiting > self._acked:
            self._acked = self._sent - waiting
            self._alive()
        return waiting

    def _stands(self) -> None:
        self._meter.stand()
        self._alive()
        if not self._connected and not self._over.is_set():
            self._connected = True
            self._began = self._last
            if self._job.on_connected:
                self._job.on_connected()

    def _alive(self) -> None:
        self._held = False
        self._last = self._loop.time()

    async def _close_after(self, socket: int, quiet: float) -> None:
        """Wait for the peer's close, then close; a close that was not forced is the peer's too."""
        while not self._over.is_set() and (rest := self._last + quiet - self._loop.time()) > 0:
            await _within(self._over, rest)
        if not await self._taken(socket):
            return
        begun = self._loop.time()
        try:
            await self._pool.dialect.close(socket)
        except AtRefused:  # the peer was faster: its close is on the way
            await _within(self._over, CLOSE_GRACE)
            self._finish("the modem could not close")
            return
        self._shut = True
        if self._loop.time() - begun < CLOSING - 1:
            self.closed()
        else:
            self._finish("the peer did not close")

    async def _taken(self, socket: int) -> bool:
        """Wait until the peer has acknowledged every byte; return False where the exchange ended before."""
        while not self._over.is_set() and await self._outstanding(socket):
            await _within(self._over, ACKNOWLEDGING)
        return not self._over.is_set()

    # -- the end -----------------------------------------------------------------------------------------

    def _check_time(self) -> None:
        now = self._loop.time()
        due = self._deadline if self._held else min(self._last + self._job.silence, self._deadline)
        slow = self._job.too_slow(self._sent, now - self._began) if self._connected else None
        if now < due and not slow:
            self._timer = self._loop.call_at(min(due, now + self._job.silence), self._check_time)
        elif not self._connected:
            self._finish(self._unreached("the modem is busy" if self._held else "no answer"))
        elif now >= self._deadline:
            self._finish(f"the exchange took longer than {self._job.limit:g} s")
        else:
            self._finish(slow or f"silence for {self._job.silence:g} s")

    def _unreached(self, why: str) -> str:
        return f"cannot connect to {self._job.host}:{self._job.port}: {why}"

    def _finish(self, error: str | None = None, *, closed: bool = False) -> None:
        done, self._done = self._done, None
        self._over.set()
        if done is None:
            return
        self._timer.cancel()
        job = self._job
        said = job.complete(self._answer)
        whole = self._handed_over and (closed or said or self._acknowledged)
        complete = self._connected and (closed and whole if job.until_close else said)
        spent = self._meter.closed() if self._connected else self._meter.spent
        outcome = Outcome(self._connected, self._written, complete, self._answer, closed, error, spent, whole)
        # From a turn of its own: `start` may still be in flight.
        self._loop.call_soon(done, outcome)


class Datagram:
    """One datagram to one peer; that the modem took it is all that can be known."""

    def __init__(self, pool: Pool, job: Job, done: Callable[[Outcome], None]) -> None:
        self._pool = pool
        self._job = job
        self._done: Callable[[Outcome], None] | None = done
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
                    await dialect.send(socket, host_text(job.host), job.port, job.request)
                    self._finish(None)
            finally:
                await self._pool.give_back(socket, self, close=True)
        except ModemError as exc:
            self._finish(_text(exc))
        finally:  # where it is not over, the task was cancelled
            self.lost("the modem's sockets were closed")

    def stirs(self, *, waiting: bool) -> None:
        """Nobody waits for an answer."""

    def received(self, data: bytes, host: str, port: int) -> None:
        """Nobody waits for an answer."""

    def closed(self) -> None:
        """The sending tells whether it worked."""

    def lost(self, why: str) -> None:
        """The socket is gone."""
        self._finish(why)

    def _finish(self, error: str | None, *, fits: bool = True) -> None:
        done, self._done = self._done, None
        self._timer.cancel()
        if done is None:
            return
        job = self._job
        if error is None:
            spent = traffic.lookup(job.host).plus(Traffic(traffic.datagram(len(job.request))))
            outcome = Outcome(True, True, True, b"", False, None, spent)
        else:
            text = error if not fits else f"cannot send to {job.host}:{job.port}: {error}"
            outcome = Outcome(not fits, False, False, b"", False, text, Traffic())
        self._pool.loop.call_soon(done, outcome)


def host_text(host: str) -> str:
    """Return ``host`` as it may stand between quotes; raises ModemError."""
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
    """Return the modem's word without our command, which the reader did not give."""
    return error.final if isinstance(error, AtRefused) else str(error)
