"""The inbound port on a modem's own sockets: one TCP connection or one UDP datagram is one message.

The limits, counts, allow list and sink are those of `bridge.adapters.inbound.listener`. A modem can do less.
It accepts by itself, so a connection that is not allowed, or for which there is no room, is closed instead of
left in a backlog. It closes but never resets, so the end of a connection is no receipt for its peer. A
connection whose message is taken is closed only after the message is durable.
"""

import asyncio

from bridge.adapters.inbound.port import Connection, Owner, address_text, take_datagram
from bridge.adapters.modem_sockets.exchange import Handler, Pool
from bridge.core.inbound import Received
from bridge.core.messages import Traffic
from bridge.protocol.at.sockets import traffic
from bridge.protocol.at.sockets.traffic import Meter


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
        if admitted and self.owner.has_room and len(self.open) < self.owner.limits.max_connections:
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
