"""One connection of the simulated cloud, from its first byte to its end.

It uses a plain socket and no asyncio stream, because most requests are whole when their connection is
accepted. Such a request is read, answered and closed at once, and the loop never watches its socket.
Everything here runs in the event loop's thread.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol

from bridge.sim import faults as faulty
from bridge.sim.journal import Record
from bridge.sim.requests import MSGINVALID, PROTINVALID, Request
from bridge.sim.wire import RequestReader, answer

_LINGER: Final = 1.0  # seconds of reading after an early refusal, so that no reset overtakes the answer
_READ: Final = 262144
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close by RST


class Cloud(Protocol):
    """The server as a connection sees it; ``delay`` and ``idle`` are in seconds."""

    delay: float
    idle: float

    def decide(self, request: Request) -> Record:
        """Judge a whole request and log it."""

    def give_up(self, pending: int, problem: str) -> None:
        """Log ``pending`` bytes that never became a request."""


class Exchange:
    """One connection, from its first byte to its end."""

    __slots__ = ("_cloud", "_connection", "_lives", "_reader", "_timer", "_watched", "hangs_up_at")

    def __init__(self, cloud: Cloud, connection: socket.socket, lives: "set[Exchange]") -> None:
        self._cloud = cloud
        self._connection = connection
        self._lives = lives
        self._reader: RequestReader | None = RequestReader()  # None once the request is whole
        self._timer: asyncio.TimerHandle | None = None
        self._watched = False
        self.hangs_up_at: float | None = None  # loop time; None while nothing more is expected

    def read(self) -> None:
        """Read; answer a whole request, otherwise wait for more."""
        try:
            data = self._connection.recv(_READ, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._wait(self._cloud.idle)
            return
        except OSError:
            self.end_reading("the connection was reset before the end of the request")
            return
        if not data:
            self.end_reading("the connection was closed before the end of the request")
        elif self._reader is None:
            pass  # bytes after a request are discarded
        elif (request := self._reader.feed(data)) is None:
            self._wait(self._cloud.idle)
        else:
            self._reader = None
            self._respond(self._cloud.decide(request))

    def end_reading(self, problem: str) -> None:
        """Close, and log the part of a request that has come."""
        if self._reader is not None and self._reader.pending:
            self._cloud.give_up(self._reader.pending, problem)
        self.close()

    def close(self) -> None:
        """End the connection at once, in any state."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watched:
            asyncio.get_running_loop().remove_reader(self._connection)
        self._lives.discard(self)
        self._connection.close()

    def _wait(self, seconds: float | None) -> None:
        """Watch for more bytes or the peer's close, for ``seconds`` of silence; for ever when None."""
        loop = asyncio.get_running_loop()
        self.hangs_up_at = None if seconds is None else loop.time() + seconds
        self._lives.add(self)
        if not self._watched:
            self._watched = True
            loop.add_reader(self._connection, self.read)

    def _respond(self, record: Record) -> None:
        """Carry out the record's decision: at once, or after the delay."""
        if not self._cloud.delay and record.fault != "late":
            self._act(record)
            return
        self._stop_watching()
        seconds = self._cloud.delay + (faulty.LATE if record.fault == "late" else 0)
        self._later(seconds, lambda: self._act(record))

    def _act(self, record: Record) -> None:
        fault = record.fault
        if fault == "close":
            self.close()
        elif fault == "reset":
            with contextlib.suppress(OSError):
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.close()
        elif fault == "silent":
            self._wait(None)
        elif fault == "garbage":
            self._send(faulty.GARBAGE)
            self.close()
        elif record.code is not None:
            self._answer(record, record.code)

    def _answer(self, record: Record, code: int) -> None:
        data = answer(record.request.form, code)
        if record.fault in {"split", "drip"}:
            self._stop_watching()
            self._drip(data, faulty.SPLIT_GAP if record.fault == "split" else faulty.DRIP_GAP)
            return
        self._send(data)
        if record.request.code in {MSGINVALID, PROTINVALID}:  # refused before its end: more may be in flight
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)
            self._wait(_LINGER)
            return
        self.close()

    def _drip(self, data: bytes, gap: float) -> None:
        """Send byte by byte, ``gap`` seconds apart, then close."""
        if not self._send(data[:1]) or len(data) == 1:
            self.close()
            return
        self._later(gap, lambda: self._drip(data[1:], gap))

    def _send(self, data: bytes) -> bool:
        """Send a few bytes, which always fit a new connection's buffer; return False if the peer is gone."""
        try:
            self._connection.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._lives.add(self)
        self._timer = asyncio.get_running_loop().call_later(seconds, call)

    def _stop_watching(self) -> None:
        self.hangs_up_at = None
        if self._watched:
            self._watched = False
            asyncio.get_running_loop().remove_reader(self._connection)
