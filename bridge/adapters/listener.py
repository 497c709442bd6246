"""The inbound port: one TCP connection or one UDP datagram is one message.

The cloud connects, writes the bytes and closes [Hologram documentation, "Receive messages"]. A message ends
with the peer's close, or after `Limits.timeout` seconds of silence. How a connection ends tells its peer what
became of it::

    we close it (FIN)     the message is durable here
    we reset it (RST)     nothing was taken: too large, cut at the deadline, broken off, empty, refused, or
                          this process died before the message was durable

The second holds for a crash too: accepted sockets carry ``SO_LINGER`` 0, which makes the kernel reset what a
dead process leaves open, and only a durable message takes it off. A peer that resets in the middle has not
finished its message: what came before it is dropped and counted, since nobody can tell how much is missing.

Everything is bounded. Connections beyond `Limits.max_connections` wait in the listen backlog, as do all
while the disk is full or too much waits for it; datagrams that come then are dropped and counted. Both come
in at a pace that no cellular link reaches, so that a flood leaves the processor to what goes out.
"""

import asyncio
import errno
import logging
import os
import resource
import socket
import struct
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from bridge.adapters.threads import in_thread
from bridge.core.gate import Gate, Network, Pace, Seldom, neighbourhood, plain_address
from bridge.core.messages import Traffic
from bridge.protocol import tcpinfo

log = logging.getLogger("inbound")

BACKLOG = 1024
"""Connections that wait in the kernel (it may hold fewer: net.core.somaxconn)."""

BURST = 16
"""Connections or datagrams taken in one turn of the loop, so that a flood leaves turns to everybody else."""

TCP_PACE = (1000, 1000)
UDP_PACE = (500, 1000)
"""Connections and datagrams a second in the long run, and at once; the rest waits in the kernel."""

PAUSE = 0.01
"""Seconds of rest at least once the pace is reached: a flood is taken in bunches, not one by one."""

READ = 65536
"""Bytes read in one go; a datagram is never larger."""

WAITING_BYTES = 8_000_000
"""Bytes that may wait to be durable before nothing more is taken; overhead included."""

OVERHEAD = 1000
"""What one waiting message needs beside its bytes."""

MAX_RETRY = 15.0
"""Seconds between tries to get a port that is taken."""

COUNTED = ("received", "empty", "refused", "too_large", "broken", "cut", "dropped")
"""What is counted: whole messages, and each way not to become one. ``dropped`` is UDP under overload."""

_SO_MEMINFO = 55
_MEMINFO = struct.Struct("@9I")  # the ninth is SK_MEMINFO_DROPS
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_FINISH_ON_CLOSE = struct.pack("ii", 0, 0)
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Limits(NamedTuple):
    """What may come in; seconds and bytes. Replaced whole when the configuration is read again."""

    timeout: float = 5.0
    max_bytes: int = 65536
    max_connections: int = 64
    deadline: float = 60.0
    allow: tuple[Network, ...] = ()


class Received(NamedTuple):
    """One whole message."""

    protocol: str
    peer: str
    """Address and port, as in ``10.176.0.1:40000`` or ``[fd00::1]:40000``."""
    port: int
    """Ours, on which it came."""
    data: bytes
    traffic: Traffic


class Sink(Protocol):
    """What takes the messages."""

    @property
    def taking(self) -> bool:
        """Whether there is room on the disk."""

    def received(self, message: Received, durable: Callable[[], None]) -> None:
        """Take ``message``; ``durable`` is called once it is on the disk, never before this returns."""

    def wasted(self, traffic: Traffic) -> None:
        """Learn what a connection cost that brought no message."""


