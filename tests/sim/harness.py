"""A simulated cloud on a thread of its own, and a plain client for it."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bridge.sim.cloud import SimCloud
from bridge.sim.faults import parse_faults
from bridge.sim.journal import Record

GOOD = b'{"k":"abcd1234","d":"hi","t":"a/b"}\n\n'


class Running:
    """A cloud that runs; ``records`` is what it saw."""

    def __init__(self, cloud: SimCloud, records: list[Record]) -> None:
        self.cloud = cloud
        self.records = records

    def connect(self, timeout: float = 15.0) -> socket.socket:
        return socket.create_connection((self.cloud.host, self.cloud.port), timeout)

    def ask(self, *pieces: bytes, timeout: float = 15.0) -> bytes:
        """Send the pieces, each in a segment of its own; return all bytes until the server closes."""
        with self.connect(timeout) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                connection.sendall(piece)
            return read_all(connection)


@contextlib.contextmanager
def running(
    *faults: str,
    delay: float = 0.0,
    idle: float = 5.0,
    log: Path | None = None,
    cloud_keys: tuple[str, str] | None = None,
    totp: tuple[str, str] | None = None,
) -> Iterator[Running]:
    """Run a cloud with these faults until the block ends; an error of its loop fails the test."""
    records: list[Record] = []
    cloud = SimCloud(
        faults=parse_faults(faults),
        delay=delay,
        idle=idle,
        log=log,
        on_request=records.append,
        cloud_keys=cloud_keys,
        totp=totp,
    )
    loop = asyncio.new_event_loop()
    errors: list[object] = []
    loop.set_exception_handler(lambda _loop, context: errors.append(context))
    loop.run_until_complete(cloud.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Running(cloud, records)
    finally:
        asyncio.run_coroutine_threadsafe(cloud.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
    assert errors == []


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the peer closes."""
    parts = []
    while part := connection.recv(4096):
        parts.append(part)
    return b"".join(parts)


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until the condition holds; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to hold"
        threading.Event().wait(0.01)
