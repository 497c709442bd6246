"""One process that is many boxes: it posts their batches, again until they are answered 200, some twice.

``python -m tests.bench.fleet.boxes PORT FIRST COUNT BATCHES READINGS SECONDS OUT`` sends BATCHES of each of
COUNT boxes, and goes on until SIGTERM, but begins none after SECONDS. It writes a line of JSON for each: the
fields of a `Sent`.
"""

import asyncio
import base64
import itertools
import json
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from bridge.batch import Reading, encode
from tests.harness.collector import RECEIVED, SECRET

CONNECTIONS = 24
REPEATED = 0.05
"""The share of batches that are sent again although they were answered 200."""

PER_CONNECTION = 40
"""Requests on one connection; then the balancer gives another collector."""

GRACE = 60.0
"""Seconds after the last batch was begun in which each is sent again until it is answered 200."""


class Sent(NamedTuple):
    """What became of one batch."""

    device: int
    batch: str
    seconds: float | None
    """How long its answer 200 took; None where there was none."""
    requests: int
    refused: int
    """Requests that were not answered, or not with 200."""


class Batch(NamedTuple):
    """One batch of a box."""

    device: int
    batch: str
    body: bytes


def batches(first: int, count: int, readings: int, more: Callable[[int], bool]) -> Iterator[Batch]:
    """Yield batches, one of each box after the other, while ``more`` of a round is true."""
    for number in itertools.count():
        for device in range(first, first + count):
            if not more(number):
                return
            yield Batch(device, f"f{number}", _body(device, f"f{number}", readings))


def _body(device: int, batch: str, readings: int) -> bytes:
    rows = [Reading((f"sensors/{n % 3}",), 1.79e9 + 60 * n, payload(device, n)) for n in range(readings)]
    told = {
        "received": RECEIVED,
        "tags": ["batch", f"_DEVICE_{device}_"],
        "device": {"id": device, "name": f"box {device}"},
        "data": base64.b64encode(encode(batch, rows)).decode(),
    }
    return json.dumps(told).encode()


def payload(device: int, n: int) -> bytes:
    """Return the payload of the n-th reading of a batch."""
    return b'{"t":%.2f,"h":%d,"p":%d}' % (20 + (device * 7 + n) % 1000 / 100, 40 + n % 20, 1000 + n % 30)


class Sender:
    """One connection at a time to the balancer."""

    def __init__(self, port: int, deadline: float) -> None:
        self._port = port
        self._deadline = deadline
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._left = 0

    async def deliver(self, batch: Batch) -> Sent:
        """Post until the answer is 200 or the deadline is over, then perhaps once more."""
        delay = 0.25
        for refused in itertools.count():
            begun = time.monotonic()
            if await self._post(batch.body) == 200:
                break
            if begun > self._deadline:
                return Sent(batch.device, batch.batch, None, refused + 1, refused + 1)
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(4.0, 2 * delay)
        took = round(time.monotonic() - begun, 4)
        if random.random() >= REPEATED:
            return Sent(batch.device, batch.batch, took, refused + 1, refused)
        again = await self._post(batch.body)
        return Sent(batch.device, batch.batch, took, refused + 2, refused + (again != 200))

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


async def send(port: int, todo: Iterator[Batch], deadline: float, out: IO[str]) -> None:
    """Deliver all batches over a few connections."""

    async def work() -> None:
        sender = Sender(port, deadline)
        for batch in todo:
            out.write(json.dumps(await sender.deliver(batch)) + "\n")
        sender.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


async def main(port: int, first: int, count: int, each: int, readings: int, seconds: int, path: Path) -> None:
    """Be ``count`` boxes, as the module says."""
    deadline, enough = time.monotonic() + seconds, asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, enough.set)

    def more(number: int) -> bool:
        return time.monotonic() < deadline and (number < each or not enough.is_set())

    with path.open("w") as out:
        await send(port, batches(first, count, readings, more), deadline + GRACE, out)


if __name__ == "__main__":
    port, first, count, each, readings, seconds = map(int, sys.argv[1:7])
    asyncio.run(main(port, first, count, each, readings, seconds, Path(sys.argv[7])))
