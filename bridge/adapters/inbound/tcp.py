"""The inbound TCP port: one connection is one message.

The end of a connection is the receipt for its peer; `bridge.adapters.inbound.listener` has the rules.
"""

import contextlib
import errno
import fcntl
import logging
import socket
import struct
import termios
from collections.abc import Callable

from bridge.adapters.inbound.port import (
    BURST,
    FINISH_ON_CLOSE,
    PAUSE,
    READ,
    SAVED_SYN,
    Connection,
    Owner,
    peer_text,
)
from bridge.core.admission import TokenBucket
from bridge.core.messages import Traffic
from bridge.protocol import tcpinfo

log = logging.getLogger("inbound")

TCP_PACE = (1000, 1000)
"""Connections a second in the long run, and in a burst; the others wait in the backlog."""

ANSWER_WAIT = 5.0
"""Seconds for the peer to acknowledge the answer to a command."""

_ANSWER_CHECK = 0.05
"""Seconds between checks of that."""

_SYN_LIMIT = 256
"""Bytes of buffer for the headers of a SYN, which never exceed it."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Connections:
    """The TCP port and its connections."""

    name = "tcp"
    kind = socket.SOCK_STREAM

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.open: set[_Connection] = set()
        self._sock: socket.socket | None = None
        self._accepting = False
        self._rest_until = 0.0
        self._pace = TokenBucket(*TCP_PACE)

    @property
    def listening(self) -> bool:
        """Whether the port is open."""
        return self._sock is not None

    def listen(self, sock: socket.socket) -> None:
        """Accept connections from ``sock``, which this object owns from now on."""
        self._sock = sock
        self.resume()

    def resume(self) -> None:
        """Accept again, if there is room."""
        if self._sock is not None and not self._accepting and self._may_accept():
            self._accepting = True
            self.owner.loop.add_reader(self._sock.fileno(), self._accept)

    def _may_accept(self) -> bool:
        owner = self.owner
        return (
            len(self.open) < owner.limits.max_connections
            and owner.accepts
            and owner.loop.time() >= self._rest_until
        )

    def _pause(self) -> None:
        if self._sock is not None and self._accepting:
            self.owner.loop.remove_reader(self._sock.fileno())
        self._accepting = False

    def close(self) -> None:
        """Accept no more; open connections stay open."""
        self._pause()
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _accept(self) -> None:
        listener = self._sock
        for _ in range(BURST):
            if listener is None or not self._may_accept():
                self._pause()
                return
            if wait := self._pace.take(self.owner.loop.time()):
                self._rest(max(PAUSE, wait))
                return
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    log.warning("cannot take a connection: %s; trying again in a second", exc.strerror)
                    self._rest(1.0)
                    return
                continue  # the connection failed before it was accepted [accept(2), Linux]
            self._take(sock, address)

    def _rest(self, seconds: float) -> None:
        """Pause accepting for ``seconds``; new connections wait in the backlog."""
        self._rest_until = self.owner.loop.time() + seconds
        self._pause()
        self.owner.loop.call_later(seconds, self.resume)

    def _take(self, sock: socket.socket, address: tuple[str, int]) -> None:
        if not self.owner.admits(address[0], "tcp"):
            self.owner.sink.count_overhead(_spent(sock))
            sock.close()
            return
        sock.setblocking(False)
        connection = _Connection(self, sock, peer_text(address))
        self.open.add(connection)
        connection.begin()

    def ended(self, connection: "_Connection") -> None:
        """Forget a connection that is closed."""
        self.open.discard(connection)
        self.resume()

    def check_times(self) -> None:
        """Complete silent messages, and cut those past the deadline."""
        for connection in tuple(self.open):
            connection.check_time()
        self.resume()

    def end_empty(self) -> None:
        """End the connections on which no message has begun."""
        for connection in tuple(self.open):
            connection.end_if_empty()

    def reset_all(self) -> None:
        """Reset every connection."""
        for connection in tuple(self.open):
            connection.close()


class _Connection(Connection):
    """A connection of the machine's own network."""

    def __init__(self, port: Connections, sock: socket.socket, peer: str) -> None:
        super().__init__(port.owner, peer)
        self._port = port
        self._sock = sock
        self._watched = False

    def begin(self) -> None:
        """Read at once, because the whole message has often arrived; watch for the rest."""
        if self._read() and self._read():
            self._watched = True
            self.owner.loop.add_reader(self._sock.fileno(), self._read)

    def _read(self) -> bool:
        """Read once; return whether more may come."""
        gathering, limits = self.gathering, self.owner.limits
        try:
            data = self._sock.recv(min(READ, limits.max_bytes + 1 - len(gathering.data)))
        except BlockingIOError:
            return True
        except OSError as exc:
            gathering.broke(exc.strerror or str(exc))
        else:
            if data:
                gathering.received(data, self.owner.loop.time(), limits)
            else:
                gathering.closed()
        return self.step()

    def step(self) -> bool:
        """Carry out the decision; stop reading while the message waits to be durable."""
        if self.gathering.ending:
            self._unwatch()
        return super().step()

    def check_time(self) -> None:
        """Check the limits after one more read: a slow disk of ours may have caused the silence."""
        if self.gathering.ending:
            self.step()  # it may have waited for room
        elif self._read():
            super().check_time()

    def end_if_empty(self) -> None:
        if not self.gathering.data and not self.gathering.ending and self._read():
            self.gathering.closed()
            self.step()

    def spent(self, *, clean: bool = False) -> Traffic:
        return _spent(self._sock, clean=clean)

    def close(self, *, durable: bool = False) -> None:
        """Close, by a FIN where the message is durable; it makes no difference if the peer is gone."""
        self._unwatch()
        if durable and self._sock.fileno() >= 0:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FINISH_ON_CLOSE)
        self._sock.close()
        self._port.ended(self)

    def answer(self, line: str, sent: Callable[[], None]) -> None:
        """Send ``line`` with our FIN; an answer is far smaller than the kernel's buffer."""
        with contextlib.suppress(OSError):  # the peer is gone
            self._sock.send(line.encode() + b"\n")
            self._sock.shutdown(socket.SHUT_WR)
        self._finish(sent, self.owner.loop.time() + ANSWER_WAIT)

    def _finish(self, sent: Callable[[], None], deadline: float) -> None:
        """Close once the peer has acknowledged the answer."""
        loop = self.owner.loop
        if self._sock.fileno() >= 0 and self._unacknowledged() and loop.time() < deadline:
            loop.call_later(_ANSWER_CHECK, self._finish, sent, deadline)
            return
        if self._sock.fileno() >= 0:
            self.owner.sink.count_overhead(self.spent(clean=True))
            self.close(durable=True)
        sent()

    def _unacknowledged(self) -> int:
        """Return how many bytes the kernel still holds [tcp(7), SIOCOUTQ]; our FIN counts as one."""
        (waiting,) = struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4)))
        return int(waiting)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self.owner.loop.remove_reader(self._sock.fileno())


