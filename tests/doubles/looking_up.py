"""A process that looks a name up at a name server of its own, in a network of its own.

Started by `looked_up`; prints as JSON what the exchange says it cost, and what the name server saw.
"""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from bridge.adapters.ip.resolver import Resolver
from bridge.adapters.ip.tcp import TcpTransport
from bridge.adapters.ip.udp import UdpTransport
from bridge.core.exchange import Job, Outcome, Transport

SERVER, DEAF, DNS = "127.0.0.53", "127.0.0.54", 53
"""A name server, and one that never answers and is not looked at."""

HEADERS = 28
"""Bytes of IPv4's and UDP's."""

A, SOA = 1, 6  # [RFC 1035, section 3.2.2]
AAAA = 28  # [RFC 3596]
NXDOMAIN, SERVFAIL = 3, 2

_PARENTS = bytes([3]) + b"ns1" + bytes([7]) + b"example" + bytes([3]) + b"com" + bytes(1)


class Cost(NamedTuple):
    """Bytes of IP packets, up and down."""

    told: tuple[int, int]
    """As the exchanges say, all of them together."""
    seen: tuple[int, int]
    """As the name server saw them."""
    errors: list[str]


def looked_up(
    folder: Path,
    host: str,
    mode: str,
    *,
    config: str = "",
    patience: float = 20,
    udp: bool = False,
    callers: int = 1,
) -> Cost:
    """Exchange something with ``host`` where the name server behaves as ``mode`` says.

    ``config`` is what resolv.conf has beside it. An exchange is given up after ``patience`` seconds.
    """
    path = folder / "resolv.conf"
    path.write_text(config if "nameserver" in config else f"nameserver {SERVER}\n{config}")
    enter = f'ip link set lo up && mount --bind {path} /etc/resolv.conf && exec "$@"'
    command = [
        sys.executable,
        "-m",
        __name__,
        host,
        mode,
        str(patience),
        "udp" if udp else "tcp",
        str(callers),
    ]
    ran = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", enter, "sh", *command],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    told, seen, errors = json.loads(ran.stdout)
    return Cost(tuple(told), tuple(seen), errors)


class NameServer:
    """Answers each query as its mode says: with addresses, nothing, an error, or not; or the link goes."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.up = self.down = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((SERVER, DNS))
        self._deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._deaf.bind((DEAF, DNS))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            self.up += HEADERS + len(query)
            if answer := self._answer(query):
                self.down += HEADERS + len(answer)
                self._socket.sendto(answer, client)

    def _answer(self, query: bytes) -> bytes:
        name = query[12 : query.index(0, 12) + 1]
        (kind,) = struct.unpack_from("!H", query, 12 + len(name))
        question = query[12 : 12 + len(name) + 4]
        code, records, authority = 0, b"", 0
        if self.mode == "down":
            subprocess.run(["ip", "link", "set", "lo", "down"], check=True, timeout=30)
        if self.mode in ("silent", "down"):
            return b""
        if self.mode == "fail":
            code = SERVFAIL
        elif self.mode == "none" or (self.mode == "search" and name.count(b"\3box") == 0):
            code, records, authority = NXDOMAIN, _soa(), 1
        elif self.mode == "ipv6":
            records, authority = (_record(AAAA, bytes(15) + b"\2"), 0) if kind == AAAA else (_soa(), 1)
        else:
            number = 2 if self.mode == "two" else 1
            records = b"".join(_record(A, bytes([198, 51, 100, each + 1])) for each in range(number))
        count = 0 if code or authority else len(records) // (16 if kind == A else 28)
        return query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, authority, 0) + question + records


def _record(kind: int, data: bytes) -> bytes:
    return struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data


def _soa() -> bytes:
    names = _PARENTS + _PARENTS
    return _record(SOA, names + struct.pack("!IIIII", 1, 2, 3, 4, 5))


async def _exchange(host: str, patience: float, kind: str, callers: int) -> list[Outcome]:
    loop = asyncio.get_running_loop()
    resolver = Resolver(loop)
    transport: Transport = UdpTransport(loop, resolver) if kind == "udp" else TcpTransport(loop, resolver)
    waiting: list[asyncio.Future[Outcome]] = []
    for _ in range(callers):
        done: asyncio.Future[Outcome] = loop.create_future()
        transport.start(Job(host, 9, b"x", lambda _: True, patience, patience * 2), done.set_result)
        waiting.append(done)
    return list(await asyncio.gather(*waiting))


def main() -> None:
    """Look up, wait until the resolver has given up too, and print."""
    host, mode, patience, kind, callers = sys.argv[1:]
    server = NameServer(mode)
    outcomes = asyncio.run(_exchange(host, float(patience), kind, int(callers)))
    while any(each.name == "resolver" for each in threading.enumerate()):
        time.sleep(0.05)
    told = [sum(column) for column in zip(*(each.traffic for each in outcomes), strict=True)]
    print(json.dumps([told, [server.up, server.down], [str(each.error) for each in outcomes]]))


if __name__ == "__main__":
    main()
