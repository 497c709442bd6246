"""A broker that sends what it is told to, right or wrong, and takes down what it is sent."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.doubles.mqtt_wire import CONNACK, CONNACK_3, packet


@dataclass
class FakeBroker:
    """Serves one session: what is in `unacknowledged` is delivered at each connection, as a broker does."""

    version5: bool = True
    connack: bytes | None = None
    suback: Callable[[bytes], bytes] | None = None
    """Makes SUBACK from the body of SUBSCRIBE."""
    puback: Callable[[bytes], bytes] = lambda mid: packet(0x40, mid)
    """Makes PUBACK from a packet identifier."""
    client: bytes = b""
    """What stands in the CONNECT of the client that `unacknowledged` is for."""
    unacknowledged: dict[int, bytes] = field(default_factory=dict)
    """Packets by their identifiers."""
    released: list[int] = field(default_factory=list)
    completed: list[int] = field(default_factory=list)
    answers_pings: bool = True
    connections: int = 0
    received: list[tuple[int, bytes]] = field(default_factory=list)
    """First bytes and bodies of all packets."""
    port: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def start(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    def send(self, data: bytes) -> None:
        """Send on the newest connection."""
        self.writers[-1].write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                first, body = await self._packet(reader)
                self.received.append((first, body))
                for answer in self._answers(first, body):
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    @staticmethod
    async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        first = (await reader.readexactly(1))[0]
        length = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first, await reader.readexactly(length)

    def _answers(self, first: int, body: bytes) -> Iterator[bytes]:
        kind, mid = first >> 4, int.from_bytes(body[:2], "big")
        if kind == 1:
            yield self.connack or (CONNACK if self.version5 else CONNACK_3)
            yield from self.unacknowledged.values() if self.client in body else ()
        elif kind == 8:
            codes = b"\1" * _filters(body, version5=self.version5)
            given = b"\0" if self.version5 else b""
            yield self.suback(body) if self.suback else packet(0x90, body[:2] + given + codes)
        elif kind == 12 and self.answers_pings:
            yield packet(0xD0)
        elif kind == 4:
            self.unacknowledged.pop(mid, None)
        elif kind == 5:
            self.unacknowledged.pop(mid, None)
            self.released.append(mid)
            yield packet(0x62, body[:2])
        elif kind == 7:
            self.completed.append(mid)
        elif kind == 3 and first & 6 == 2:
            place = 2 + mid
            yield self.puback(body[place : place + 2])


def _filters(body: bytes, *, version5: bool) -> int:
    pos = 3 + body[2] if version5 else 2
    number = 0
    while pos < len(body):
        pos += 3 + int.from_bytes(body[pos : pos + 2], "big")
        number += 1
    return number
