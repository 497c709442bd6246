"""What the inbound ports share: the values that pass, what they need of each other, and their sockets."""

import asyncio
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from bridge.core.admission import Network, plain_address
from bridge.core.exchange import SLOWEST
from bridge.core.inbound import Received
from bridge.core.messages import Traffic

BACKLOG = 1024
"""Connections that wait in the kernel (it may hold fewer: net.core.somaxconn)."""

BURST = 16
"""Connections or datagrams taken in one turn of the loop, so that a flood leaves turns to everybody else."""

PAUSE = 0.01
"""Seconds of rest at least once the pace is reached: a flood is taken in bunches, not one by one."""

READ = 65536
"""Bytes read in one go; a datagram is never larger."""

SAVE_SYN, SAVED_SYN = 27, 28
"""Socket options: keep the headers of each connection's SYN; read them [linux/include/uapi/linux/tcp.h]."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
FINISH_ON_CLOSE = struct.pack("ii", 0, 0)
"""Values of ``SO_LINGER`` [socket(7)]."""


class Limits(NamedTuple):
    """What may come in; seconds and bytes. Replaced whole when the configuration is read again."""

    timeout: float = 5.0
    max_bytes: int = 65536
    max_connections: int = 64
    deadline: float = 60.0
    allow: tuple[Network, ...] = ()

    def too_long(self, elapsed: float, size: int) -> str | None:
        """Return why a connection that brought ``size`` bytes in ``elapsed`` seconds is cut, None where not.

        A slow link is given what its bytes need, which ``max_bytes`` bounds.
        """
        if elapsed < self.deadline or elapsed * SLOWEST < size:
            return None
        return f"it took longer than inbound.deadline, {self.deadline:g} s"


class Sink(Protocol):
    """What takes the messages."""

    @property
    def taking(self) -> bool:
        """Whether there is room on the disk."""

    def received(self, message: Received, durable: Callable[[], None]) -> None:
        """Take ``message``; ``durable`` is called once it is on the disk, never before this returns."""

    def wasted(self, traffic: Traffic) -> None:
        """Learn what a connection cost that brought no message."""


class Owner(Protocol):
    """What the ports need of the listener."""

    loop: asyncio.AbstractEventLoop
    port: int
    sink: Sink
    limits: Limits
    counts: Counter[str]

    @property
    def has_room(self) -> bool:
        """Whether more may be taken."""

    def admits(self, host: str, protocol: str) -> bool:
        """Tell whether ``host`` may come in; one that may not is counted."""

    def drop(self, what: str, peer: str, why: str) -> None:
        """Count a message that was none."""

    def hand_over(self, message: Received, durable: Callable[[], None] | None = None) -> None:
        """Give a whole message to the sink; ``durable`` is called when it is safe."""


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
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)  # accepted ones inherit it
            sock.setsockopt(socket.IPPROTO_TCP, SAVE_SYN, 1)
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


def is_ipv6(host: str) -> bool:
    """Whether packets of the peer ``host`` are IPv6, which on an IPv6 socket they need not be."""
    return ":" in host and plain_address(host).version == 6


def peer_text(address: tuple[Any, ...]) -> str:
    """Return a socket address as text; IPv4 on an IPv6 socket is IPv4 again."""
    host = address[0]
    return address_text(str(plain_address(host)) if ":" in host else host, address[1])
