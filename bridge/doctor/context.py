"""The context of the checks: the configuration, the machine, and the daemon if one runs."""

import json
import socket
import struct
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from bridge.adapters.system.control_socket import socket_path
from bridge.settings import Loaded, Settings

ANSWER_WAIT = 5.0
"""Seconds for the daemon to answer; a slower one is not healthy."""

_CREDENTIALS = struct.Struct("3i")
"""Process, user and group of a peer: struct ucred [unix(7), SO_PEERCRED]."""


class Daemon(NamedTuple):
    """The daemon as far as it answers."""

    pid: int
    uid: int
    stats: dict[str, Any] | None
    """Its health; None if it does not answer."""
    network: dict[str, Any] | None
    """Its network status; None if it manages no network."""


class Context:
    """The subject of the checks; the folders are the system's by default."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        dev: Path = Path("/dev"),
        run: Path = Path("/run"),
        etc: Path = Path("/etc"),
        usr: Path = Path("/usr"),
    ) -> None:
        self.settings: Settings = loaded.settings
        self.warnings = loaded.warnings
        self.config = loaded.path
        self.proc, self.sys, self.dev, self.run, self.etc, self.usr = proc, sys, dev, run, etc, usr

    @cached_property
    def control(self) -> Path:
        """The daemon's socket; systemd's folder counts too, because systemd does not start this command."""
        path = socket_path(self.settings.control.path, self.settings.store.path)
        under_systemd = self.run / "hologram-bridge" / "control.sock"
        if self.settings.control.path is None and not path.exists() and under_systemd.exists():
            return under_systemd
        return path

    @property
    def daemon(self) -> Daemon | None:
        """The daemon of this configuration, if one runs and this user may query it."""
        return self._reached[0]

    @property
    def forbidden(self) -> bool:
        """Whether a daemon may run that this user must not query."""
        return self._reached[1]

    @cached_property
    def _reached(self) -> tuple[Daemon | None, bool]:
        try:
            with _connect(self.control) as connection:
                pid, uid, _ = _CREDENTIALS.unpack(
                    connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                )
                stats = _ask(connection, "stats")
            if stats is None:
                return Daemon(pid, uid, None, None), False
            with _connect(self.control) as connection:
                answer = _ask(connection, "network") or {}
        except OSError as exc:
            return None, isinstance(exc, PermissionError)
        return Daemon(pid, uid, stats, answer.get("status")), False


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(ANSWER_WAIT)
    try:
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _ask(connection: socket.socket, command: str) -> dict[str, Any] | None:
    try:
        connection.sendall(json.dumps({"command": command}).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer = json.loads(stream.readline())
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) and "error" not in answer else None
