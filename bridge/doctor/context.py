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
        self.loaded = loaded
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
            pid, uid, stats = _ask(self.control, "stats")
            answer = _ask(self.control, "network")[2] if stats else None
        except OSError as exc:
            return None, isinstance(exc, PermissionError)
        return Daemon(pid, uid, stats, (answer or {}).get("status")), False


def text_of(path: Path) -> str:
    """Return the text of a file, without the space around it; empty if it cannot be read."""
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""


def _ask(path: Path, command: str) -> tuple[int, int, dict[str, Any] | None]:
    """Return process, user and answer of the daemon at ``path``; raises `OSError` where none listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_WAIT)
        connection.connect(str(path))
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(peer)
        return pid, uid, _answer(connection, command)


def _answer(connection: socket.socket, command: str) -> dict[str, Any] | None:
    try:
        connection.sendall(json.dumps({"command": command}).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer = json.loads(stream.readline())
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) and "error" not in answer else None