class Listener:
    """Owns the inbound sockets; lives in the event loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        protocols: tuple[str, ...],
        limits: Limits,
        sink: Sink,
        *,
        on_problem: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``on_problem`` is told of a port that cannot be had."""
        self.loop = loop
        self.port = port
        self.sink = sink
        self.counts: Counter[str] = Counter()
        self.waiting = 0
        """Bytes handed over that are not durable yet."""
        self._host = host
        self._on_problem = on_problem
        self._refusals = Seldom(3600.0)
        self._notes = Seldom(60.0)
        self._tcp = _Connections(self)
        self._udp = _Datagrams(self)
        self._ports: list[_Connections | _Datagrams] = []
        if "tcp" in protocols:
            self._ports.append(self._tcp)
        if "udp" in protocols:
            self._ports.append(self._udp)
        self._stopped = False
        self.problem: str | None = None
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Use ``limits`` from now on, for open connections too."""
        spare = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        if limits.max_connections > spare:
            log.warning(
                "inbound.max_connections: %d is more than this process may open; %d are used (LimitNOFILE)",
                limits.max_connections,
                spare,
            )
            limits = limits._replace(max_connections=spare)
        self.limits = limits
        self._gate = Gate(limits.allow)

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the ports, now or when they can be had."""
        for port in self._ports:
            self._open(port, 0)
        self._sweep()

    def _open(self, port: "_Connections | _Datagrams", failures: int) -> None:
        if self._stopped:
            return
        future = in_thread(self.loop, partial(open_socket, self._host, self.port, port.kind))
        future.add_done_callback(partial(self._opened, port, failures))

    def _opened(
        self, port: "_Connections | _Datagrams", failures: int, future: "asyncio.Future[socket.socket]"
    ) -> None:
        try:
            sock = future.result()
        except OSError as exc:
            self._not_opened(port, failures, exc)
            return
        if self._stopped:
            sock.close()
            return
        self.port = sock.getsockname()[1]
        self.problem = None
        log.info("listening on %s, %s", address_text(self._host, self.port), port.name)
        port.listen(sock)

    def _not_opened(self, port: "_Connections | _Datagrams", failures: int, error: OSError) -> None:
        where = address_text(self._host, self.port)
        why = error.strerror or str(error)
        hint = "; find who holds it with ss -lnp, or set inbound.port" * (error.errno == errno.EADDRINUSE)
        text = f"cannot listen on {where} ({port.name}): {why}{hint}; it is tried again"
        if text != self.problem:
            log.error("%s", text)
            self.problem = text
            self._on_problem(text)
        delay = min(MAX_RETRY, 2.0 ** min(failures, 8))
        self.loop.call_later(delay, self._open, port, failures + 1)

    def stop(self) -> None:
        """Take nothing new; messages that have begun may end."""
        self._stopped = True
        for port in self._ports:
            port.close()
        self._tcp.end_empty()

    def close(self) -> None:
        """Reset what is still open."""
        self.stop()
        self._tcp.reset_all()

    @property
    def idle(self) -> bool:
        """Whether no connection is open and nothing waits to be durable."""
        return not self._tcp.open and not self.waiting

    def figures(self) -> dict[str, Any]:
        """Return the counts since the start, and what is open now."""
        return {
            "listening": [port.name for port in self._ports if port.listening],
            "open": len(self._tcp.open),
            **{name: self.counts[name] for name in COUNTED},
            "dropped": self.counts["dropped"] + self._udp.overflowed,
            "problem": self.problem,
        }

    def _sweep(self) -> None:
        """Look for what is due, a few times within the shortest time that counts."""
        self._tcp.check_times()
        if not self._stopped or self._tcp.open:
            shortest = min(self.limits.timeout, self.limits.deadline)
            self.loop.call_later(min(0.5, shortest / 5), self._sweep)

    # -- for the ports -----------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether more may be taken."""
        return not self._stopped and self.waiting < WAITING_BYTES and self.sink.taking

    def admits(self, host: str, protocol: str) -> bool:
        """Tell whether ``host`` may come in; say in the log how it could, once an hour for its network."""
        if self._gate.admits(host):
            return True
        self.counts["refused"] += 1
        if self._refusals.due(neighbourhood(host), self.loop.time()):
            address = plain_address(host)
            log.warning(
                'refused %s (%s): it is not in inbound.allow; add "%s/%d" there to let it in',
                address, protocol, address, address.max_prefixlen,
            )  # fmt: skip
        return False

    def drop(self, what: str, peer: str, why: str) -> None:
        """Count a message that was none, and say so once a minute."""
        self.counts[what] += 1
        if self._notes.due(what, self.loop.time()):
            log.warning("no message from %s: %s (%d so far)", peer, why, self.counts[what])

    def hand_over(self, message: Received, durable: Callable[[], None] | None = None) -> None:
        """Give a whole message to the sink; ``durable`` is called when it is safe."""
        size = len(message.data) + OVERHEAD
        self.waiting += size
        self.counts["received"] += 1

        def done() -> None:
            self.waiting -= size
            if durable:
                durable()
            self._tcp.resume()

        self.sink.received(message, done)


