"""The conversation on one port: lines with echo, prompts, and the data of a call.

::

    command --ATD--> data --+++ between pauses--> command, the call held --ATO--> data
       |                |
       +--"> " prompt   +-- the far end leaves --> NO CARRIER, command
                        +-- the host closes the port --> command, the call ends

Input that arrives during a command is queued.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Protocol

CTRL_Z: Final = 0x1A
ESCAPE: Final = 0x1B
_CR: Final = 0x0D
_LONGEST_LINE: Final = 8192
GUARD: Final = 1.0
"""Seconds of silence around ``+++``, unless register S12 says otherwise, in fiftieths of a second."""

_NUMBERS: Final = {"OK": 0, "CONNECT": 1, "NO CARRIER": 3, "ERROR": 4}

_MOST_CODES: Final = 1000
"""Most unsolicited codes queued until the end of a call or prompt, as in mode 2 of ``+CNMI``."""


class Far(Protocol):
    """The far end of a data call."""

    def start(self, output: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        """Begin; ``ended`` is called when the far end ends by itself."""

    def feed(self, data: bytes) -> None:
        """Take data from the host."""

    def hang_up(self) -> None:
        """End the call; ``ended`` is not called."""


class Session:
    """One port's conversation; ``write`` sends to the host, ``execute`` answers a line."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        write: Callable[[bytes], None],
        execute: Callable[["Session", str], Awaitable[None]],
    ) -> None:
        self.echo = True
        self.words = True
        """Whether results are words instead of numbers (``ATV1``)."""
        self.guard = GUARD
        self.mute: Callable[[], bool] = lambda: False
        """Function that returns whether the port is silent."""
        self._loop = loop
        self._write = write
        self._execute = execute
        self._inbox = bytearray()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._prompting = False
        self._codes: list[bytes] = []
        self._far: Far | None = None
        self._online = False
        self._quiet_since = 0.0
        self._plusses = b""
        self._escaping: asyncio.TimerHandle | None = None

    # -- life --------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Begin, because the host has opened the port."""
        self._inbox.clear()
        self._prompting = False
        self._task = self._loop.create_task(self._run())

    def closed(self) -> None:
        """End, because the host has closed the port or it is gone; a call ends too, as when DTR drops."""
        self.hang_up()
        self._codes.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def reset(self) -> None:
        """Reset the settings, as a restart does."""
        self.echo = self.words = True
        self.guard = GUARD

    async def _run(self) -> None:
        while True:
            line = await self._line()
            if line.strip():
                await self._execute(self, line)

    # -- input -------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes from the host."""
        if self._online and self._far is not None:
            self._watch_for_escape(data)
            if not self.mute():
                self._far.feed(data)
            return
        self._inbox += data
        self._arrived.set()

    async def _line(self) -> str:
        """Return the input before the next carriage return; line feeds are ignored."""
        line = bytearray()
        while True:
            end = self._inbox.find(_CR)
            part = await self._consume(len(self._inbox) if end < 0 else end + 1)
            line += part.replace(b"\n", b"").replace(b"\r", b"")
            if end >= 0:
                return line[:_LONGEST_LINE].decode("latin-1")
            del line[_LONGEST_LINE:]

    async def _consume(self, count: int) -> bytes:
        """Take and echo up to ``count`` bytes; wait for the first."""
        if not count:
            self._arrived.clear()
            await self._arrived.wait()
            return b""
        part = bytes(self._inbox[:count])
        del self._inbox[:count]
        if self.echo:
            self.write(part)
        return part

    async def prompt_text(self, mark: bytes = b"\r\n> ") -> bytes | None:
        """Prompt, and return the input before Ctrl-Z; None if Escape ends it [3GPP TS 27.005, 3.5.1]."""
        with self._prompt(mark):
            text = bytearray()
            while True:
                ends = [at for at in map(self._inbox.find, (CTRL_Z, ESCAPE)) if at >= 0]
                end = min(ends, default=-1)
                text += await self._consume(len(self._inbox) if end < 0 else end + 1)
                if end >= 0:
                    return None if text[-1] == ESCAPE else bytes(text[:-1])
                del text[_LONGEST_LINE:]

    async def prompt_bytes(self, mark: bytes, count: int) -> bytes:
        """Prompt, and return exactly ``count`` bytes, without echo."""
        echo, self.echo = self.echo, False
        try:
            with self._prompt(mark):
                data = bytearray()
                while len(data) < count:
                    data += await self._consume(min(count - len(data), len(self._inbox)))
                return bytes(data)
        finally:
            self.echo = echo

    @contextlib.contextmanager
    def _prompt(self, mark: bytes) -> Iterator[None]:
        self._prompting = True
        self.write(mark)
        try:
            yield
        finally:
            self._prompting = False

    # -- output ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes unchanged."""
        if not self.mute():
            self._write(data)

    def line(self, text: str | bytes) -> None:
        """Send a line in its frame [ITU-T V.250, section 5.7.1]."""
        body = text if isinstance(text, bytes) else text.encode("latin-1", "replace")
        self.write(b"\r\n" + body + b"\r\n")

    def final(self, text: str) -> None:
        """Send a final result, in words or as its number [ITU-T V.250, sections 5.7.1 and 6.2.6]."""
        if self.words or text not in _NUMBERS:
            self.line(text)
        else:
            self.write(f"{_NUMBERS[text]}\r".encode())

    def code(self, text: str | bytes) -> None:
        """Send an unsolicited code, at once or after the present call or prompt."""
        if self._online or self._prompting:
            body = text if isinstance(text, bytes) else text.encode("latin-1", "replace")
            self._codes = [*self._codes, body][-_MOST_CODES:]
        else:
            self.line(text)

    def flush_codes(self) -> None:
        """Send the queued codes."""
        codes, self._codes = self._codes, []
        for code in codes:
            self.code(code)

    # -- the call ----------------------------------------------------------------------------------------

    @property
    def in_call(self) -> bool:
        """Whether there is a call, held or not."""
        return self._far is not None

    def connect(self, far: Far) -> None:
        """Carry data between the host and ``far`` from now on."""
        self._far = far
        self.resume()
        far.start(self._from_far, self._far_left)
        rest, self._inbox = bytes(self._inbox), bytearray()
        if rest:
            self.feed(rest)

    def resume(self) -> None:
        """Return to the data of the held call."""
        self._online = True
        self._quiet_since = self._loop.time()
        self._plusses = b""

    def hang_up(self) -> None:
        """End the call, if there is one."""
        far, self._far = self._far, None
        self._online = False
        self._stop_guard()
        if far is not None:
            far.hang_up()

    def drop_call(self) -> None:
        """Lose the carrier, if there is a call."""
        if self._far is not None:
            self._far_left()

    def _from_far(self, data: bytes) -> None:
        if self._online:
            self.write(data)

    def _far_left(self) -> None:
        if self._far is not None:
            self.hang_up()
            self.line("NO CARRIER")
            self.flush_codes()

    def _watch_for_escape(self, data: bytes) -> None:
        """Return to commands when ``+++`` comes alone between two pauses."""
        now = self._loop.time()
        begun = bool(self._plusses) or now - self._quiet_since >= self.guard
        self._plusses = self._plusses + data if begun and b"+++".startswith(self._plusses + data) else b""
        self._quiet_since = now
        self._stop_guard()
        if self._plusses == b"+++":
            self._escaping = self._loop.call_later(self.guard, self._escape)

    def _escape(self) -> None:
        self._plusses = b""
        self._online = False
        self.line("OK")
        self.flush_codes()

    def _stop_guard(self) -> None:
        if self._escaping is not None:
            self._escaping.cancel()
            self._escaping = None
