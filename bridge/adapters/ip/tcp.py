"""One exchange over one TCP connection: connect, write the request once, read the answer.

The transport saves packets, because each costs at least 40 bytes of a metered link:

* ``TCP_QUICKACK`` is off before connect, so that the handshake's last ACK travels with the request.
* The request leaves in one write.
* The connection ends by reset (``SO_LINGER`` 0) after the answer and the peer's FIN. The reset saves the ACK
  of the FIN and the closing handshake. A FIN that arrives after the close would cost a second reset, so the
  transport waits `FIN_GRACE` for it.

A user's own host may read until the end of the stream. So an orderly exchange, and one until close, end by a
FIN once the peer has acknowledged the whole request. Until then they end by reset: a FIN would present a part
as the whole, and the kernel would go on sending bytes that the bridge sends again later.

Measured: 466 bytes instead of 622 for a request of 81.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable

from bridge.adapters.ip.deadlines import Deadlines
from bridge.adapters.ip.readiness import Readiness
from bridge.adapters.ip.resolver import Address, Lookup, Resolver
from bridge.core.exchange import ANSWER_LIMIT, Exchange, Job, Outcome, Phase
from bridge.core.messages import Traffic
from bridge.protocol import tcpinfo

FIN_GRACE = 0.03
"""Seconds to wait for the peer's FIN after a complete answer."""

_ABORT, _CLOSE = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
"""Values of ``SO_LINGER`` [socket(7)]."""

_Done = Callable[[Outcome], None]
_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_TIMESTAMPS = "/proc/sys/net/ipv4/tcp_timestamps"


