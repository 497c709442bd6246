"""The running daemon's answers on its control socket."""

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bridge.assemblies.no_link import NoLink
from bridge.daemon.remote_settings import RemoteSettings
from bridge.flow.health.figures import Health
from bridge.flow.message import set_aside
from bridge.flow.message.controls import Controls
from bridge.flow.message.publisher import Publisher
from bridge.protocol.api.commands import Quote, parse
from bridge.protocol.api.reports import result_json
from bridge.protocol.api.status import UNMANAGED
from bridge.store.journal import Journal

if TYPE_CHECKING:
    from bridge.assemblies.link import ManagedLink


class Answers:
    """Answers requests, one call each; lives in the event loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        health: Health,
        journal: Journal,
        controls: Controls,
        publisher: Publisher,
        link: "ManagedLink | NoLink",
        stuck: Callable[[], tuple[str, ...]],
        line: Callable[[], str],
        remote_settings: RemoteSettings,
    ) -> None:
        """``stuck`` returns the names of the stuck works, ``line`` the status in one line."""
        self._loop = loop
        self._health = health
        self._outbox, self._writer = journal.outbox, journal.writer
        self._controls = controls
        self._publisher = publisher
        self._link = link
        self._stuck, self._line = stuck, line
        self._remote_settings = remote_settings
        self._answers = {
            "stats": self._stats,
            "list": self._list,
            "retry": self._retry,
            "purge": self._purge,
            "set-aside": self._set_aside,
            "network": self._network,
            "modem": self._modem,
            "quote": self._quote,
            "healthcheck": self._healthcheck,
            "remote-clear": self._remote_clear,
        }

    async def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request; raises `BridgeError` where that fails."""
        command = request["command"]
        answer = self._answers.get(command)
        if answer is None:
            return {"error": f"unknown command {command!r}"}
        return await answer(request)

    async def _stats(self, _request: dict[str, Any]) -> dict[str, Any]:
        return self._health.figures()

    async def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        await self._durable()
        return {"messages": self._outbox.listing(0, int(request.get("limit", 100)))}

    async def _durable(self) -> None:
        """Wait for the end of a commit, because a read during it would block the loop."""
        while self._writer.committing:
            committed = asyncio.Event()
            self._writer.busy(committed.set)
            await committed.wait()

    async def _set_aside(self, request: dict[str, Any]) -> dict[str, Any]:
        action, number = request.get("action", "list"), request.get("number")
        number = None if number is None else int(number)
        if action in ("drop", "retry"):
            return await self._change_aside(action, number)
        await self._durable()
        if number is None:
            return set_aside.listing(self._outbox, int(request.get("limit", 100)))
        return set_aside.shown(self._outbox, number)

    async def _change_aside(self, action: str, number: int | None) -> dict[str, Any]:
        done: asyncio.Future[int] = self._loop.create_future()
        self._writer.write(
            set_aside.change(self._outbox, action, number),
            lambda times: None if done.done() else done.set_result(times),
            frees=action == "drop",
        )
        times = await done
        self._publisher.wake()
        return set_aside.changed(action, number, times)

    async def _retry(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {"description": self._controls.flush()}

    async def _purge(self, _request: dict[str, Any]) -> dict[str, Any]:
        purged: asyncio.Future[int] = self._loop.create_future()
        # The client may have disconnected before the purge ends.
        self._controls.purge(lambda number: None if purged.done() else purged.set_result(number))
        return {"purged": await purged}

    async def _quote(self, request: dict[str, Any]) -> dict[str, Any]:
        command = parse("quote", json.dumps(request["message"]).encode())
        assert isinstance(command, Quote)
        answer: dict[str, Any] = json.loads(result_json(self._controls.quote(command)))
        return answer

    async def _remote_clear(self, _request: dict[str, Any]) -> dict[str, Any]:
        outcome = self._remote_settings.clear()
        return {"description" if outcome.done else "error": outcome.text}

    async def _network(self, _request: dict[str, Any]) -> dict[str, Any]:
        status = self._link.status()
        return {"status": None if status["state"] == UNMANAGED else status}

    async def _healthcheck(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {"stuck": self._stuck(), "status": self._line()}

    async def _modem(self, request: dict[str, Any]) -> dict[str, Any]:
        return await self._link.query(request)
