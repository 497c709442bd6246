"""A plain TCP balancer: each connection goes to the next collector that takes it.

``python -m tests.bench.fleet.balancer PORT TARGET…``
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Iterator

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _target(turns: Iterator[int], number: int) -> Streams | None:
    for _ in range(number):
        with contextlib.suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", next(turns))
    return None


async def balance(port: int, targets: list[int]) -> None:
    """Serve for ever."""
    turns = itertools.cycle(targets)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = await _target(turns, len(targets))
        if target is None:
            writer.close()
            return
        await asyncio.gather(_copy(reader, target[1]), _copy(target[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(balance(int(sys.argv[1]), [int(each) for each in sys.argv[2:]]))
