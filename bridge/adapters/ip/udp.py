"""One datagram to one peer, which does not acknowledge it."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable

from bridge.adapters.ip.resolver import Address, Lookup, Network, Resolver
from bridge.core.exchange import Job, Outcome
from bridge.core.messages import Traffic
from bridge.protocol.tcpinfo import IPV4, IPV6, UDP

_DATAGRAM = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC

NO_TRAFFIC = Traffic()

_NEVER = {errno.EMSGSIZE}
"""Errors that every attempt with the same datagram meets."""


class UdpTransport:
    """Sends each job's request as one datagram; owned by the event loop's thread.

    Its `Outcome` is ``connected`` where a network was reachable, and ``written`` and ``complete`` where the
    kernel took the datagram. Connected but not written means that the datagram can never be sent; ``error``
    says why.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, resolver: Resolver) -> None:
        self._loop = loop
        self._resolver = resolver

    def start(self, job: Job, done: Callable[[Outcome], None]) -> None:
        """Begin ``job``; ``done`` is called exactly once, in the loop, and never before this returns."""
        addresses = self._resolver.cached(job.host, job.port)
        if addresses:
            self._loop.call_soon(self._send, job, done, addresses, NO_TRAFFIC)
        else:
            self._look_up(job, done)

    def _look_up(self, job: Job, done: Callable[[Outcome], None]) -> None:
        """Resolve the host; that may take longer than the exchange may."""

        def resolved(found: Lookup) -> None:
            timer.cancel()
            if found.addresses:
                self._send(job, done, found.addresses, found.traffic)
            else:
                done(_failed(found.error or _unresolved(job), found.traffic))

        def late() -> None:
            done(_failed(_unresolved(job), self._resolver.abandon(job.host, job.port, resolved)))

        timer = self._loop.call_later(job.silence, late)
        self._resolver.lookup(job.host, job.port, resolved)

    def _send(
        self, job: Job, done: Callable[[Outcome], None], addresses: tuple[Address, ...], spent: Traffic
    ) -> None:
        code = 0
        for family, sockaddr in addresses:
            code = send_datagram(self._resolver.network, family, sockaddr, job.request)
            if not code:
                header = (IPV6 if family == socket.AF_INET6 else IPV4) + UDP
                traffic = spent.plus(Traffic(header + len(job.request)))
                done(Outcome(connected=True, written=True, complete=True, traffic=traffic))
                return
            if code in _NEVER:
                text = f"{len(job.request)} bytes do not fit into a datagram to {job.host}:{job.port}"
                done(_failed(f"{text}: {os.strerror(code)}", spent, connected=True))
                return
        self._resolver.forget(job.host, job.port)
        done(_failed(f"cannot send to {job.host}:{job.port}: {os.strerror(code)}", spent))


def send_datagram(
    network: Network, family: socket.AddressFamily, sockaddr: tuple[str, int], data: bytes
) -> int:
    """Send ``data``; return 0, or the errno. A fresh socket holds no ICMP errors of earlier peers."""
    try:
        with network.make_socket(family, _DATAGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.sendto(data, sockaddr)
    except OSError as exc:
        return exc.errno or errno.EIO
    return 0


def _unresolved(job: Job) -> str:
    return f"cannot resolve {job.host}: no answer"


def _failed(error: str, traffic: Traffic = NO_TRAFFIC, *, connected: bool = False) -> Outcome:
    return Outcome(connected=connected, error=error, traffic=traffic)
