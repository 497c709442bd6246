"""A capture of an interface: what the IP layer really carried, for one port."""

import contextlib
import ctypes
import socket
import struct
import threading
from collections.abc import Iterator
from typing import NamedTuple

from bridge.core.messages import Traffic

SO_ATTACH_FILTER = 26  # [socket(7)]; Python does not name it
ETH_P_IP, ETH_P_ALL = 0x0800, 0x0003
"""A socket for one protocol sees each packet on its arrival, which on loopback is all of them; one for all
protocols sees what leaves as well [packet(7)]."""


class Packet(NamedTuple):
    """One IPv4 packet of TCP."""

    to_server: bool
    length: int
    flags: str


class Capture:
    """Collects the packets of one server port until it is closed."""

    def __init__(self, port: int, interface: str) -> None:
        self.port = port
        protocol = ETH_P_IP if interface == "lo" else ETH_P_ALL
        self.packets: list[Packet] = []
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol))
        self._filter()
        self._socket.bind((interface, protocol))
        self._socket.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _filter(self) -> None:
        """Let the kernel leave out other ports: source and destination follow an IP header of 20 bytes."""
        program = b"".join(
            struct.pack("HBBI", *step)
            for step in (
                (0x28, 0, 0, 20), (0x15, 2, 0, self.port), (0x28, 0, 0, 22), (0x15, 0, 1, self.port),
                (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0),
            )
        )  # fmt: skip
        memory = ctypes.create_string_buffer(program)
        described = struct.pack("HP", len(program) // 8, ctypes.addressof(memory))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)

    def _run(self) -> None:
        while True:
            try:
                raw = self._socket.recv(128)
            except TimeoutError:
                if self._over.is_set():
                    return
                continue
            if raw[0] >> 4 == 4 and raw[9] == socket.IPPROTO_TCP:
                self._take(raw)

    def _take(self, raw: bytes) -> None:
        (length,) = struct.unpack_from(">H", raw, 2)
        header = (raw[0] & 15) * 4
        source, destination = struct.unpack_from(">HH", raw, header)
        flags = "".join(name for bit, name in enumerate("FSRPA") if raw[header + 13] >> bit & 1)
        if self.port in (source, destination):
            self.packets.append(Packet(destination == self.port, length, flags))

    def close(self) -> None:
        """End when nothing has come for a moment."""
        self._over.set()
        self._thread.join(10)
        self._socket.close()

    @property
    def traffic(self) -> Traffic:
        """The bytes in both directions, as the device sees them."""
        return Traffic(
            sum(packet.length for packet in self.packets if packet.to_server),
            sum(packet.length for packet in self.packets if not packet.to_server),
        )


@contextlib.contextmanager
def capturing(port: int, interface: str = "lo") -> Iterator[Capture]:
    """Capture until the block has ended and the line is quiet."""
    capture = Capture(port, interface)
    try:
        yield capture
    finally:
        capture.close()
