"""A link as the way out: sockets bound to its interface, names asked of its own name servers over it.

The machine's default route and resolv.conf play no part. ``SO_BINDTODEVICE`` needs no privilege for a socket
that is not bound yet, since Linux 5.7 [socket(7)]. Without a link no socket is made, so that nothing ever
takes another way.
"""

import errno
import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

from bridge.adapters.ip.resolver import Address, Lookup, literal_address
from bridge.core.messages import Traffic
from bridge.core.modem import Link
from bridge.protocol import dns
from bridge.protocol.lookups import ResolverConfig
from bridge.protocol.tcpinfo import IPV4, UDP

HOSTS = Path("/etc/hosts")

TRY = 3.0
"""Seconds for the answer to a query, before the next name server is asked."""

ROUNDS = 2
"""How often each name server is asked."""

_DNS = 53
_LONGEST = 4096


class LinkNetwork:
    """The network behind one link; `look_up` runs in threads of its own, the rest in the event loop's.

    A thread only reads the link, a value that is replaced as a whole.
    """

    def __init__(self, link: Callable[[], Link | None], *, hosts: Path = HOSTS) -> None:
        """``link`` returns the link while it is up."""
        self._link = link
        self._hosts = hosts

    def make_socket(self, family: int, kind: int) -> socket.socket:
        """Return a new socket that is bound to the interface; raises `OSError`."""
        link = self._link()
        if link is None:
            raise OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN))
        sock = socket.socket(family, kind)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.interface.encode())
        except OSError:
            sock.close()
            raise
        return sock

    def config(self) -> ResolverConfig:
        """Return how names are asked for."""
        link = self._link()
        return ResolverConfig(link.dns if link else (), timeout=int(TRY), attempts=ROUNDS)

    def look_up(self, host: str, port: int) -> Lookup:
        """Resolve ``host``: by the hosts file, or by the name servers of the link."""
        if found := _known(self._hosts, host):
            return Lookup(tuple(each for ip in found for each in literal_address(ip, port)), None, Traffic())
        link = self._link()
        if link is None or not link.dns:
            why = "the link gave no name server" if link else os.strerror(errno.ENETDOWN)
            return Lookup((), f"cannot resolve {host}: {why}", Traffic())
        try:
            asked = dns.query(random.randrange(1 << 16), host)  # noqa: S311  the port is random too
            with self.make_socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                return _ask(sock, asked, link.dns, host, port)
        except OSError as exc:
            return Lookup((), f"cannot resolve {host}: {exc.strerror or exc}", Traffic())
        except UnicodeError as exc:
            return Lookup((), f"cannot resolve {host}: {exc}", Traffic())


def _known(path: Path, host: str) -> tuple[str, ...]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        text = ""
    return dns.hosts(text, host)


def _ask(sock: socket.socket, asked: bytes, servers: tuple[str, ...], host: str, port: int) -> Lookup:
    """Ask each server in turn; an answer that comes late, to an earlier try, is as good."""
    spent, why = Traffic(), "no answer"
    for server in servers * ROUNDS:
        try:
            sock.sendto(asked, (server, _DNS))
        except OSError as exc:
            why = exc.strerror or str(exc)
            continue
        spent = spent.plus(Traffic(IPV4 + UDP + len(asked)))
        answer, came = _answer(sock, asked, servers)
        spent = spent.plus(Traffic(0, came))
        if answer is not None and answer.addresses:
            addresses = tuple(Address(socket.AF_INET, (each, port)) for each in answer.addresses)
            return Lookup(addresses, None, spent)
        if answer is not None:
            why = f"the name server says {answer.code}" if answer.code else "the name has no address"
            if answer.code in (0, dns.NXDOMAIN):
                break
    return Lookup((), f"cannot resolve {host}: {why}", spent)


def _answer(sock: socket.socket, asked: bytes, servers: tuple[str, ...]) -> tuple[dns.Answer | None, int]:
    """Wait for an answer to ``asked``; return it, None without one, and the bytes of all that came."""
    until, came = time.monotonic() + TRY, 0
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data, (sender, _) = sock.recvfrom(_LONGEST)
        except OSError:  # the time is over, or the link
            break
        came += IPV4 + UDP + len(data)
        answer = dns.read(data, asked) if sender in servers else None
        if answer is not None:
            return answer, came
    return None, came
