"""The table of commands: it calls the handler of each command of a line and writes its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from bridge.sim.modem.port.line import Command, parse
from bridge.sim.modem.port.results import Refused, Reply, cme
from bridge.sim.modem.port.session import Session


class Call(NamedTuple):
    """A command and its port."""

    command: Command
    port: Session


Handler = Callable[[Call], Reply | Awaitable[Reply]]
"""Answers one command; raises `Refused`, or ValueError where a number in it is wrong."""


class Interpreter:
    """The table of commands, and the form of errors (``AT+CMEE``).

    ``pause`` returns the delay before an answer, in seconds.
    """

    def __init__(self, pause: Callable[[], float]) -> None:
        self.cmee = 0
        self.commands = 0
        self._pause = pause
        self._handlers: dict[str, Handler] = {}

    def add(self, handlers: Mapping[str, Handler]) -> None:
        """Add handlers; a new handler replaces an earlier one of the same name."""
        self._handlers.update(handlers)

    def names(self) -> set[str]:
        """Return the names of all known commands."""
        return set(self._handlers)

    async def execute(self, port: Session, line: str) -> None:
        """Carry out a line, up to the first command that fails."""
        try:
            commands = parse(line)
        except ValueError:
            port.line("ERROR")
            return
        if commands is None:
            return
        await asyncio.sleep(self._pause())
        reply = Reply()
        for command in commands:
            self.commands += 1
            reply = await self._answer(Call(command, port))
            for each in reply.lines:
                port.line(each)
            if reply.final != "OK":
                break
        if reply.final:
            port.final(reply.final)
        if reply.then is not None:
            reply.then()
        port.flush_codes()

    async def _answer(self, call: Call) -> Reply:
        name = call.command.name
        handler = self._handlers.get(name) or self._handlers.get(name[:1] + "*")
        try:
            if handler is None:
                raise Refused
            answer = handler(call)
            return answer if isinstance(answer, Reply) else await answer
        except Refused as refused:
            return Reply(final=refused.final(self.cmee))
        except ValueError:
            return Reply(final=cme(50).final(self.cmee))
