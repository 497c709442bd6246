"""qemu's own control port: the QEMU Machine Protocol, one JSON object a line."""

import json
import socket
from pathlib import Path
from typing import Any


class Qmp:
    """One connection; commands and the events that come between."""

    def __init__(self, path: Path, timeout: float = 20.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self._events: list[dict[str, Any]] = []
        self._lines.readline()  # the greeting
        self.command("qmp_capabilities")

    def command(self, name: str, **arguments: Any) -> Any:
        """Execute a command and return what it gives; a refusal fails the test."""
        self._socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = self._next()
            if "event" in answer:
                self._events.append(answer)
                continue
            assert "return" in answer, f"qemu refused {name}: {answer.get('error', {}).get('desc')}"
            return answer["return"]

    def event(self, name: str, **data: Any) -> None:
        """Wait for an event with at least this ``data``."""
        while True:
            for each in self._events:
                if each["event"] == name and data.items() <= each.get("data", {}).items():
                    self._events.remove(each)
                    return
            self._events.append(self._next())

    def close(self) -> None:
        """Let go of the connection."""
        self._lines.close()
        self._socket.close()

    def _next(self) -> dict[str, Any]:
        line = self._lines.readline()
        assert line, "qemu ended"
        answer: dict[str, Any] = json.loads(line)
        return answer
