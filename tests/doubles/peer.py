"""Scripted servers on real sockets, and the carrier's exchanges with them."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

from bridge.adapters.ip.resolver import Resolver
from bridge.adapters.ip.tcp import TcpTransport
from bridge.core.exchange import Job, Outcome

Script = Callable[[socket.socket], None]

LITTLE = 4096
"""A receive buffer, in bytes, that leaves most of ``MUCH`` unacknowledged until the peer reads."""

MUCH = 40_000
"""Bytes that the sender's kernel takes whole, so that all is written."""


class Peer:
    """A listening socket; each connection is handed to a script in a thread of its own."""

    def __init__(
        self, script: Script, *, host: str = "127.0.0.1", port: int = 0, receive_buffer: int | None = None
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((host, port))
        self.listener.listen(128)
        self.host, self.port = self.listener.getsockname()[:2]
        self.script = script
        self.threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []
        self.closing = threading.Event()
        self.acceptor = threading.Thread(target=self._accept)
        self.acceptor.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            connection, _ = self.listener.accept()
            if self.closing.is_set():
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self.threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                self.script(connection)
            except ConnectionError:
                return  # we end connections by reset: that is no failure of the peer's
            except BaseException as exc:  # noqa: BLE001  # handed to the test
                self.errors.append(exc)

    def close(self) -> None:
        self.closing.set()
        with socket.socket(self.listener.family) as last:
            last.connect((self.host, self.port))
        self.acceptor.join(10)
        self.listener.close()
        for thread in self.threads:
            thread.join(10)
        assert self.errors == []


@contextlib.contextmanager
def peer(script: Script, *, host: str = "127.0.0.1", receive_buffer: int | None = None) -> Iterator[Peer]:
    """Run a server until the block ends."""
    found = Peer(script, host=host, receive_buffer=receive_buffer)
    try:
        yield found
    finally:
        found.close()


def read_request(connection: socket.socket, end: bytes = b"\n\n") -> bytes:
    """Read until the request's end, or the peer's close."""
    parts = bytearray()
    while not parts.endswith(end):
        part = connection.recv(65536)
        if not part:
            break
        parts += part
    return bytes(parts)


def carry(*jobs: Job) -> list[tuple[Outcome, float]]:
    """Carry all jobs at once over one carrier; return each outcome and the seconds it took."""

    async def main() -> list[tuple[Outcome, float]]:
        loop = asyncio.get_running_loop()
        errors: list[dict[str, object]] = []
        loop.set_exception_handler(lambda _loop, context: errors.append(context))
        transport = TcpTransport(loop, Resolver(loop))
        begun = time.monotonic()
        futures = [loop.create_future() for _ in jobs]
        for job, future in zip(jobs, futures, strict=True):

            def done(outcome: Outcome, future: "asyncio.Future[tuple[Outcome, float]]" = future) -> None:
                future.set_result((outcome, time.monotonic() - begun))  # a second call would raise

            transport.start(job, done)
            assert not future.done(), "done was called before start had returned"
        found = await asyncio.wait_for(asyncio.gather(*futures), 30)
        await asyncio.sleep(0.05)  # a late second call of `done` would show now
        assert errors == []
        return found

    return asyncio.run(main())


def carry_one(job: Job) -> tuple[Outcome, float]:
    return carry(job)[0]


def job(
    port: int,
    request: bytes = b"request\n\n",
    *,
    host: str = "127.0.0.1",
    complete: Callable[[bytes], bool] = lambda received: received.endswith(b"]"),
    silence: float = 0.4,
    limit: float = 2.4,
    until_close: bool = False,
    orderly: bool = False,
) -> Job:
    return Job(host, port, request, complete, silence, limit, until_close, orderly=orderly)
