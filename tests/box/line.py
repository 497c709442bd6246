"""Lines to and from the emulated machine: the agent's, a JSON object each (see `agent`), and a port's."""

import contextlib
import json
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


class MachineGone(Exception):
    """The machine was cut off, or died, while it was asked something."""


class Agent:
    """The host's side of the agent; a thread of its own reads the answers until the machine is gone."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._lock = threading.Lock()  # guards the rest, and whole lines on the socket
        self._number = 0
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any] | None]] = {}
        self._gone = False
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        answered: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        with self._lock:
            if self._gone:
                raise MachineGone
            self._number += 1
            self._waiting[self._number] = answered
            line = json.dumps({"id": self._number, **request}).encode() + b"\n"
            try:
                self._socket.sendall(line)
            except OSError as error:
                raise MachineGone from error
        try:
            answer = answered.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no answer within {timeout:.0f} s to: {str(request)[:200]}") from None
        if answer is None:
            raise MachineGone
        return answer

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._socket.makefile("rb") as lines:
            for line in lines:
                answer = json.loads(line)
                with self._lock:
                    waiting = self._waiting.pop(answer["id"], None)
                if waiting:
                    waiting.put(answer)
        with self._lock:
            self._gone = True
            for each in self._waiting.values():
                each.put(None)
        self._socket.close()


class Lines(threading.Thread):
    """Reads a port of a machine over all its boots: what has left the machine outlives a power cut."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        """``note`` gets each whole line, in this thread."""
        super().__init__(daemon=True)
        self._path = path
        self._note = note
        self._closed = threading.Event()
        self.start()

    def run(self) -> None:
        """Read, from each boot anew, until closed."""
        while not self._closed.wait(0.05):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
                line.connect(str(self._path))
                line.settimeout(1.0)
                self._read(line)

    def _read(self, line: socket.socket) -> None:
        pending = b""
        while not self._closed.is_set():
            try:
                piece = line.recv(65536)
            except TimeoutError:
                continue
            if not piece:
                return
            *whole, pending = (pending + piece).split(b"\n")
            for each in whole:
                self._note(each.decode(errors="replace"))

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        self.join(5)