class TcpTransport:
    """Carries jobs over the machine's own network; owned by the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, resolver: Resolver) -> None:
        self._loop = loop
        self._resolver = resolver
        self._readiness = Readiness(loop)
        self._deadlines = Deadlines(loop)

    def start(self, job: Job, done: _Done) -> None:
        """Begin ``job``; ``done`` is called exactly once, in the loop, and never before this returns."""
        addresses = self._resolver.cached(job.host, job.port)
        connection = _Connection(self._loop, self._readiness, self._deadlines, self._resolver, job, done)
        if addresses:
            connection.connect(addresses)
        else:
            connection.look_up()
        connection.started = True


class _Connection:
    """The socket of one exchange; the `Exchange` decides, and `_step` carries its decision out."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        readiness: Readiness,
        deadlines: Deadlines,
        resolver: Resolver,
        job: Job,
        done: _Done,
    ) -> None:
        self._loop = loop
        self._readiness = readiness
        self._deadlines = deadlines
        self._resolver = resolver
        self._job = job
        self._orderly = job.orderly or job.until_close
        """Whether the connection ends by a FIN once the peer has acknowledged the whole request."""
        self._done: _Done | None = done
        self.started = False
        """Whether the `start` that made it has returned."""
        self._sock: socket.socket | None = None
        self._addresses: list[Address] = []
        self._ipv6 = False
        self._traffic = Traffic()
        self._looks_up = False
        now = loop.time()
        self._exchange = Exchange(job, now, grace=FIN_GRACE)
        deadlines.set(self._look_again, self._exchange.tick(now))

    # -- connecting --------------------------------------------------------------------------------------

    def look_up(self) -> None:
        self._looks_up = True
        self._resolver.lookup(self._job.host, self._job.port, self._resolved)

    def _resolved(self, found: Lookup) -> None:
        self._looks_up = False
        self._traffic = found.traffic
        if found.addresses:
            self.connect(found.addresses)
        else:
            self._exchange.end(found.error)
            self._step()

    def connect(self, addresses: tuple[Address, ...]) -> None:
        self._addresses = list(addresses)
        self._connect_next()

    def _connect_next(self) -> None:
        family, sockaddr = self._addresses.pop(0)
        self._ipv6 = family == socket.AF_INET6
        try:
            self._sock = sock = self._resolver.network.make_socket(family, _STREAM)
        except OSError as exc:  # out of file descriptors, or the link has gone
            self._connect_failed(exc.errno or 0)
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        code = sock.connect_ex(sockaddr)
        if code not in (0, errno.EINPROGRESS):
            self._connect_failed(code)
            return
        self._write()
        if self._sock is sock:
            self._watch(sock)

    def _connect_failed(self, code: int) -> None:
        self._drop_socket()
        if self._addresses:
            self._connect_next()
        else:
            self._exchange.failed(os.strerror(code))
            self._step()

    # -- moving bytes ------------------------------------------------------------------------------------

    def _writable(self) -> None:
        # Without an error it is the write that shows that there is a connection: the event may be a closed
        # socket's, whose number this one has [`Readiness.forget`].
        if not self._exchange.reached and (
            code := self._socket().getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        ):
            self._connect_failed(code)
            return
        self._write()
        if self._sock is not None:
            self._watch(self._sock)

    def _watch(self, sock: socket.socket) -> None:
        """Read before the whole request is written too, because a peer may answer early."""
        exchange = self._exchange
        self._readiness.watch(
            sock.fileno(),
            readable=self._readable if exchange.reached else None,
            writable=None if exchange.handed_over else self._writable,
        )

    def _write(self) -> None:
        sock, exchange = self._socket(), self._exchange
        try:
            sent = sock.send(self._job.request[exchange.sent :])
        except BlockingIOError:
            return  # not connected yet, or the socket's buffer is full
        except OSError as exc:
            if not exchange.reached:
                self._connect_failed(exc.errno or 0)
                return
            with contextlib.suppress(OSError):  # a peer may answer and close before it has read everything
                exchange.received(sock.recv(ANSWER_LIMIT), self._loop.time())
            self._broke(f"the connection broke while writing: {exc.strerror}")
            return
        now = self._loop.time()
        exchange.connected(now)
        exchange.took(sent, now)
        if exchange.handed_over and self._job.until_close:
            with contextlib.suppress(OSError):  # the peer may have reset already; the next read fails then
                sock.shutdown(socket.SHUT_WR)

    def _readable(self) -> None:
        exchange = self._exchange
        try:
            data = self._socket().recv(ANSWER_LIMIT)
        except BlockingIOError:
            return
        except OSError as exc:
            self._broke(f"the connection broke: {exc.strerror}")
            return
        if not data:
            exchange.closed()
        else:
            exchange.received(data, self._loop.time())
            if self._job.orderly:
                self._look()
        self._step()

    def _broke(self, why: str) -> None:
        if self._job.orderly:
            self._look()
        self._exchange.failed(why)
        self._step()

    # -- deciding ----------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Read how many bytes the peer has acknowledged.

        SIOCOUTQ is the number of bytes that the kernel still holds [tcp(7)]; our FIN counts as one byte. On a
        slow link it distinguishes progress from silence.
        """
        exchange = self._exchange
        if self._sock is None or not exchange.reached:
            return
        (waiting,) = struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4)))
        fin = self._job.until_close and exchange.handed_over
        counts = self._counts()
        since = counts.since_ack if counts else 0.0
        exchange.acknowledged(exchange.sent - max(0, waiting - fin), self._loop.time(), since=since)

    def _look_again(self) -> None:
        self._look()
        self._step(rang=True)

    def _step(self, *, rang: bool = False) -> None:
        exchange = self._exchange
        due = exchange.tick(self._loop.time())
        counts = self._counts() if exchange.phase is Phase.ANSWERED else None
        if counts and counts.peer_closed:
            exchange.closed()
        if exchange.over:
            self._finish(counts)
        elif rang or due < self._deadlines.when(self._look_again):
            self._deadlines.set(self._look_again, due)

    def _finish(self, counts: tcpinfo.Counts | None) -> None:
        """End the exchange; ``counts`` are the connection's present figures if they are known already."""
        exchange, done = self._exchange, self._done
        if done is None:
            return
        self._done = None
        self._deadlines.clear(self._look_again)
        if self._looks_up:
            self._traffic = self._resolver.abandon(self._job.host, self._job.port, self._resolved)
        if not exchange.reached:
            self._resolver.forget(self._job.host, self._job.port)
        if self._orderly:
            self._look()
        self._drop_socket(counts, close=self._orderly and exchange.whole)
        if self.started:
            done(exchange.outcome(self._traffic))
        else:  # from a turn of its own
            self._loop.call_soon(done, exchange.outcome(self._traffic))

    def _counts(self) -> tcpinfo.Counts | None:
        if self._sock is None:
            return None
        return tcpinfo.read(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcpinfo.SIZE))

    def _drop_socket(self, counts: tcpinfo.Counts | None = None, *, close: bool = False) -> None:
        if self._sock is not None:
            fin = close and not self._job.until_close  # an exchange until close has sent its FIN before
            if counts := counts or self._counts():
                offered = counts.timestamps or offers_timestamps()
                reached, closed = self._exchange.reached, self._exchange.peer_closed
                spent = tcpinfo.cost(
                    counts, ipv6=self._ipv6, connected=reached, fin=closed, offered=offered, close=fin
                )
                self._traffic = self._traffic.plus(spent)
            self._readiness.forget(self._sock.fileno())
            if close:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE)
            if fin:  # before the close, which resets where an answer was not read
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_WR)
            self._sock.close()
            self._sock = None

    def _socket(self) -> socket.socket:
        assert self._sock is not None
        return self._sock


def offers_timestamps() -> bool:
    """Whether our SYNs carry the timestamp option, over IPv6 too [linux, ip-sysctl: tcp_timestamps]."""
    try:
        fd = os.open(_TIMESTAMPS, os.O_RDONLY)
    except OSError:
        return True  # Linux's default
    try:
        return os.read(fd, 1) != b"0"
    finally:
        os.close(fd)
