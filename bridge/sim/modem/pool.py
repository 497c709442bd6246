"""The sockets of a modem of any make: connections, datagrams, listeners, unread data.

A dialect (`ublox`, `quectel`) turns commands into calls of a `Pool`, and the pool's callbacks into codes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.sim.modem import net
from bridge.sim.modem.active import ActiveFaults

Address = tuple[str, int]


class QueueFull(Exception):
    """The send queue of a socket has no room."""


@dataclass(eq=False, slots=True)
class Socket:
    """One number of the pool: a TCP connection, a UDP port or a listener, once it is open."""

    number: int
    kind: str
    """The dialect's name for it, which the control socket shows."""
    local_port: int = 0
    remote: Address | None = None
    context: int = 0
    """Number of its packet context, where there are several."""
    access: int = 0
    """The dialect's access mode for received data."""
    listener: int = 0
    """The number of the listener that accepted it."""
    error: int = 0
    """The dialect's code of the last error."""
    notified: bool = False
    """Whether the host was notified of the unread data."""
    stream: net.Stream | None = None
    udp: net.Datagrams | None = None
    server: asyncio.Server | None = None

    @property
    def unread(self) -> int:
        """Number of received bytes that are not read yet."""
        if self.udp is not None:
            return sum(len(data) for data, _, _ in self.udp.unread)
        return len(self.stream.unread) if self.stream is not None else 0

    @property
    def state(self) -> str:
        """``connecting``, ``connected``, ``closing`` (the peer has closed) or ``listening``."""
        if self.stream is not None:
            return "closing" if self.stream.ended else "connected"
        if self.server is not None:
            return "listening"
        return "connecting" if self.udp is None else "connected"

    def take(self, count: int) -> tuple[bytes, Address]:
        """Take up to ``count`` bytes and return them with their sender; the rest of a datagram is lost."""
        if self.udp is not None and self.udp.unread:
            data, host, port = self.udp.unread.pop(0)
            return data[:count], (host, port)
        return (b"" if self.stream is None else self.stream.take(count)), self.remote or ("", 0)

    def close(self, *, abort: bool = False) -> None:
        """Close; with ``abort`` at once, and unsent data is lost."""
        if self.server is not None:
            self.server.close()
        if self.udp is not None:
            self.udp.close()
        if self.stream is not None:
            (self.stream.abort if abort else self.stream.close)()


