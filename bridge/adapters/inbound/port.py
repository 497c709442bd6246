"""The parts that the inbound ports share: protocols, the connection's base class, and socket functions."""

import asyncio
import os
import socket
import struct
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from bridge.core.admission import plain_address
from bridge.core.inbound import Ending, Gathering, Limits, Received
from bridge.core.messages import Traffic

BACKLOG = 1024
"""Connections that may wait in the kernel, which may hold fewer (net.core.somaxconn)."""

BURST = 16
"""Connections or datagrams accepted in one turn of the loop, so that a flood leaves turns for other work."""

PAUSE = 0.01
"""Least seconds of rest once the pace is reached, so that a flood is accepted in batches."""

READ = 65536
"""Bytes of one read; a datagram is never larger."""

SAVE_SYN, SAVED_SYN = 27, 28
"""Socket options: keep the headers of each connection's SYN; read them [linux/include/uapi/linux/tcp.h]."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
FINISH_ON_CLOSE = struct.pack("ii", 0, 0)
"""Values of ``SO_LINGER`` [socket(7)]."""


class Sink(Protocol):
    """The consumer of inbound messages."""

    @property
    def taking(self) -> bool:
        """Whether there is room on the disk."""

    def received(self, message: Received, durable: Callable[[], None]) -> None:
        """Take ``message``; ``durable`` is called once it is on the disk, never before this returns."""

    def count_overhead(self, traffic: Traffic, *, over_modem: bool = False) -> None:
        """Count the traffic of a connection that brought no message; ``over_modem`` as in `Received`."""


class Caller(Protocol):
    """The peer of a command."""

    def answer(self, line: str, sent: Callable[[], None]) -> None:
        """Send ``line`` and close; ``sent`` is called once the peer has it, or can no longer get it."""

    def refuse(self) -> None:
        """Close without an answer: by a reset where the port can reset."""


class Commands(Protocol):
    """The consumer of commands, which are no messages."""

    def called(self, data: bytes, peer: str, caller: Caller) -> None:
        """Take a command of a connection: its bytes, with the line end if there is one."""

    def datagram(self, peer: str) -> None:
        """Refuse a command that came as a datagram."""

    def count_refused(self, traffic: Traffic, *, over_modem: bool = False) -> None:
        """Count the traffic of a refused command, without a write to the disk for it."""


class NoCommands:
    """The consumer where there are no commands; `Limits.command` is empty."""

    def called(self, data: bytes, peer: str, caller: Caller) -> None:  # noqa: ARG002  as those of the others
        """Refuse it."""
        caller.refuse()

    def datagram(self, peer: str) -> None:
        """Do nothing."""

    def count_refused(self, traffic: Traffic, *, over_modem: bool = False) -> None:
        """Do nothing."""


class Owner(Protocol):
    """The listener as the ports see it."""

    loop: asyncio.AbstractEventLoop
    port: int
    sink: Sink
    commands: Commands
    limits: Limits
    counts: Counter[str]

    @property
    def has_room(self) -> bool:
        """Whether more may be taken."""

    @property
    def accepts(self) -> bool:
        """Whether connections may be accepted: there is room, or a command may come."""

    def admits(self, host: str, protocol: str) -> bool:
        """Return whether ``host`` is allowed, and count one that is not."""

    def drop(self, what: str, peer: str, why: str) -> None:
        """Count a connection or datagram without a message."""

    def hand_over(self, message: Received, durable: Callable[[], None] | None = None) -> None:
        """Give a whole message to the sink; ``durable`` is called once it is on the disk."""


class Connection(ABC):
    """One connection, until its message is durable or dropped; the `Gathering` decides."""

    over_modem = False
    """Whether it is one of a modem's own sockets."""

    def __init__(self, owner: Owner, peer: str) -> None:
        self.owner = owner
        self.gathering = Gathering(owner.loop.time())
        self._peer = peer
        self._settled = False

    def check_time(self) -> None:
        """End the message if its silence or its deadline is due."""
        self.gathering.tick(self.owner.loop.time(), self.owner.limits)
        self.step()

    def step(self) -> bool:
        """Carry out the decision, once; return whether more data may come."""
        ending = self.gathering.ending
        if ending and not self._settled and not self._waits(ending):
            self._settled = True
            self._settle(ending)
        return ending is None

    def _waits(self, ending: Ending) -> bool:
        """Return whether a message waits for room: connections are accepted without any for the commands."""
        limits = self.owner.limits
        is_message = ending.what == "whole" and not limits.is_command(self.gathering.data)
        return bool(limits.command) and is_message and not self.owner.sink.taking

    def _settle(self, ending: Ending) -> None:
        owner, data = self.owner, bytes(self.gathering.data)
        self.gathering.data.clear()
        if ending.what == "whole" and owner.limits.is_command(data):
            owner.commands.called(data, self._peer, self)
            return
        if ending.what == "whole":
            message = Received(
                protocol="tcp",
                peer=self._peer,
                port=owner.port,
                data=data,
                traffic=self.spent(clean=True),
                over_modem=self.over_modem,
            )
            owner.hand_over(message, partial(self.close, durable=True))
            return
        if ending.what == "empty":
            owner.counts["empty"] += 1
        else:
            owner.drop(ending.what, self._peer, ending.why)
        self.discard()

    def discard(self) -> None:
        """Close without a message."""
        self.owner.sink.count_overhead(self.spent(), over_modem=self.over_modem)
        self.close()

    def refuse(self) -> None:
        """Close without an answer to a command; a flood of these costs no write to the disk."""
        self.owner.commands.count_refused(self.spent(), over_modem=self.over_modem)
        self.close()

    @abstractmethod
    def answer(self, line: str, sent: Callable[[], None]) -> None:
        """Send ``line`` and close; ``sent`` is called once the peer has it, or can no longer get it."""

    @abstractmethod
    def spent(self, *, clean: bool = False) -> Traffic:
        """Return the connection's whole traffic; with ``clean`` a FIN ends it, otherwise a reset."""

    @abstractmethod
    def close(self, *, durable: bool = False) -> None:
        """Close: by a FIN if the message is ``durable``, otherwise by a reset where the port can reset."""


