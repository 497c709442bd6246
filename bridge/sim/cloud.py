"""The simulated cloud: a server that speaks the cloud socket's protocol, with faults on request.

One asyncio loop in one thread owns everything here. :mod:`bridge.sim.exchange` has the connection,
:mod:`bridge.sim.wire` the protocol.
"""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from bridge.errors import OperationError
from bridge.sim import faults as faulty
from bridge.sim.exchange import Exchange
from bridge.sim.faults import Fault
from bridge.sim.journal import LineWriter, Record, json_line, utc_now
from bridge.sim.requests import OK, CloudKeys, Request
from bridge.sim.wire import Accounts, judge

IDLE: Final = 5.0
"""Seconds of silence until a connection is closed ("a few": Hologram, Embedded TCP API)."""

_ACCEPTS: Final = 64  # connections taken in one turn of the loop


class SimCloud:
    """A cloud on ``host``:``port`` (0 picks a free port; see :attr:`port`) that knows ``devicekey``.

    ``delay`` seconds pass before every answer, as on a slow link; ``faults`` hit every n-th request, the
    first ordered winning; ``log`` is a file that gets one JSON line a request; ``on_request`` is called with
    each :class:`~bridge.sim.journal.Record` before its answer leaves; ``cloud_keys`` (id, key) and ``totp``
    (device id, private key) are further credentials; ``idle`` is the silence in seconds after which it hangs
    up. ``received`` and ``accepted`` count requests.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        devicekey: str = "abcd1234",
        *,
        delay: float = 0.0,
        faults: Sequence[Fault] = (),
        log: Path | None = None,
        on_request: Callable[[Record], None] | None = None,
        cloud_keys: tuple[str, str] | None = None,
        totp: tuple[str, str] | None = None,
        idle: float = IDLE,
    ) -> None:
        self.host = host
        self.port = port
        self.received = 0
        self.accepted = 0
        self.delay = delay
        self.idle = idle
        keys = CloudKeys(*cloud_keys) if cloud_keys else None
        self._accounts = Accounts(devicekey, keys, *(totp or (None, None)))
        self._faults = tuple(faults)
        self._log_path = log
        self._on_request = on_request
        self._log: LineWriter | None = None
        self._listener: socket.socket | None = None
        self._exchanges: set[Exchange] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Open the log and listen.

        Raises:
            OperationError: the log cannot be written or the port cannot be opened.

        """
        if self._log_path is not None:
            self._log = LineWriter(_open_log(self._log_path), at_once=True)
        self._listener = listen(self.host, self.port)
        self.port = self._listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener, self._accept)
        self._sweep = loop.call_later(self.idle / 5, self._close_idle)

    async def close(self) -> None:
        """Stop listening, end every connection and flush the log. A second call changes nothing."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for exchange in tuple(self._exchanges):
            exchange.close()
        if self._log is not None:
            self._log.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def decide(self, request: Request) -> Record:
        """Judge and number the request, apply its fault, and log it before it is answered."""
        self.received += 1
        code, problem = judge(request, self._accounts, time.time())
        fault = faulty.fault_at(self._faults, self.received, request.topics) if self._faults else None
        accepted = code == OK and (fault is None or fault in faulty.ACCEPTING)
        answered = code if fault is None or fault in faulty.ACCEPTING else faulty.CODES.get(fault)
        return self._write(
            Record(
                self.received,
                utc_now(),
                request,
                code=answered,
                fault=fault,
                accepted=accepted,
                problem=problem,
            )
        )

    def give_up(self, pending: int, problem: str) -> None:
        """Log a request that never ended: code 1, which is not answered."""
        self.received += 1
        self._write(
            Record(
                self.received,
                utc_now(),
                Request("unknown", pending),
                code=None,
                fault=None,
                accepted=False,
                problem=problem,
            )
        )

    def _write(self, record: Record) -> Record:
        self.accepted += record.accepted
        if self._log is not None:
            self._log.write(json_line(record))
        if self._on_request is not None:
            self._on_request(record)
        return record

    def _accept(self) -> None:
        """Accept the waiting connections; the loop calls again while there are more."""
        listener = self._listener
        for _ in range(_ACCEPTS):
            if listener is None:
                return
            try:
                connection, _peer = listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    raise
                self._rest(listener)
                return
            Exchange(self, connection, self._exchanges).read()

    def _rest(self, listener: socket.socket) -> None:
        """Pause accepting, for want of file descriptors; connections wait in the backlog."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)

        def again() -> None:
            if self._listener is listener:
                loop.add_reader(listener, self._accept)

        loop.call_later(0.1, again)

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for exchange in tuple(self._exchanges):
            if exchange.hangs_up_at is not None and now >= exchange.hangs_up_at:
                exchange.end_reading("idle before the end of the request")
        self._sweep = loop.call_later(self.idle / 5, self._close_idle)


def listen(host: str, port: int) -> socket.socket:
    """Return a non-blocking listening socket with room for a burst of connections.

    Raises:
        OperationError: the address is in use, not of this machine, or unknown; the text says what to do.

    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=4096)
    except socket.gaierror as error:
        raise OperationError(
            f"cannot listen on {host}: {error.strerror}; give an address of this machine"
        ) from None
    except OSError as error:
        hint = "choose another with --port" if error.errno == errno.EADDRINUSE else "check --host and --port"
        raise OperationError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; {hint}"
        ) from None
    listener.setblocking(False)
    # Accepted sockets inherit the option, so that the bytes of a split answer leave one by one.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _open_log(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise OperationError(
            f"--log: cannot write {path}: {error.strerror}; name a file in a writable folder"
        ) from None
