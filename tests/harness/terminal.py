"""A command in a terminal of its own, and what is on its screen."""

import codecs
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

from tests.harness.process import Keeper, patient

_ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")
_OTHER = re.compile(r"\x1b[^\[]")
_BEGUN = re.compile(r"\x1b(\[[0-9;?]*)?$")


class Terminal:
    """A command whose terminal has a size; ended by its process id with the test.

    It understands what the view uses: the cursor home, the cursor up, erasing, and text that wraps.
    """

    def __init__(
        self,
        keeper: Keeper,
        command: Sequence[str],
        size: tuple[int, int] = (80, 24),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.width, self.height = size
        self._master, slave = os.openpty()
        self._set_size()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            # The size is the terminal's own, whatever the variable says.
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **(env or {})},
        )
        os.close(slave)
        self.raw = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""
        self._cells = dict[int, str]()
        self._row = self._column = 0
        keeper.finally_(self._close)

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size, as a person does with a window."""
        self.width, self.height = width, height
        self._set_size()
        self._cells.clear()
        self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    @property
    def screen(self) -> list[str]:
        """The lines on the screen."""
        return [self._cells.get(row, "").rstrip() for row in range(max([*self._cells, 0]) + 1)]

    def until(self, condition: Callable[[str], bool], timeout: float = 30.0, *, what: str = "") -> str:
        """Wait until the screen is so; return it."""
        deadline = time.monotonic() + patient(timeout)
        while not condition(text := "\n".join(self.screen)):
            assert time.monotonic() < deadline, f"not on the screen: {what}\n{text}"
            assert self._read(), f"it ended without {what}:\n{text}\n{self.text[-2000:]}"
        return text

    def shows(self, *parts: str, timeout: float = 30.0) -> str:
        """Wait until all ``parts`` are on the screen; return it."""
        return self.until(lambda text: all(part in text for part in parts), timeout, what=str(parts))

    def drew(self, *parts: str, timeout: float = 120.0) -> None:
        """Wait until each of ``parts`` has been on the screen, together or not."""
        deadline = time.monotonic() + patient(timeout)
        while missing := [part for part in parts if part not in self.text]:
            assert time.monotonic() < deadline, f"never drawn: {missing}\n{self.text[-4000:]}"
            assert self._read(), f"it ended without {missing}:\n{self.text[-4000:]}"

    @property
    def text(self) -> str:
        """All that was written, without escape sequences."""
        return _ESCAPE.sub("", self.raw.decode(errors="replace"))

    def end(self, timeout: float = 30.0) -> int:
        """Read to the end; return the exit code."""
        deadline = time.monotonic() + patient(timeout)
        while self._read():
            assert time.monotonic() < deadline, "it does not end"
        return self.process.wait(patient(timeout))

    # -- inside ------------------------------------------------------------------------------------------

    def _set_size(self) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", self.height, self.width, 0, 0))

    def _read(self) -> bool:
        """Take what comes within a second; return whether the terminal is still open."""
        if select.select([self._master], [], [], 1.0)[0]:
            try:
                new = os.read(self._master, 65536)
            except OSError:  # EIO: nobody holds the other end
                return False
            self.raw += new
            text = self._begun + self._decoder.decode(new)
            whole = _BEGUN.sub("", text)  # the rest of a sequence comes with the next piece
            self._begun = text[len(whole) :]
            self._draw(whole)
        return True

    def _draw(self, text: str) -> None:
        at = 0
        while at < len(text):
            if found := _ESCAPE.match(text, at):
                self._control(found[1], found[2])
                at = found.end()
            elif found := _OTHER.match(text, at):
                at = found.end()
            else:
                self._put(text[at])
                at += 1

    def _control(self, value: str, what: str) -> None:
        if what == "H":
            row, _, column = value.partition(";")
            self._row, self._column = int(row or 1) - 1, int(column or 1) - 1
        elif what == "A":
            self._row -= int(value or 1)
        elif what == "K":
            self._cells[self._row] = ""
        elif what == "J" or (what in "hl" and value == "?1049"):
            self._cells.clear()

    def _put(self, letter: str) -> None:
        if letter == "\r":
            self._column = 0
            return
        if letter == "\n":
            self._row, self._column = self._row + 1, self._column
        else:
            if self._column == self.width:
                self._row, self._column = self._row + 1, 0
            line = self._cells.get(self._row, "").ljust(self._column)
            self._cells[self._row] = line[: self._column] + letter + line[self._column + 1 :]
            self._column += 1
        if self._row >= self.height:  # it scrolls
            self._cells = {row - 1: line for row, line in self._cells.items() if row}
            self._row = self.height - 1

    def _close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(patient(30.0))
        os.close(self._master)
