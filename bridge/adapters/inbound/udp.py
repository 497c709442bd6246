"""The inbound UDP port: one datagram is one message."""

import socket
import struct

from bridge.adapters.inbound.port import BURST, PAUSE, READ, Owner, is_ipv6, peer_text, take_datagram
from bridge.core.admission import TokenBucket
from bridge.core.inbound import Received
from bridge.core.messages import Traffic
from bridge.protocol import tcpinfo

UDP_PACE = (500, 1000)
"""Datagrams a second in the long run, and in a burst; the kernel queues the others while it has room."""

_SO_MEMINFO = 55
_MEMINFO = struct.Struct("@9I")  # the ninth is SK_MEMINFO_DROPS


class Datagrams:
    """The UDP port: best effort, as UDP is."""

    name = "udp"
    kind = socket.SOCK_DGRAM

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._sock: socket.socket | None = None
        self._pace = TokenBucket(*UDP_PACE)

    @property
    def listening(self) -> bool:
        """Whether the port is open."""
        return self._sock is not None

    @property
    def overflowed(self) -> int:
        """Number of datagrams that the kernel had no room for [linux/include/uapi/linux/sock_diag.h]."""
        if self._sock is None:
            return 0
        found = self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(found)[-1]) if len(found) == _MEMINFO.size else 0

    def listen(self, sock: socket.socket) -> None:
        """Take datagrams from ``sock``, which this object owns from now on."""
        self._sock = sock
        self._watch()

    def _watch(self) -> None:
        if self._sock is not None:
            self._owner.loop.add_reader(self._sock.fileno(), self._readable)

    def close(self) -> None:
        """Take no more."""
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
                continue  # an ICMP error or a broken checksum, not a message
            self._take(data, address)

    def _take(self, data: bytes, address: tuple[str, int]) -> None:
        owner = self._owner
        header = tcpinfo.UDP + (tcpinfo.IPV6 if is_ipv6(address[0]) else tcpinfo.IPV4)
        spent = Traffic(0, header + len(data))
        message = Received(protocol="udp", peer=peer_text(address), port=owner.port, data=data, traffic=spent)
        take_datagram(owner, message, admitted=owner.admits(address[0], "udp"))