def _spent(sock: socket.socket, *, clean: bool = False) -> Traffic:
    """Return the connection's whole traffic if it is closed now; packet captures confirm the sums.

    Linux counts the segments of an accepted socket from the end of the handshake, so our SYN-ACK is added.
    The peer acknowledges a ``clean`` close, but not a reset. The peer's SYN may carry more options than were
    agreed on.
    """
    try:
        counts = tcpinfo.read(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcpinfo.SIZE))
        syn = sock.getsockopt(socket.IPPROTO_TCP, SAVED_SYN, _SYN_LIMIT)
    except OSError:
        return Traffic()
    if counts is None:
        return Traffic()
    ipv6 = syn[0] >> 4 == 6 if syn else sock.family == socket.AF_INET6
    plain = (tcpinfo.IPV6 if ipv6 else tcpinfo.IPV4) + tcpinfo.TCP
    segment = plain + tcpinfo.TIMESTAMP_OPTION * counts.timestamps
    beyond = len(syn) - plain - tcpinfo.syn_options(timestamps=counts.timestamps) if syn else 0
    stamps = counts.timestamps
    return tcpinfo.cost(counts, ipv6=ipv6, connected=True, fin=counts.peer_closed, offered=stamps).plus(
        Traffic(segment, segment * clean + beyond)
    )
