"""Names resolved to addresses, with a cache because the carrier bills DNS look-ups.

The bytes of a look-up are reckoned (`bridge.protocol.lookups`). They belong to the first exchange that waits
for it; an exchange that ends before it takes them along as they may become at most.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from bridge.core.messages import Traffic
from bridge.protocol.lookups import ResolverConfig, answered, read_config, unanswered

MAX_AGE = 24 * 3600.0
"""Seconds that an address stays cached while connections to it succeed."""

CONFIG = Path("/etc/resolv.conf")

_NO_NAME = (socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY)
"""Errors that an answer brings."""

_DNS = 53
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


_Done = Callable[[Lookup], None]


class Network(Protocol):
    """A way out of this machine: its sockets, and its name servers."""

    def make_socket(self, family: int, kind: int) -> socket.socket:
        """Return a new socket that takes this way out; raises `OSError`."""

    def look_up(self, host: str, port: int) -> Lookup:
        """Resolve ``host``; blocks, in a thread of its own."""

    def config(self) -> ResolverConfig:
        """Return how names are asked for."""


class MachineNetwork:
    """The machine's own network: its routes decide, and its resolver is asked."""

    def make_socket(self, family: int, kind: int) -> socket.socket:
        """Return a new socket."""
        return socket.socket(family, kind)

    def look_up(self, host: str, port: int) -> Lookup:
        """Resolve ``host`` as every program here does."""
        return _look_up(host, port)

    def config(self) -> ResolverConfig:
        """Return what resolv.conf says."""
        return _config()


class _Pending:
    """A look-up under way."""

    def __init__(self) -> None:
        self.waiting: list[_Done] = []
        self.paid = False
        """Whether an exchange has taken its cost along."""


class Resolver:
    """Resolves in a thread of its own, because getaddrinfo blocks without a limit.

    All state belongs to the event loop's thread. A name is looked up again after a failed connection to it
    (`forget`), or after a day.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, network: Network | None = None) -> None:
        """``network`` is the way out; None: the machine's own."""
        self.network: Network = network or MachineNetwork()
        self._loop = loop
        self._cache: dict[tuple[str, int], tuple[float, tuple[Address, ...]]] = {}
        self._pending: dict[tuple[str, int], _Pending] = {}

    def cached(self, host: str, port: int) -> tuple[Address, ...]:
        """Return the addresses of ``host`` that need no look-up; empty where it needs one."""
        known = self._cache.get((host, port))
        if known and known[0] > self._loop.time():
            return known[1]
        literal = literal_address(host, port)
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
            try:
                with self.network.make_socket(family, socket.SOCK_DGRAM) as probe:
                    probe.connect(sockaddr)
                    return probe.getsockopt(socket.IPPROTO_IP, _IP_MTU)
            except OSError:
                return None
        return None

    def forget(self, host: str, port: int) -> None:
        """Drop the cached addresses of ``host`` after a failed connection."""
        if not literal_address(host, port):
            self._cache.pop((host, port), None)

    def lookup(self, host: str, port: int, done: _Done) -> None:
        """Resolve ``host`` and call ``done`` in the loop; concurrent callers share one look-up."""
        pending = self._pending.get((host, port))
        if pending is None:
            pending = self._pending[host, port] = _Pending()
            # A daemon thread, because a hung look-up must not keep the process from ending.
            threading.Thread(target=self._resolve, args=(host, port), name="resolver", daemon=True).start()
        pending.waiting.append(done)

    def abandon(self, host: str, port: int, done: _Done) -> Traffic:
        """Do not call ``done`` any more; return what its caller has to bear of the look-up, which goes on."""
        pending = self._pending.get((host, port))
        if pending is None or done not in pending.waiting:
            return Traffic()
        first = pending.waiting[0] == done
        pending.waiting.remove(done)
        if not first or pending.paid:
            return Traffic()
        pending.paid = True
        return unanswered(self.network.config(), host)

    def _resolve(self, host: str, port: int) -> None:
        found = self.network.look_up(host, port)
        try:
            self._loop.call_soon_threadsafe(self._resolved, host, port, found)
        except RuntimeError:
            return  # the loop is closed: the process is ending and has no caller left

    def _resolved(self, host: str, port: int, found: Lookup) -> None:
        if found.addresses:
            self._cache[host, port] = (self._loop.time() + MAX_AGE, found.addresses)
        pending = self._pending.pop((host, port))
        if pending.paid:
            found = found._replace(traffic=Traffic())
        for done in pending.waiting:
            done(found)
            found = found._replace(traffic=Traffic())  # the first caller's message carries the cost


