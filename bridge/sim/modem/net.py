"""Real sockets on this machine for the modem's sockets.

`Places` permits connections to loopback and to the one address that was given for the cloud, and no others.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Final, NamedTuple, cast

CLOUD_NAME: Final = "cloudsocket.hologram.io"
CLOUD_ADDRESS: Final = "192.0.2.99"
"""The cloud's address in the simulated network's DNS (an address for documentation, RFC 5737)."""

CONNECT_TIMEOUT: Final = 10.0
_HIGH: Final = 64 * 1024
"""Unread bytes above which reading pauses, so that the sender waits."""


class Unreachable(Exception):
    """The simulated network does not reach the host, or the host does not answer."""


class Places(NamedTuple):
    """The real addresses of names and ports; ``inbound`` maps listening ports to ports of this machine."""

    cloud: tuple[str, int] | None = None
    inbound: tuple[int, int] | None = None

    def lead(self, host: str, port: int) -> tuple[str, int]:
        """Return the real address of ``host``:``port``.

        Raises:
            Unreachable: the host is neither the cloud nor this machine.

        """
        if self.cloud is not None and host.lower() in {CLOUD_NAME, CLOUD_ADDRESS}:
            return self.cloud
        try:
            loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = host.lower() == "localhost"
        if not loopback:
            raise Unreachable(host)
        return ("127.0.0.1" if host.lower() == "localhost" else host), port

    def resolve(self, host: str) -> str:
        """Return the address of a name.

        Raises:
            Unreachable: the simulated name server does not know it.

        """
        if host.lower() == CLOUD_NAME and self.cloud is not None:
            return CLOUD_ADDRESS
        return self.lead(host, 0)[0]

    def listen_at(self, port: int) -> int:
        """Return this machine's port for the modem's listening port."""
        return self.inbound[1] if self.inbound is not None and self.inbound[0] == port else port


class Stream(asyncio.Protocol):
    """One TCP connection; received data is kept in ``unread`` until it is taken."""

    def __init__(self) -> None:
        self.unread = bytearray()
        self.peer = ("0.0.0.0", 0)  # noqa: S104  # no peer yet; nothing is bound
        self.local = self.peer
        self.ended = False
        """Whether the peer has closed."""
        self.sent = 0
        self.on_data: Callable[[], None] = lambda: None
        self.on_end: Callable[[], None] = lambda: None
        self._transport: asyncio.Transport | None = None
        self._paused = False

    @property
    def alive(self) -> bool:
        """Whether the connection is open for writing."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin [asyncio]."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.peer = transport.get_extra_info("peername")[:2]
        self.local = transport.get_extra_info("sockname")[:2]

    def data_received(self, data: bytes) -> None:
        """Keep the data [asyncio]."""
        self.unread += data
        if len(self.unread) > _HIGH and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self.on_data()

    def eof_received(self) -> bool:
        """Keep our own direction open until the modem's user closes [asyncio]."""
        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """End [asyncio]."""
        self._transport = None
        self._end()

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self.on_end()

    def take(self, count: int) -> bytes:
        """Remove and return up to ``count`` bytes."""
        part = bytes(self.unread[:count])
        del self.unread[:count]
        if self._paused and len(self.unread) <= _HIGH and self.alive and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return part

    def send(self, data: bytes) -> None:
        """Write; raises `Unreachable` if the connection is gone."""
        if not self.alive or self._transport is None:
            raise Unreachable(self.peer[0])
        self._transport.write(data)
        self.sent += len(data)

    def close(self) -> None:
        """Close; no callback is called from then on."""
        self.ended = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Reset the connection, as the peer sees it."""
        self.ended = True
        if self._transport is not None:
            self._transport.abort()


class Datagrams(asyncio.DatagramProtocol):
    """One UDP socket; received datagrams are kept in ``unread`` with their senders."""

    def __init__(self) -> None:
        self.unread: list[tuple[bytes, str, int]] = []
        self.on_data: Callable[[], None] = lambda: None
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin [asyncio]."""
        # Python 3.11's datagram transport is not of the class asyncio.DatagramTransport.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Keep the datagram [asyncio]."""
        self.unread.append((data, addr[0], addr[1]))
        self.on_data()

    def error_received(self, exc: Exception) -> None:
        """Ignore an error, because UDP guarantees nothing [asyncio]."""

    @property
    def port(self) -> int:
        """The local port."""
        assert self._transport is not None
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        """Send one datagram."""
        if self._transport is not None:
            self._transport.sendto(data, to)

    def close(self) -> None:
        """Close."""
        if self._transport is not None:
            self._transport.close()


async def connect(places: Places, host: str, port: int) -> Stream:
    """Return a connection to the real address of ``host``:``port``.

    Raises:
        Unreachable: the host is unreachable or does not answer.

    """
    where = places.lead(host, port)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, stream = await loop.create_connection(Stream, *where)
    except (OSError, TimeoutError) as error:
        raise Unreachable(str(error)) from None
    return stream


async def listen(port: int, accepted: Callable[[Stream], None]) -> asyncio.Server:
    """Listen on loopback; ``accepted`` is called with each established connection.

    Raises:
        Unreachable: the port is taken.

    """

    class Accepted(Stream):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted(self)

    try:
        return await asyncio.get_running_loop().create_server(Accepted, "127.0.0.1", port)
    except OSError as error:
        raise Unreachable(str(error)) from None


async def datagrams(port: int) -> Datagrams:
    """Return a UDP socket on loopback.

    Raises:
        Unreachable: the port is taken.

    """
    try:
        _, found = await asyncio.get_running_loop().create_datagram_endpoint(
            Datagrams, ("127.0.0.1", port), family=socket.AF_INET
        )
    except OSError as error:
        raise Unreachable(str(error)) from None
    return found
