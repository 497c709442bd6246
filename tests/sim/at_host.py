"""A host at a serial port, by plain system calls: writes bytes, and waits for what a pattern describes."""

import os
import re
import select
import time
from pathlib import Path
from typing import Self

FINAL = rb"\r\n(OK|ERROR|\+CM[ES] ERROR: [^\r]*|NO CARRIER|SEND OK|SEND FAIL|CONNECT[^\r]*)\r\n"


class Host:
    """A port that is open; ``left`` is what has come and nobody asked for."""

    def __init__(self, path: Path | str, *, echo: bool = False) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.left = b""
        if not echo:
            self.ask("ATE0")
            self.ask("AT+CMEE=2")

    def write(self, data: bytes) -> None:
        while data:
            select.select([], [self.fd], [], 10)
            data = data[os.write(self.fd, data) :]

    def wait(self, pattern: bytes, timeout: float = 10.0) -> re.Match[bytes]:
        """Return the first match in what comes; what stands up to its end is consumed."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.left, re.DOTALL)):
            rest = deadline - time.monotonic()
            assert rest > 0, f"{pattern!r} did not come within {timeout} s; there is {self.left!r}"
            self._more(rest)
        self.left = self.left[found.end() :]
        return found

    def _more(self, timeout: float) -> bool:
        if not select.select([self.fd], [], [], timeout)[0]:
            return False
        part = os.read(self.fd, 65536)
        self.left += part
        return bool(part)

    def ask(self, command: str, timeout: float = 10.0) -> list[str]:
        """Send a command line; return the lines of its answer, the final one last."""
        self.write(command.encode("latin-1") + b"\r")
        found = self.wait(FINAL, timeout)
        assert found.string is not None
        return [line for line in found.string[: found.end()].decode("latin-1").split("\r\n") if line]

    def code(self, start: str, timeout: float = 10.0) -> str:
        """Wait for a line that starts so; return it."""
        return self.wait(rb"\r\n(" + re.escape(start.encode()) + rb"[^\r]*)\r\n", timeout)[1].decode()

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        return not self.left and not self._more(seconds)

    def gone(self, timeout: float = 10.0) -> bool:
        """Wait until the port hangs up."""
        poll = select.poll()
        poll.register(self.fd, 0)
        return bool(poll.poll(timeout * 1000))

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