def _look_up(host: str, port: int) -> Lookup:
    """Resolve to IPv4 first: the carrier's network has IPv4 alone, and each family's query is billed.

    ``localhost`` needs no query, with or without a hosts file [RFC 6761, 6.3].
    """
    if host.lower().removesuffix(".").rpartition(".")[2] == "localhost":
        return Lookup(literal_address("127.0.0.1", port), None, Traffic())
    found = _ask(host, port, socket.AF_INET)
    if found.errno in (socket.EAI_NODATA, socket.EAI_ADDRFAMILY):
        second = _ask(host, port, socket.AF_INET6)
        found = second._replace(traffic=found.traffic.plus(second.traffic))
    return Lookup(found.addresses, found.error, found.traffic)


class _Asked(NamedTuple):
    """The result for one family of addresses."""

    addresses: tuple[Address, ...]
    traffic: Traffic
    error: str | None = None
    errno: int | None = None


def _ask(host: str, port: int, family: socket.AddressFamily) -> _Asked:
    begun, config = time.monotonic(), _config()
    reachable = _is_reachable(config)
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        errno = exc.errno if isinstance(exc, OSError) else None
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        # Before or after: a link may go down or come up meanwhile.
        asked = errno is not None and (reachable or _is_reachable(config))
        spent = _lost(config, host, errno, time.monotonic() - begun) if asked else Traffic()
        return _Asked((), spent, f"cannot resolve {host}: {reason}", errno)
    addresses = tuple(Address(kind, (str(to[0]), int(to[1]))) for kind, _, _, _, to in found)
    if all(address.sockaddr[0].startswith("127.") or address.sockaddr[0] == "::1" for address in addresses):
        return _Asked(addresses, Traffic())  # from the hosts file
    took, ipv6 = time.monotonic() - begun, family == socket.AF_INET6
    return _Asked(addresses, answered(config, host, took, addresses=len(addresses), ipv6=ipv6))


def _lost(config: ResolverConfig, host: str, errno: int | None, took: float) -> Traffic:
    """Return the cost of a look-up that gave no address; it took ``took`` seconds."""
    return answered(config, host, took, addresses=0) if errno in _NO_NAME else unanswered(config, host)


def _is_reachable(config: ResolverConfig) -> bool:
    """Whether a query leaves this machine."""
    return any(has_route(each) for each in config.servers)


def _config() -> ResolverConfig:
    try:
        text = CONFIG.read_text(errors="replace")
    except OSError:
        text = ""
    return read_config(text, socket.gethostname().partition(".")[2])


def has_route(server: str) -> bool:
    """Whether there is a way to the address ``server``; it sends nothing, as in `Resolver.mtu`."""
    literal = literal_address(server.partition("%")[0], _DNS)
    if not literal:  # a name would be looked up
        return False
    try:
        with socket.socket(literal[0].family, socket.SOCK_DGRAM) as probe:
            probe.connect((server, _DNS))
    except OSError:
        return False
    return True


def literal_address(host: str, port: int) -> tuple[Address, ...]:
    """Return the address that ``host`` is; empty if it is a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError, UnicodeError):
            continue
        return (Address(family, (host, port)),)
    return ()