class _Datagrams:
    """The UDP port: best effort, as UDP is."""

    name = "udp"
    kind = socket.SOCK_DGRAM

    def __init__(self, owner: Listener) -> None:
        self._owner = owner
        self._sock: socket.socket | None = None
        self._pace = Pace(*UDP_PACE)

    @property
    def listening(self) -> bool:
        return self._sock is not None

    @property
    def overflowed(self) -> int:
        """How many datagrams the kernel had no room for [linux/include/uapi/linux/sock_diag.h]."""
        if self._sock is None:
            return 0
        found = self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(found)[-1]) if len(found) == _MEMINFO.size else 0

    def listen(self, sock: socket.socket) -> None:
        self._sock = sock
        self._watch()

    def _watch(self) -> None:
        if self._sock is not None:
            self._owner.loop.add_reader(self._sock.fileno(), self._readable)

    def close(self) -> None:
        if self._sock is not None:
            self._owner.loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _readable(self) -> None:
        assert self._sock is not None
        loop = self._owner.loop
        for _ in range(BURST):
            if wait := self._pace.take(loop.time()):
                loop.remove_reader(self._sock.fileno())
                loop.call_later(max(PAUSE, wait), self._watch)
                return
            try:
                data, address = self._sock.recvfrom(READ)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error or a broken checksum is nobody's message
            self._take(data, address)

    def _take(self, data: bytes, address: tuple[str, int]) -> None:
        owner = self._owner
        header = tcpinfo.UDP + (tcpinfo.IPV6 if ":" in address[0] else tcpinfo.IPV4)
        traffic = Traffic(0, header + len(data))
        peer = peer_text(address)
        if not owner.admits(address[0], "udp"):
            pass
        elif not data:
            owner.counts["empty"] += 1
        elif len(data) > owner.limits.max_bytes:
            owner.drop("too_large", peer, f"its datagram is over inbound.max_bytes, {owner.limits.max_bytes}")
        elif not owner.has_room:
            owner.drop("dropped", peer, "the disk is full or does not keep up; UDP cannot wait")
        else:
            owner.hand_over(Received("udp", peer, owner.port, data, traffic))
            return
        owner.sink.wasted(traffic)


class _Connections:
    """The TCP port and its connections."""

    name = "tcp"
    kind = socket.SOCK_STREAM

    def __init__(self, owner: Listener) -> None:
        self.owner = owner
        self.open: set[_Connection] = set()
        self._sock: socket.socket | None = None
        self._accepting = False
        self._rest_until = 0.0
        self._pace = Pace(*TCP_PACE)

    @property
    def listening(self) -> bool:
        return self._sock is not None

    def listen(self, sock: socket.socket) -> None:
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
            and owner.has_room
            and owner.loop.time() >= self._rest_until
        )

    def _pause(self) -> None:
        if self._sock is not None and self._accepting:
            self.owner.loop.remove_reader(self._sock.fileno())
        self._accepting = False

    def close(self) -> None:
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
                continue  # that one connection failed before it was ours [accept(2), Linux]
            self._take(sock, address)

    def _rest(self, seconds: float) -> None:
        """Leave the others in the backlog for a moment."""
        self._rest_until = self.owner.loop.time() + seconds
        self._pause()
        self.owner.loop.call_later(seconds, self.resume)

    def _take(self, sock: socket.socket, address: tuple[str, int]) -> None:
        if not self.owner.admits(address[0], "tcp"):
            self.owner.sink.wasted(_spent(sock))
            sock.close()
            return
        sock.setblocking(False)
        connection = _Connection(self, sock, peer_text(address))
        self.open.add(connection)
        connection.begin()

    def ended(self, connection: "_Connection") -> None:
        self.open.discard(connection)
        self.resume()

    def check_times(self) -> None:
        now = self.owner.loop.time()
        for connection in tuple(self.open):
            connection.check_time(now)
        self.resume()

    def end_empty(self) -> None:
        for connection in tuple(self.open):
            connection.end_if_empty()

    def reset_all(self) -> None:
        for connection in tuple(self.open):
            connection.reset()


