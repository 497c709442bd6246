"""The inbound port on a modem's own sockets: one TCP connection or one UDP datagram is one message.

The limits, counts, allow list and sink are those of `bridge.adapters.inbound.listener`. A modem can do less.
It accepts by itself, so a connection that is not allowed, or for which there is no room, is closed instead of
left in a backlog. It closes but never resets, so the end of a connection is no receipt for its peer. A
connection whose message is taken is closed only after the message is durable.
"""

import asyncio
import logging
from collections.abc import Callable

from bridge.adapters.inbound.port import Connection, Owner, address_text, take_datagram
from bridge.adapters.modem_sockets.exchange import ACKNOWLEDGING, FULL, Handler, Pool
from bridge.core.inbound import Received
from bridge.core.messages import Traffic
from bridge.errors import ModemError
from bridge.protocol.at.sockets import traffic
from bridge.protocol.at.sockets.traffic import Meter

log = logging.getLogger("inbound")

ANSWER_WAIT = 30.0
"""Seconds for the modem to take the answer to a command, and for the peer to acknowledge it."""


class Inbound:
    """The incoming connections of a modem."""

    def __init__(self, pool: Pool, owner: Owner) -> None:
        self.pool = pool
        self.owner = owner
        self.open: set[_Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def incoming(self, socket: int, host: str, port: int) -> Handler:
        """Take a connection that the modem has accepted."""
        connection = _Connection(self, socket, host, port)
        admitted = _admits(self.owner, host, "tcp")
        if admitted and self.owner.accepts and len(self.open) < self.owner.limits.max_connections:
            self.open.add(connection)
            self._sweep_later()
        else:
            connection.refuse()
        return connection

    def _sweep_later(self) -> None:
        if self.open and self._sweep is None:
            limits = self.owner.limits
            pause = min(0.5, min(limits.timeout, limits.deadline) / 5)
            self._sweep = self.pool.loop.call_later(pause, self._check_times)

    def _check_times(self) -> None:
        self._sweep = None
        for connection in tuple(self.open):
            connection.check_time()
        self._sweep_later()

    def ended(self, connection: "_Connection") -> None:
        """Forget a connection, and release its socket."""
        self.open.discard(connection)
        close = not connection.gone or self.pool.dialect.close_closed
        closing = self.pool.release(connection.socket, connection, close=close)
        self.pool.keep(self.pool.loop.create_task(closing))


class _Connection(Connection, Handler):
    """A connection that the modem accepted; its close is no receipt for the peer."""

    over_modem = True

    def __init__(self, inbound: Inbound, socket: int, host: str, port: int) -> None:
        super().__init__(inbound.owner, address_text(host, port))
        self.socket = socket
        self.gone = False
        """Whether the peer has closed, or the socket is lost."""
        self._inbound = inbound
        self._meter = Meter()
        self._meter.accept()

    def data_waits(self, *, waiting: bool) -> None:
        """Do not count time as silence while data waits in the modem."""
        self.gathering.held = waiting

    def received(self, data: bytes, host: str = "", port: int = 0) -> None:
        """Take a piece of the message."""
        del host, port
        self._meter.read(len(data))
        self.gathering.received(data, self.owner.loop.time(), self.owner.limits)
        self.step()

    def closed(self) -> None:
        """Complete the message, because the peer has closed."""
        self.gone = True
        self.gathering.closed()
        self.step()

    def lost(self, why: str) -> None:
        """Drop the message, because the connection is lost in the middle of it."""
        self.gone = True
        self.gathering.broke(why)
        self.step()

    def refuse(self) -> None:
        """Close without reading."""
        self._settled = True
        self.discard()

    def spent(self, *, clean: bool = False) -> Traffic:
        """Return the connection's traffic with its close; a modem has one kind of close."""
        del clean
        return self._meter.closed()

    def answer(self, line: str, sent: Callable[[], None]) -> None:
        """Send ``line``; a peer that has closed gets none: a modem cannot close one direction alone."""
        pool = self._inbound.pool
        pool.keep(pool.loop.create_task(self._answer(line.encode() + b"\n", sent)))

    async def _answer(self, data: bytes, sent: Callable[[], None]) -> None:
        loop = self._inbound.pool.loop
        try:
            async with asyncio.timeout(ANSWER_WAIT):
                await self._write(data)
        except (ModemError, TimeoutError) as exc:
            log.info("the answer to a command may be lost: %s", exc or "the modem does not take it")
        finally:
            self.owner.sink.count_overhead(self.spent(), over_modem=True)
            self.close()
            loop.call_soon(sent)

    async def _write(self, data: bytes) -> None:
        """Write ``data`` in the portions that the modem takes; wait until the peer has acknowledged it."""
        dialect, written = self._inbound.pool.dialect, 0
        while written < len(data) and not self.gone:
            taken = await dialect.write(self.socket, data[written : written + dialect.chunk], written)
            self._meter.write(taken)
            written += taken
            if not taken:
                await asyncio.sleep(FULL)
        while not self.gone and await dialect.outstanding(self.socket):
            await asyncio.sleep(ACKNOWLEDGING)

    def close(self, *, durable: bool = False) -> None:
        """Close, always by a FIN."""
        del durable
        self._inbound.ended(self)


class Datagrams(Handler):
    """The owner of the socket that receives datagrams."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def received(self, data: bytes, host: str, port: int) -> None:
        """Take one datagram."""
        owner, spent = self._owner, Traffic(0, traffic.datagram(len(data)))
        message = Received(
            protocol="udp",
            peer=address_text(host, port),
            port=owner.port,
            data=data,
            traffic=spent,
            over_modem=True,
        )
        take_datagram(owner, message, admitted=_admits(owner, host, "udp"))


def _admits(owner: Owner, host: str, protocol: str) -> bool:
    try:
        return owner.admits(host, protocol)
    except ValueError:  # the modem gave no valid address
        return False
