"""What our own small servers share: so many connections at once, and an end for each of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bridge.core.admission import LogInterval

log = logging.getLogger("control")

CLOSING = 10.0
"""Seconds for a client to take the rest of its answer."""

FAILURES = (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
"""What a client may cause."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Door:
    """Serves at most ``most`` connections at once; owned by the event loop's thread."""

    def __init__(self, name: str, most: int, serve: Serve, refusal: bytes) -> None:
        """``serve`` bounds its own waiting; ``refusal`` is the answer to who comes when all are taken."""
        self._name = name
        self._most = most
        self._serve = serve
        self._refusal = refusal
        self._open = 0
        self._notes = LogInterval(60.0)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end; what the client does wrong is said once a minute."""
        if self._open >= self._most:
            self._note(f"{self._most} are open already, one more was refused")
            writer.write(self._refusal)
            writer.close()  # so little always fits into the socket's buffer
            return
        self._open += 1
        try:
            await self._serve(reader, writer)
            writer.close()
            async with asyncio.timeout(CLOSING):
                await writer.wait_closed()
        except BaseException as exc:
            # Only here: a transport whose end was in order has forgotten its loop, which aborting needs.
            writer.transport.abort()
            if not isinstance(exc, FAILURES):
                raise
            self._note(str(exc) or "it took too long")
        finally:
            self._open -= 1

    def _note(self, why: str) -> None:
        if self._notes.due(self._name, asyncio.get_running_loop().time()):
            log.warning("a %s connection failed: %s", self._name, why)
