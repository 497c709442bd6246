"""The commands from afar on a real store, between doors and parts that a test plays."""

import asyncio
from collections.abc import Callable
from typing import Any

from bridge.errors import OperationError
from bridge.flow.remote.answers import SmsAnswers
from bridge.flow.remote.commands import Done, Order, RemoteCommands
from bridge.flow.remote.gate import Policy, RemoteGate
from bridge.protocol.remote import sign
from bridge.store.remote import RemoteStore
from tests.doubles.heart import Heart

KEY = "correct horse battery staple"
PHONE = "+15551234567"
POLICY = Policy(
    KEY, frozenset({PHONE, "Hologram"}), frozenset({"status", "reconnect", "restart", "restart_box", "set"})
)


class Peer:
    """A connection that waits for the answer; `deliver` says that its peer has it."""

    def __init__(self, *, slow: bool = False) -> None:
        self.said: list[str] = []
        self._slow = slow
        self._sent: Callable[[], None] = lambda: None

    def answer(self, line: str, sent: Callable[[], None]) -> None:
        self.said.append(line)
        self._sent = sent
        if not self._slow:
            sent()

    def refuse(self) -> None:
        self.said.append("refused")

    def deliver(self) -> None:
        self._sent()


class Box:
    """Gate and commands; the orders are a few that a test can watch."""

    def __init__(self, heart: Heart, policy: Policy = POLICY) -> None:
        self.heart = heart
        self.store = RemoteStore(heart.journal)
        self.gate = RemoteGate(heart.journal, self.store, policy, heart.notices)
        self.carried: list[tuple[str, str]] = []
        self.ended: list[str] = []
        self.fails: str | None = None
        self.link: asyncio.Future[str] | None = None
        """What a reconnect waits for."""
        orders = {
            "status": Order(self._order("status")),
            "set": Order(self._order("set")),
            "log": Order(self._order("log")),
            "reconnect": Order(self._reconnect, early=lambda _: "begins"),
            "restart": Order(self._restart),
            "restart_box": Order(self._order("restart_box"), early=lambda _: "begins", after="runs again"),
        }
        texts = SmsAnswers(heart.journal, heart.intake)
        self.commands = RemoteCommands(heart.journal, self.store, self.gate, orders, texts, heart.notices)
        self._task = asyncio.ensure_future(self.commands.run())

    def _order(self, name: str) -> Any:
        async def carry_out(argument: str) -> Done:
            self.carried.append((name, argument))
            if self.fails:
                raise OperationError(self.fails)
            return Done(f"{name} is done")

        return carry_out

    async def _reconnect(self, argument: str) -> Done:
        self.carried.append(("reconnect", argument))
        if self.link:
            return Done(await self.link)
        return Done("connected: ppp0 has 10.0.0.1")

    async def _restart(self, argument: str) -> Done:
        self.carried.append(("restart", argument))
        return Done("restarts", lambda: self.ended.append("restart"), "runs again")

    async def settle(self) -> None:
        """Let tasks go on, and what they write be durable."""
        for _ in range(8):
            await asyncio.sleep(0)
            self.heart.turn()

    async def call(self, line: str | bytes, *, slow: bool = False) -> Peer:
        """Bring a line by TCP, and let it be carried out."""
        peer = Peer(slow=slow)
        data = line if isinstance(line, bytes) else line.encode() + b"\n"
        self.gate.called(data, "10.176.0.1:40000", peer)
        await self.settle()
        return peer

    async def text(self, line: str | bytes, sender: str = PHONE) -> None:
        """Bring a line by SMS, and let it be carried out."""
        self.gate.heard(line if isinstance(line, bytes) else line.encode(), sender, lambda: None)
        await self.settle()

    def line(self, command: str, counter: int = 1) -> str:
        return sign(KEY, counter, command)

    def events(self) -> list[dict[str, Any]]:
        """Return what was told of commands."""
        return [fields for kind, fields in self.heart.notices.events if kind == "remote.command"]

    def texts(self) -> list[str]:
        """Return the answers by SMS, whether they wait or are with the modem."""
        return [job.request.decode() for job in self.heart.air.jobs]

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