class _Connection:
    """One connection, until its message is durable or given up."""

    __slots__ = (
        "_data",
        "_handed_over",
        "_last",
        "_owner",
        "_peer",
        "_port",
        "_sock",
        "_started",
        "_watched",
    )

    def __init__(self, port: _Connections, sock: socket.socket, peer: str) -> None:
        self._port = port
        self._owner = port.owner
        self._sock = sock
        self._peer = peer
        self._data = bytearray()
        self._started = self._last = self._owner.loop.time()
        self._watched = False
        self._handed_over = False

    def begin(self) -> None:
        """Read what is there already, which often is everything; watch for the rest."""
        if self._read() and self._read():
            self._watched = True
            self._owner.loop.add_reader(self._sock.fileno(), self._read)

    def _read(self) -> bool:
        """Read once; return whether there is more to come."""
        room = self._owner.limits.max_bytes + 1 - len(self._data)
        try:
            data = self._sock.recv(min(READ, room))
        except BlockingIOError:
            return True
        except OSError as exc:
            self._give_up("broken", f"the connection broke in the middle: {exc.strerror}")
            return False
        if not data:
            self._end()
            return False
        self._data += data
        self._last = self._owner.loop.time()
        if len(self._data) > self._owner.limits.max_bytes:
            self._give_up("too_large", f"it is over inbound.max_bytes, {self._owner.limits.max_bytes}")
            return False
        return True

    def check_time(self, now: float) -> None:
        """End the message after silence; cut what has taken too long."""
        if self._handed_over:
            return
        limits = self._owner.limits
        if now - self._last >= limits.timeout:
            # The silence may have been ours: a disk that took its time. Look before judging.
            if self._read() and self._owner.loop.time() - self._last >= limits.timeout:
                self._end()
        elif now - self._started >= limits.deadline:
            self._give_up("cut", f"it took longer than inbound.deadline, {limits.deadline:g} s")

    def end_if_empty(self) -> None:
        if not self._data and not self._handed_over and self._read():
            self._end()

    def _end(self) -> None:
        if not self._data:
            self._owner.counts["empty"] += 1
            self._owner.sink.wasted(_spent(self._sock))
            self.reset()
            return
        self._unwatch()
        self._handed_over = True
        data = bytes(self._data)
        self._data = bytearray()
        message = Received("tcp", self._peer, self._owner.port, data, _spent(self._sock, clean=True))
        self._owner.hand_over(message, self._durable)

    def _durable(self) -> None:
        """A clean close says that the message is safe; the peer may be gone by now, which is all the same."""
        if self._sock.fileno() >= 0:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FINISH_ON_CLOSE)
        self.reset()

    def _give_up(self, what: str, why: str) -> None:
        self._owner.drop(what, self._peer, why)
        self._owner.sink.wasted(_spent(self._sock))
        self.reset()

    def reset(self) -> None:
        """Close; a reset unless the message is durable."""
        self._unwatch()
        self._sock.close()
        self._port.ended(self)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._owner.loop.remove_reader(self._sock.fileno())


def open_socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Return a non-blocking socket bound to ``host`` and ``port``, listening if it is TCP; raises OSError.

    ``::`` takes IPv4 too. May block where ``host`` is a name.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier run linger
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)  # accepted ones inherit it
        else:
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000
            )  # as far as net.core.rmem_max goes
        sock.bind(address)
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        # "Address already in use" without the address that Python appends
        raise OSError(exc.errno, os.strerror(exc.errno or 0)) from exc
    return sock


def address_text(host: str, port: int) -> str:
    """Return ``host:port``, IPv6 in brackets [RFC 3986, section 3.2.2]."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_text(address: tuple[Any, ...]) -> str:
    """Return a socket address as text; IPv4 on an IPv6 socket is IPv4 again."""
    host = address[0]
    return address_text(str(plain_address(host)) if ":" in host else host, address[1])


def _spent(sock: socket.socket, *, clean: bool = False) -> Traffic:
    """Return what the connection costs in all, if it is closed now; a capture beside it confirms the sums.

    Linux counts the segments of an accepted socket from the handshake's end on, so our SYN-ACK comes on top;
    and a ``clean`` close is acknowledged, where a reset is not.
    """
    try:
        counts = tcpinfo.read(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcpinfo.SIZE))
    except OSError:
        return Traffic()
    if counts is None:
        return Traffic()
    ipv6 = sock.family == socket.AF_INET6
    segment = (tcpinfo.IPV6 if ipv6 else tcpinfo.IPV4) + tcpinfo.TCP
    segment += tcpinfo.TIMESTAMP_OPTION * counts.timestamps
    return tcpinfo.cost(counts, ipv6=ipv6).plus(Traffic(segment, segment * clean))
