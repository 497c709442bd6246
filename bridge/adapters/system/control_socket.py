"""The control socket, by which the ``queue`` commands reach a running daemon.

One JSON object on one line each way, over a Unix socket that only the daemon's user and group can open.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bridge.adapters.system.door import Door
from bridge.errors import WHO_MAY, BridgeError, OperationError

LINE_LIMIT = 1 << 20
"""Bytes of one request or answer."""

ANSWER_WAIT = 600.0
"""Seconds that a client waits, because a purge of a million messages takes long."""

REQUEST_WAIT = 10.0
"""Seconds for a complete request to arrive."""

CONNECTIONS = 16
"""Number of connections that may be open at once."""

INSTALLED = Path("/run/hologram-bridge/control.sock")
"""The socket of ``hologram-bridge.service``, whose runtime directory other processes do not learn."""

INSTALLED_STORE = Path("/var/lib/hologram-bridge/outbox.db")
"""The store of that service, unless ``store.path`` says otherwise."""

Handle = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def socket_path(configured: Path | None, store: Path) -> Path:
    """Return the socket's path: as configured, in systemd's runtime directory, or beside the store.

    A client outside the service finds the service's socket by the service's store.
    """
    if configured:
        return configured
    runtime = os.environ.get("RUNTIME_DIRECTORY")
    if runtime:
        return Path(runtime.split(":")[0]) / "control.sock"
    if store == INSTALLED_STORE and os.path.exists(INSTALLED):  # noqa: PTH110 False where one may not look
        return INSTALLED
    return store.with_name(store.name + ".sock")


class ControlServer:
    """Listens, and passes each request to ``handle``."""

    def __init__(self, path: Path, handle: Handle) -> None:
        self._path = path
        self._handle = handle
        self._server: asyncio.Server | None = None
        busy = {"error": f"{CONNECTIONS} commands are under way already; try again in a moment"}
        self._door = Door("control", CONNECTIONS, self._serve, _line(busy))

    async def start(self) -> None:
        """Begin to listen; raises `OperationError` if the path is unusable."""
        try:
            if self._path.is_socket():  # it is ours, because the store's lock rules out another daemon
                self._path.unlink()
            self._server = await asyncio.start_unix_server(self._door, self._path, limit=LINE_LIMIT)
            self._path.chmod(0o660)
        except OSError as exc:
            raise OperationError(
                f"cannot listen on {self._path}: {exc.strerror or exc}; see control.path"
            ) from exc

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_WAIT):
            line = await reader.readline()
        async with asyncio.timeout(ANSWER_WAIT):
            writer.write(_line(await self._answer(line)))

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            return await self._handle(request)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, BridgeError) as exc:
            return {"error": f"{exc}"}

    def close(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.close()
            self._path.unlink(missing_ok=True)


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def ask(path: Path, request: dict[str, Any], wait: float = ANSWER_WAIT) -> dict[str, Any] | None:
    """Send ``request`` to the daemon at ``path``; None if none is listening.

    Raises `OperationError` if it refuses, or does not answer within ``wait`` seconds.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(wait)
        try:
            connection.connect(str(path))
        except PermissionError as exc:
            raise OperationError(f"may not open {path}: {WHO_MAY}") from exc
        except TimeoutError as exc:  # its queue is full
            raise OperationError(f"the daemon at {path} does not answer: {exc}") from exc
        except OSError:
            return None
        try:
            with contextlib.suppress(BrokenPipeError):  # a daemon that refuses says so, and reads nothing
                connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
        except OSError as exc:
            raise OperationError(f"the daemon at {path} does not answer: {exc}") from exc
    if not line:
        raise OperationError(f"the daemon at {path} closed the connection")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise OperationError(str(answer["error"]))
    return answer
