"""The inbound port on a modem's own sockets: one TCP connection or one UDP datagram is one message.

As `bridge.adapters.inbound.listener`, whose limits, counts, allow list and sink are used, less what a
modem cannot do: it accepts by itself, so a connection that may not come in, or for which there is no
room, is closed instead of left waiting; and it closes but never resets, so how a connection ends does not
tell its peer what became of the message. One that is taken is closed only after it is durable.
"""

import asyncio

from bridge.adapters.inbound.port import Owner, address_text
from bridge.adapters.modem_sockets.exchange import Handler, Pool
from bridge.core.inbound import Received
from bridge.core.messages import Traffic
from bridge.protocol.at.sockets import traffic
from bridge.protocol.at.sockets.traffic import Meter


class Inbound:
    """What comes in over the modem's sockets."""

    def __init__(self, pool: Pool, owner: Owner) -> None:
        self.pool = pool
        self.owner = owner
        self.open: set[_Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def incoming(self, socket: int, host: str, port: int) -> Handler:
        """Take a connection that the modem has accepted."""
        connection = _Connection(self, socket, host, port)
        try:
            admitted = self.owner.admits(host, "tcp")
        except ValueError:  # no address
            admitted = False
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
        now = self.pool.loop.time()
        for connection in tuple(self.open):
            connection.check_time(now)
        self._sweep_later()

    def ended(self, connection: "_Connection") -> None:
        """Forget a connection, and close it."""
        self.open.discard(connection)
        close = not connection.gone or self.pool.dialect.close_closed
        closing = self.pool.give_back(connection.socket, connection, close=close)
        self.pool.keep(self.pool.loop.create_task(closing))

    def datagrams(self) -> "_Datagrams":
        """Return who takes the datagrams."""
        return _Datagrams(self.owner)


class _Connection:
    """One connection, until its message is durable or given up."""

    def __init__(self, inbound: Inbound, socket: int, host: str, port: int) -> None:
        self.socket = socket
        self.gone = False
        """The peer has closed."""
        self._inbound = inbound
        self._owner = inbound.owner
        self._peer = address_text(host, port)
        self._data = bytearray()
        self._meter = Meter()
        self._meter.accept()
        self._started = self._last = inbound.pool.loop.time()
        self._held = self._ended = False

    def stirs(self, *, waiting: bool) -> None:
        """Data waits in the modem: no silence."""
        self._held = waiting

    def received(self, data: bytes, host: str = "", port: int = 0) -> None:
        """Take a piece."""
        del host, port
        self._meter.read(len(data))
        self._last = self._inbound.pool.loop.time()
        if self._ended:
            return
        self._data += data
        limit = self._owner.limits.max_bytes
        if len(self._data) > limit:
            self._give_up("too_large", f"it is over inbound.max_bytes, {limit}")

    def closed(self) -> None:
        """The peer has closed: the message is whole."""
        self.gone = True
        self._end()

    def lost(self, why: str) -> None:
        """The connection is gone in the middle."""
        self.gone = True
        self._give_up("broken", f"the connection broke in the middle: {why}")

    def check_time(self, now: float) -> None:
        """End the message after silence; cut what has taken too long."""
        limits = self._owner.limits
        if now - self._last >= limits.timeout and not self._held:
            self._end()
        elif why := limits.too_long(now - self._started, len(self._data)):
            self._give_up("cut", why)

    def refuse(self) -> None:
        """Take nothing."""
        self._ended = True
        self._waste()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        if not self._data:
            self._owner.counts["empty"] += 1
            self._waste()
            return
        message = Received("tcp", self._peer, self._owner.port, bytes(self._data), self._meter.closed())
        self._data = bytearray()
        self._owner.hand_over(message, self._durable)

    def _durable(self) -> None:
        self._inbound.ended(self)

    def _give_up(self, what: str, why: str) -> None:
        if not self._ended:
            self._ended = True
            self._owner.drop(what, self._peer, why)
            self._waste()

    def _waste(self) -> None:
        self._owner.sink.wasted(self._meter.closed())
        self._inbound.ended(self)


class _Datagrams:
    """Datagrams, as they come."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def received(self, data: bytes, host: str, port: int) -> None:
        """Take one."""
        owner = self._owner
        spent = Traffic(0, traffic.datagram(len(data)))
        peer = address_text(host, port)
        if not self._admitted(host):
            pass
        elif not data:
            owner.counts["empty"] += 1
        elif len(data) > owner.limits.max_bytes:
            owner.drop("too_large", peer, f"its datagram is over inbound.max_bytes, {owner.limits.max_bytes}")
        elif not owner.has_room:
            owner.drop("dropped", peer, "the disk is full or does not keep up; UDP cannot wait")
        else:
            owner.hand_over(Received("udp", peer, owner.port, data, spent))
            return
        owner.sink.wasted(spent)

    def _admitted(self, host: str) -> bool:
        try:
            return self._owner.admits(host, "udp")
        except ValueError:
            return False

    def stirs(self, *, waiting: bool) -> None:
        """It is fetched at once."""

    def closed(self) -> None:
        """A port of datagrams has no peer."""

    def lost(self, why: str) -> None:
        """The port is gone; it is opened again with the PDP context."""
