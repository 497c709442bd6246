"""The collector's HTTP server: uvicorn with h11, and the deadlines that uvicorn leaves to others."""

import asyncio
import errno
import logging
import os
import resource
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bridge.collect.app import Collector
from bridge.errors import OperationError

HEAD_WAIT = 10.0
"""Seconds for the head of a request to come, on a new connection and after an answer."""

STOP_WAIT = 12
"""Seconds for requests in flight to be answered when the collector stops."""

_LARGEST_HEAD = 16_384


class GuardedProtocol(H11Protocol):
    """A connection that is closed where no request comes.

    uvicorn ends connections that are idle after an answer, but neither one that never says anything nor one
    whose head comes a byte at a time.
    """

    _idle_since = 0.0

    def connection_made(self, transport: Any) -> None:
        """Begin to watch the connection."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self.loop.call_later(HEAD_WAIT, self._check)

    def on_response_complete(self) -> None:
        """Wait for the next request from now on."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def _check(self) -> None:
        if self.transport.is_closing():
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        left = HEAD_WAIT if busy else self._idle_since + HEAD_WAIT - self.loop.time()
        if left <= 0:
            self.transport.abort()
        else:
            self.loop.call_later(left, self._check)


class Server(uvicorn.Server):
    """uvicorn's server, whose signals are the collector's."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take SIGTERM and SIGINT: both end the server once the requests in flight are answered."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        yield

    def stop(self) -> None:
        """End the server."""
        self.should_exit = True


def make_server(app: Collector, max_connections: int) -> Server:
    """Return the server of ``app``; beyond ``max_connections`` requests are answered 503."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of each request that is not HTTP
    return Server(
        uvicorn.Config(
            app,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=max_connections,
            h11_max_incomplete_event_size=_LARGEST_HEAD,
            timeout_keep_alive=int(HEAD_WAIT),
            timeout_graceful_shutdown=STOP_WAIT,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """Return the listening socket; raises `OperationError` where there can be none."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except socket.gaierror as error:
        raise OperationError(f"listen: {host} is not known ({error.strerror}); give an address") from None
    except OSError as error:
        fix = "another program has it" if error.errno == errno.EADDRINUSE else "give one of this machine's"
        reason = os.strerror(error.errno or 0)
        raise OperationError(f"listen: {host}:{port} cannot be used ({reason}); {fix}") from None


def allow_connections(number: int) -> None:
    """Raise the limit of open files, as far as the system lets us, so that ``number`` connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + 64
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
