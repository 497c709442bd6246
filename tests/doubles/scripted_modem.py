"""A scripted modem on a real pty: a table of what to say to what, with faults to order."""

import asyncio
import os
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Self

Reply = bytes | Callable[[str], bytes | None] | None


class ScriptedModem:
    """Answers in the loop of the test. What is not in ``replies`` gets OK; None is no answer."""

    def __init__(self, replies: dict[str, Reply] | None = None, *, echo: bool = False) -> None:
        self.replies: dict[str, Reply] = {"AT+CMEE?": b"\r\n+CMEE: 2\r\n\r\nOK\r\n", **(replies or {})}
        self.echo = echo
        self.heard: list[str] = []
        """The commands, and the texts after prompts."""
        self.hung = False
        self.text_end: bytes | None = None
        """While it waits for a text: what ends it."""
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        os.set_blocking(self._master, False)
        self._loop.add_reader(self._master, self._readable)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.vanish()

    def say(self, data: bytes) -> None:
        """Send ``data`` as it is."""
        os.write(self._master, data)

    def vanish(self) -> None:
        """Pull the plug."""
        if self._master >= 0:
            self._loop.remove_reader(self._master)
            os.close(self._slave)
            os.close(self._master)
            self._master = -1

    def stop_reading(self) -> None:
        """Take nothing any more, as a modem whose flow control says stop."""
        self._loop.remove_reader(self._master)

    def read_again(self) -> None:
        self._loop.add_reader(self._master, self._readable)

    def _readable(self) -> None:
        data = os.read(self._master, 65536)
        if self.echo:
            self.say(data)
        self._buffer += data
        while self._next():
            pass

    def _next(self) -> bool:
        end = self.text_end or b"\r"
        line, found, rest = bytes(self._buffer).partition(end)
        if not found:
            return False
        self._buffer = bytearray(rest)
        text = line.decode("latin-1").replace("\x1b", "")
        if text:
            self.heard.append(text)
            self._answer(text)
        return True

    def _answer(self, text: str) -> None:
        if self.hung:
            return
        if self.text_end is not None:
            self.text_end = None
            reply: Reply = self.replies.get("text", b"\r\nOK\r\n")
        else:
            reply = self.replies.get(text, self.replies.get("*", b"\r\nOK\r\n"))
        said = reply(text) if callable(reply) else reply
        if said is not None:
            self.say(said)
