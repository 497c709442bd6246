"""Runs inside the emulated machine and does what the host asks over a virtio serial port; stdlib only.

One JSON object a line each way. A request has an ``id``, which its answer repeats, and a ``do``: ``run`` (a
shell command in a process group of its own, ended after ``timeout`` seconds), ``put`` or ``get`` (a file;
its bytes in base64). Requests run side by side.
"""

import base64
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

PORT = "/dev/virtio-ports/box.agent"


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command; its code is None where it took too long, and its output what it had said by then."""
    read, write = os.pipe()
    child = subprocess.Popen(
        ["/bin/sh", "-c", request["command"]],
        stdin=subprocess.DEVNULL,
        stdout=write,
        stderr=write,
        cwd="/root",
        # A group of its own, but no session: a session's leader that opens a serial port becomes its
        # foreground, and loses it when the port hangs up.
        process_group=0,
    )
    os.close(write)
    said: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(read, said), daemon=True)
    reader.start()
    code: int | None
    try:
        code = child.wait(request["timeout"])
    except subprocess.TimeoutExpired:
        code = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    # What the command left running in the background may hold its output open: do not wait for that.
    reader.join(0.5)
    return {"code": code, "data": _text(b"".join(said))}


def put(request: dict[str, Any]) -> dict[str, Any]:
    """Write, or append to, a file."""
    path = Path(request["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab" if request["append"] else "wb") as file:
        file.write(base64.b64decode(request["data"]))
    path.chmod(request["mode"])
    return {}


def get(request: dict[str, Any]) -> dict[str, Any]:
    """Read a piece of a file."""
    with Path(request["path"]).open("rb") as file:
        file.seek(request["offset"])
        return {"data": _text(file.read(request["size"]))}


def _drain(read: int, said: list[bytes]) -> None:
    with contextlib.suppress(OSError):
        while piece := os.read(read, 65536):
            said.append(piece)
    os.close(read)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Agent:
    """The port, and the lock under which answers are written to it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Answer requests for as long as the machine runs."""
        pending = b""
        while True:
            select.select([self._port], [], [])
            piece = os.read(self._port, 65536)
            if not piece:  # nobody is connected on the host's side
                threading.Event().wait(0.1)
                continue
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                threading.Thread(target=self._answer, args=(line,), daemon=True).start()

    def _answer(self, line: bytes) -> None:
        request = json.loads(line)
        try:
            answer = {"run": run, "put": put, "get": get}[request["do"]](request)
        except OSError as error:
            answer = {"error": str(error)}
        data = json.dumps({"id": request["id"], **answer}).encode() + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._port, data) :]


if __name__ == "__main__":
    Agent(os.open(sys.argv[1] if len(sys.argv) > 1 else PORT, os.O_RDWR)).serve()
