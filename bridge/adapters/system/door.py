"""The common part of our own small servers: a limit of connections, and an end for each of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bridge.core.log_throttle import LogInterval

log = logging.getLogger("control")

CLOSING = 10.0
"""Seconds for a client to read the rest of its answer."""

FAILURES = (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
"""Exceptions that a client may cause."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Door:
    """Serves at most ``most`` connections at once; owned by the event loop's thread."""

    def __init__(self, name: str, most: int, serve: Serve, refusal: bytes) -> None:
        """``serve`` bounds its own waiting; ``refusal`` is the answer when all connections are taken."""
        self._name = name
        self._most = most
        self._serve = serve
        self._refusal = refusal
        self._open = 0
        self._notes = LogInterval(60.0)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end; a client's fault is logged once a minute."""
        if self._open >= self._most:
            self._note(f"{self._most} are open already, one more was refused")
            writer.write(self._refusal)
            writer.close()  # the refusal always fits into the socket's buffer
            return
        self._open += 1
        try:
            await self._serve(reader, writer)
            writer.close()
            async with asyncio.timeout(CLOSING):
                await writer.wait_closed()
        except BaseException as exc:
            # Only here, because a transport that ended in order has dropped its loop, which an abort needs.
            writer.transport.abort()
            if not isinstance(exc, FAILURES):
                raise
            self._note(str(exc) or "it took too long")
        finally:
            self._open -= 1

    def _note(self, why: str) -> None:
        if self._notes.due(self._name, asyncio.get_running_loop().time()):
            log.warning("a %s connection failed: %s", self._name, why)