def take_datagram(owner: Owner, message: Received, *, admitted: bool) -> None:
    """Take a datagram; one that is not ``admitted`` was counted by `Owner.admits`."""
    limit = owner.limits.max_bytes
    if not admitted:
        pass
    elif owner.limits.is_command(message.data):
        owner.commands.datagram(message.peer)
        owner.commands.count_refused(message.traffic, over_modem=message.over_modem)
        return
    elif not message.data:
        owner.counts["empty"] += 1
    elif len(message.data) > limit:
        owner.drop("too_large", message.peer, f"its datagram is over inbound.max_bytes, {limit}")
    elif not owner.has_room:
        owner.drop("dropped", message.peer, "the disk is full or does not keep up; UDP cannot wait")
    else:
        owner.hand_over(message)
        return
    owner.sink.count_overhead(message.traffic, over_modem=message.over_modem)


def open_socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Return a non-blocking socket bound to ``host`` and ``port``; TCP listens. Raises OSError.

    ``::`` accepts IPv4 too. The call may block where ``host`` is a name.
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
        # "Address already in use" without the address that Python appends.
        raise OSError(exc.errno, os.strerror(exc.errno or 0)) from exc
    return sock


def address_text(host: str, port: int) -> str:
    """Return ``host:port``, IPv6 in brackets [RFC 3986, section 3.2.2]."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_ipv6(host: str) -> bool:
    """Whether packets of the peer ``host`` are IPv6; an IPv6 socket may have IPv4 peers."""
    return ":" in host and plain_address(host).version == 6


def peer_text(address: tuple[Any, ...]) -> str:
    """Return a socket address as text, an IPv4 peer of an IPv6 socket in IPv4 form."""
    host = address[0]
    return address_text(str(plain_address(host)) if ":" in host else host, address[1])
