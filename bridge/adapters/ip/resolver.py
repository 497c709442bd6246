"""Names to addresses, cached: a DNS look-up is billed like everything else."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

from bridge.core.messages import Traffic
from bridge.protocol.tcpinfo import lookup_cost

MAX_AGE = 24 * 3600.0
"""Seconds that an address is kept while connections to it succeed."""


class Address(NamedTuple):
    """One socket address of a host."""

    family: socket.AddressFamily
    sockaddr: tuple[str, int]


class Lookup(NamedTuple):
    """What a look-up gave: addresses, or an error; and what it cost."""

    addresses: tuple[Address, ...]
    error: str | None
    traffic: Traffic


class Resolver:
    """Resolves in a thread of its own, since getaddrinfo blocks for as long as the network likes.

    All other state belongs to the event loop's thread. A name is looked up again when a connection to it
    failed (`forget`) or after a day.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._cache: dict[tuple[str, int], tuple[float, tuple[Address, ...]]] = {}
        self._waiting: dict[tuple[str, int], list[Callable[[Lookup], None]]] = {}

    def cached(self, host: str, port: int) -> tuple[Address, ...]:
        """Return the addresses known for ``host`` without a look-up, or nothing."""
        known = self._cache.get((host, port))
        if known and known[0] > self._loop.time():
            return known[1]
        literal = _literal(host, port)
        if literal:
            self._cache[host, port] = (float("inf"), literal)
        return literal

    def forget(self, host: str, port: int) -> None:
        """Drop what is cached, because it did not work."""
        if not _literal(host, port):
            self._cache.pop((host, port), None)

    def lookup(self, host: str, port: int, done: Callable[[Lookup], None]) -> None:
        """Resolve ``host`` and call ``done`` in the loop; callers that ask meanwhile share one look-up."""
        waiting = self._waiting.setdefault((host, port), [])
        waiting.append(done)
        if len(waiting) == 1:
            # A daemon thread: a look-up that hangs must not keep the process from ending.
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
            return  # the loop is closed: the process is ending, nobody waits any more

    def _resolved(self, host: str, port: int, found: Lookup) -> None:
        if found.addresses:
            self._cache[host, port] = (self._loop.time() + MAX_AGE, found.addresses)
        for done in self._waiting.pop((host, port), []):
            done(found)
            found = found._replace(traffic=Traffic())  # the look-up is paid for once


def _cost(host: str, addresses: tuple[Address, ...]) -> Traffic:
    """Loopback addresses come from the hosts file, which costs nothing."""
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
    """IPv4 alone first: the carrier's network has no other, and each family asked for is a query billed.

    ``localhost`` is nobody's to ask for, whether a hosts file names it or not [RFC 6761, 6.3].
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
