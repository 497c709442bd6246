"""Commands from afar and the parts that carry them out: those of MQTT, so that the two cannot differ."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from bridge.adapters.system import box_restart
from bridge.adapters.system.threads import in_thread
from bridge.assemblies.no_link import NoLink
from bridge.daemon.logs import KEPT_LINES, Recent
from bridge.daemon.remote_settings import Outcome, RemoteSettings
from bridge.errors import OperationError
from bridge.flow.message.controls import Controls
from bridge.flow.remote.commands import Done, Order
from bridge.flow.remote.gate import Policy
from bridge.protocol.api.status import UNMANAGED
from bridge.settings import Settings
from bridge.store.writer import CommitWorker

if TYPE_CHECKING:
    from bridge.assemblies.link import ManagedLink

LOG_SIZE = 2000
"""Characters of the log in one answer at most."""

_NUMBER = re.compile("[0-9]{1,9}")


def policy(settings: Settings) -> Policy:
    """Return the policy of the gate."""
    remote = settings.remote
    return Policy(remote.key, frozenset(remote.senders), frozenset(remote.allow))


def beside(loop: asyncio.AbstractEventLoop) -> CommitWorker:
    """Return a worker that has a thread for each call, because commands are rare."""

    def run(call: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        in_thread(loop, call).add_done_callback(lambda future: done(future.exception()))

    return run


class Orders:
    """Carries each command out by the part that owns what it changes."""

    def __init__(
        self,
        controls: Controls,
        link: "ManagedLink | NoLink",
        settings: RemoteSettings,
        recent: Recent,
        *,
        status: Callable[[], str],
        restart: Callable[[], None],
        check: Callable[[], object],
    ) -> None:
        """``status`` returns a line about the box.

        ``restart`` has the bridge execute itself anew, ``check`` raises `ConfigError` where that could not
        start.
        """
        self._controls = controls
        self._link = link
        self._settings = settings
        self._recent = recent
        self._status = status
        self._restart = restart
        self._check = check

    def table(self) -> dict[str, Order]:
        """Return every command."""
        settings = self._settings
        return {
            "status": Order(_alone(self._tell)),
            "reconnect": self._about_link("reconnect"),
            "reset": self._about_link("reset"),
            **{name: self._about_queue(name) for name in ("flush", "pause", "resume")},
            "restart": Order(_alone(self._start_anew)),
            "restart_box": Order(_alone(self._restart_box), _box_restarts, "the box has restarted"),
            "log": Order(self._log),
            "get": self._about_settings(settings.get),
            "set": Order(self._set),
            "unset": Order(self._unset),
            "confirm": Order(_alone(self._confirm)),
        }

    async def _tell(self) -> Done:
        return Done(self._status())

    def _about_link(self, name: str) -> Order:
        async def carry_out() -> Done:
            return Done(await self._link.command(name, None))

        def early(argument: str) -> str:
            _no_argument(argument)
            if self._link.status()["state"] == UNMANAGED:
                raise OperationError("no network interface is managed here")
            return "it begins"

        return Order(_alone(carry_out), early)

    def _about_queue(self, name: str) -> Order:
        async def carry_out() -> Done:
            return Done(self._controls.switch(name))

        return Order(_alone(carry_out))

    async def _start_anew(self) -> Done:
        self._check()
        return Done("the bridge restarts", self._restart, "the bridge has restarted")

    async def _restart_box(self) -> Done:
        if why := box_restart.available():
            raise OperationError(why)
        await box_restart.restart_box(asyncio.get_running_loop())
        return Done("the box restarts")

    async def _log(self, argument: str) -> Done:
        if not (_NUMBER.fullmatch(argument) and 1 <= int(argument) <= KEPT_LINES):
            raise OperationError(f"give a number of lines, 1 to {KEPT_LINES}, as in: log 5")
        return Done(_fitting(self._recent.last(int(argument))))

    # -- settings ----------------------------------------------------------------------------------------

    def _about_settings(self, act: Callable[[str], Outcome]) -> Order:
        async def carry_out(argument: str) -> Done:
            return self._done(act(argument), argument)

        return Order(carry_out)

    async def _set(self, argument: str) -> Done:
        key, equals, value = argument.partition("=")
        if not equals:
            raise OperationError("give a setting and its value, as in: set network.apn=hologram")
        return self._done(self._settings.set(key, value), key)

    async def _unset(self, argument: str) -> Done:
        return self._done(self._settings.unset(argument), argument)

    async def _confirm(self) -> Done:
        return self._done(self._settings.confirm(), "")

    def _done(self, outcome: Outcome, key: str) -> Done:
        if not outcome.done:
            raise OperationError(outcome.text)
        if not outcome.restart:
            return Done(outcome.text)
        after = f"{key} is changed, and the bridge has restarted; undone unless confirmed"
        return Done(outcome.text, self._restart, after)


def _alone(carry_out: Callable[[], Awaitable[Done]]) -> Callable[[str], Awaitable[Done]]:
    """Return how a command without an argument is carried out."""

    async def checked(argument: str) -> Done:
        _no_argument(argument)
        return await carry_out()

    return checked


def _no_argument(argument: str) -> None:
    if argument:
        raise OperationError("it takes nothing after it")


def _box_restarts(argument: str) -> str:
    _no_argument(argument)
    if why := box_restart.available():
        raise OperationError(why)
    return "it begins"


def _fitting(lines: list[str]) -> str:
    """Return the newest of ``lines`` that fit into an answer, as one line."""
    while len(text := " | ".join(lines)) > LOG_SIZE and len(lines) > 1:
        lines = lines[1:]
    return text[:LOG_SIZE] or "nothing is logged yet"
