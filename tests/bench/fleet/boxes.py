"""One process that is many boxes: it posts their batches, again until they are answered 200, some twice.

``python -m tests.bench.fleet.boxes PORT FIRST COUNT BATCHES READINGS OUT`` writes a line of JSON for what was
answered 200: device, batch id, and the seconds that the answer took.
"""

import asyncio
import base64
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from bridge.batch import Reading, encode
from tests.harness.collector import RECEIVED, SECRET

CONNECTIONS = 24
REPEATED = 0.05
"""The share of batches that are sent again although they were answered 200."""

PER_CONNECTION = 40
"""Requests on one connection; then the balancer gives another collector."""


class Batch(NamedTuple):
    """One batch of a box."""

    device: int
    batch: str
    body: bytes


def batches(first: int, count: int, each: int, readings: int) -> Iterator[Batch]:
    """Yield the batches of the boxes, one of each box after the other."""
    for number in range(each):
        for device in range(first, first + count):
            yield Batch(device, f"f{number}", _body(device, f"f{number}", readings))


def _body(device: int, batch: str, readings: int) -> bytes:
    rows = [Reading((f"sensors/{n % 3}",), 1.79e9 + 60 * n, _payload(device, n)) for n in range(readings)]
    told = {
        "received": RECEIVED,
        "tags": ["batch", f"_DEVICE_{device}_"],
        "device": {"id": device, "name": f"box {device}"},
        "data": base64.b64encode(encode(batch, rows)).decode(),
    }
    return json.dumps(told).encode()


def _payload(device: int, n: int) -> bytes:
    return b'{"t":%.2f,"h":%d,"p":%d}' % (20 + (device * 7 + n) % 1000 / 100, 40 + n % 20, 1000 + n % 30)


class Sender:
    """One connection at a time to the balancer."""

    def __init__(self, port: int, out: IO[str]) -> None:
        self._port = port
        self._out = out
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._left = 0

    async def deliver(self, batch: Batch) -> None:
        """Post until the answer is 200, then perhaps once more."""
        delay = 0.25
        while True:
            begun = time.monotonic()
            if await self._post(batch.body) == 200:
                break
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(4.0, 2 * delay)
        line = [batch.device, batch.batch, round(time.monotonic() - begun, 4)]
        self._out.write(json.dumps(line) + "\n")
        if random.random() < REPEATED:
            await self._post(batch.body)

    async def _post(self, body: bytes) -> int | None:
        """Return the status; None where there was no answer."""
        try:
            async with asyncio.timeout(15):
                return await self._exchange(body)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            self.close()
            return None

    async def _exchange(self, body: bytes) -> int:
        if self._streams is None or self._left == 0:
            self.close()
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            self._left = PER_CONNECTION
        self._left -= 1
        reader, writer = self._streams
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nX-Secret: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (SECRET.encode(), len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def send(port: int, todo: Iterator[Batch], out: IO[str]) -> None:
    """Deliver all batches over a few connections."""

    async def work() -> None:
        sender = Sender(port, out)
        for batch in todo:
            await sender.deliver(batch)
        sender.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


if __name__ == "__main__":
    port, first, count, each, readings = map(int, sys.argv[1:6])
    with Path(sys.argv[6]).open("w") as out:
        asyncio.run(send(port, batches(first, count, each, readings), out))
