"""Names resolved to addresses, with a cache because the carrier bills DNS look-ups."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

from bridge.core.messages import Traffic
from bridge.protocol.tcpinfo import lookup_cost

MAX_AGE = 24 * 3600.0
"""Seconds that an address stays cached while connections to it succeed."""


_IP_MTU = 14  # [linux/in.h]


class Address(NamedTuple):
    """One socket address of a host."""

    family: socket.AddressFamily
    sockaddr: tuple[str, int]


class Lookup(NamedTuple):
    """The result of a look-up: addresses or an error, and its traffic."""

    addresses: tuple[Address, ...]
    error: str | None
    traffic: Traffic


class Resolver:
    """Resolves in a thread of its own, because getaddrinfo blocks without a limit.

    All state belongs to the event loop's thread. A name is looked up again after a failed connection to it
    (`forget`), or after a day.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._cache: dict[tuple[str, int], tuple[float, tuple[Address, ...]]] = {}
        self._waiting: dict[tuple[str, int], list[Callable[[Lookup], None]]] = {}

    def cached(self, host: str, port: int) -> tuple[Address, ...]:
        """Return the addresses of ``host`` that need no look-up; empty where it needs one."""
        known = self._cache.get((host, port))
        if known and known[0] > self._loop.time():
            return known[1]
        literal = _literal(host, port)
        if literal:
            self._cache[host, port] = (float("inf"), literal)
        return literal

    def mtu(self, host: str, port: int) -> int | None:
        """Return the bytes of a packet to ``host`` at most; None where it needs a look-up, or has no route.

        It sends nothing: to connect a datagram's socket only chooses a route [ip(7), IP_MTU].
        """
        for family, sockaddr in self.cached(host, port)[:1]:
            if family is not socket.AF_INET:
                return None
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                try:
                    probe.connect(sockaddr)
                    return probe.getsockopt(socket.IPPROTO_IP, _IP_MTU)
                except OSError:
                    return None
        return None

    def forget(self, host: str, port: int) -> None:
        """Drop the cached addresses of ``host`` after a failed connection."""
        if not _literal(host, port):
            self._cache.pop((host, port), None)

    def lookup(self, host: str, port: int, done: Callable[[Lookup], None]) -> None:
        """Resolve ``host`` and call ``done`` in the loop; concurrent callers share one look-up."""
        waiting = self._waiting.setdefault((host, port), [])
        waiting.append(done)
        if len(waiting) == 1:
            # A daemon thread, because a hung look-up must not keep the process from ending.
            threading.Thread(target=self._resolve, args=(host, port), name="resolver", daemon=True).start()

    def _resolve(self, host: str, port: int) -> None:
        try:
            addresses = _getaddrinfo(host, port)
            found = Lookup(addresses, None, _cost(host, addresses))
        except (OSError, UnicodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            answered = isinstance(exc, socket.gaierror) and exc.errno in (
                socket.EAI_NONAME,
                socket.EAI_NODATA,
            )
            spent = lookup_cost(host, 0) if answered else Traffic()
            found = Lookup((), f"cannot resolve {host}: {reason}", spent)
        try:
            self._loop.call_soon_threadsafe(self._resolved, host, port, found)
        except RuntimeError:
            return  # the loop is closed: the process is ending and has no caller left

    def _resolved(self, host: str, port: int, found: Lookup) -> None:
        if found.addresses:
            self._cache[host, port] = (self._loop.time() + MAX_AGE, found.addresses)
        for done in self._waiting.pop((host, port), []):
            done(found)
            found = found._replace(traffic=Traffic())  # the first caller's message carries the cost


def _cost(host: str, addresses: tuple[Address, ...]) -> Traffic:
    """Return the traffic of a look-up; loopback addresses come from the hosts file and cost none."""
    if all(address.sockaddr[0].startswith("127.") or address.sockaddr[0] == "::1" for address in addresses):
        return Traffic()
    return lookup_cost(host, len(addresses))


def _literal(host: str, port: int) -> tuple[Address, ...]:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError, UnicodeError):
            continue
        return (Address(family, (host, port)),)
    return ()


def _getaddrinfo(host: str, port: int) -> tuple[Address, ...]:
    """Resolve to IPv4 first: the carrier's network has IPv4 alone, and each family's query is billed.

    ``localhost`` needs no query, with or without a hosts file [RFC 6761, 6.3].
    """
    if host.lower().removesuffix(".").rpartition(".")[2] == "localhost":
        return _literal("127.0.0.1", port)
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except socket.gaierror as exc:
        if exc.errno not in (socket.EAI_NODATA, socket.EAI_ADDRFAMILY):
            raise
        found = socket.getaddrinfo(host, port, socket.AF_INET6, socket.SOCK_STREAM)
    return tuple(Address(family, (str(address[0]), int(address[1]))) for family, _, _, _, address in found)