class Pool:
    """The sockets of one modem; ``say`` gets a line for a person for each port that is listened on.

    The dialect sets the callbacks, and ``numbers`` in the order of their use.
    """

    def __init__(self, places: net.Places, faults: ActiveFaults, say: Callable[[str], None]) -> None:
        self.places = places
        self.listening: dict[int, int] = {}
        """Ports of this machine by the ports that the modem was asked to listen on."""
        self.numbers: Sequence[int] = ()
        self.on_data: Callable[[Socket], None] = lambda _: None
        """Callback for a socket with unread data, called each time more arrives."""
        self.on_end: Callable[[Socket], None] = lambda _: None
        """Callback for a connection that the peer has closed."""
        self.on_accept: Callable[[Socket], None] = lambda _: None
        self.on_full: Callable[[], None] = lambda: None
        """Callback for a connection that was refused because no number is free."""
        self.faults = faults
        self._say = say
        self._sockets: dict[int, Socket] = {}

    # -- numbers -----------------------------------------------------------------------------------------

    def get(self, number: int) -> Socket | None:
        """Return the socket with this number; None without one."""
        return self._sockets.get(number)

    def all(self) -> list[Socket]:
        """Return the sockets in the order of their numbers."""
        return [self._sockets[number] for number in sorted(self._sockets)]

    def free(self) -> int | None:
        """Return the next free number; None if all are in use."""
        return next((number for number in self.numbers if number not in self._sockets), None)

    def add(self, each: Socket) -> Socket:
        """Give a socket its number."""
        self._sockets[each.number] = each
        return each

    def holds(self, each: Socket) -> bool:
        """Whether the number is still this socket's."""
        return self._sockets.get(each.number) is each

    def close(self, each: Socket, *, abort: bool = False) -> None:
        """Close a socket and free its number."""
        each.close(abort=abort)
        if self.holds(each):
            del self._sockets[each.number]

    def drop(self, context: int | None = None) -> list[Socket]:
        """Abort every socket, or those of one packet context; return them in the order of their opening."""
        dropped = [each for each in self._sockets.values() if context in {None, each.context}]
        for each in dropped:
            self.close(each, abort=True)
        return dropped

    def reset(self) -> None:
        """Lose power: all connections break."""
        self.drop()
        self.listening.clear()

    def state(self) -> list[dict[str, Any]]:
        """Return the open sockets for the control socket."""
        return [
            {
                "socket": each.number,
                "protocol": each.kind,
                "listening": each.server is not None,
                "unread": each.unread,
            }
            for each in self.all()
        ]

    # -- opening -----------------------------------------------------------------------------------------

    async def connect(self, each: Socket, host: str, port: int) -> None:
        """Connect a socket; `report` then repeats the events that came before the dialect's answer.

        Raises:
            net.Unreachable: the host is unreachable or does not answer.

        """
        self._attach(each, await net.connect(self.places, host, port))
        self._close_if_dropped(each)

    async def bind(self, each: Socket, port: int) -> None:
        """Open a socket for datagrams.

        Raises:
            net.Unreachable: the port is taken.

        """
        each.udp = await net.datagrams(self.places.listen_at(port))
        each.udp.on_data = lambda: self._came(each)
        self._opened_port(port, each.udp.port)
        self._close_if_dropped(each)

    async def listen(self, each: Socket, port: int) -> None:
        """Accept connections; each gets a free number.

        Raises:
            net.Unreachable: the port is taken.

        """
        each.server = await net.listen(self.places.listen_at(port), lambda stream: self._accept(each, stream))
        each.local_port = port
        self._opened_port(port, each.server.sockets[0].getsockname()[1])
        self._close_if_dropped(each)

    def _accept(self, listener: Socket, stream: net.Stream) -> None:
        number = self.free()
        if number is None:
            stream.abort()
            self.on_full()
            return
        made = Socket(
            number,
            listener.kind,
            local_port=listener.local_port,
            remote=stream.peer,
            context=listener.context,
            access=listener.access,
        )
        made.listener = listener.number
        self._attach(self.add(made), stream)
        self.on_accept(made)

    def _attach(self, each: Socket, stream: net.Stream) -> None:
        each.stream = stream
        stream.on_data = lambda: self._came(each)
        stream.on_end = lambda: self._ended(each)

    def _close_if_dropped(self, each: Socket) -> None:
        """Close a connection whose number was taken away while it was opened."""
        if not self.holds(each):
            each.close(abort=True)

    def _opened_port(self, asked: int, real: int) -> None:
        if asked:
            self.listening[asked] = real
            self._say(f"port {asked} of the modem is 127.0.0.1:{real}")

    # -- data --------------------------------------------------------------------------------------------

    def report(self, each: Socket) -> None:
        """Report unread data and the peer's close again."""
        self._came(each)
        if each.stream is not None and each.stream.ended:
            self._ended(each)

    def _came(self, each: Socket) -> None:
        if self.holds(each) and each.unread:
            self.on_data(each)

    def _ended(self, each: Socket) -> None:
        if self.holds(each):
            self.on_end(each)

    async def queue(self, data: bytes, *, partly: bool = False) -> bytes:
        """Return the part of ``data`` that the send queue takes: all of it, or less with ``partly``.

        Raises:
            QueueFull: the queue takes nothing.

        """
        await asyncio.sleep(self.faults.number("send-slow") or 0.0)
        if self.faults.hits("send-fail"):
            raise QueueFull
        if partly and self.faults.hits("send-short"):
            return data[: max(1, len(data) // 2)]
        return data

    def send(self, each: Socket, data: bytes, to: Address | None = None) -> None:
        """Send; a datagram goes to the real address ``to``.

        Raises:
            net.Unreachable: the connection is gone.

        """
        if each.udp is not None and to is not None:
            each.udp.send(data, to)
        elif each.stream is not None:
            each.stream.send(data)
