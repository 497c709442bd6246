"""The daemon: it starts its parts, stops them in reverse, and reloads its configuration.

::

    Session (data) ────> Intake ───> Writer/Outbox ───> Uplink ──> transports ──> the cloud, Direct IP
    Session (control) ─> Controls ──────┤  ▲
    Session (data) <──── Publisher <────┘  └── Downlink <── Listener <─── the cloud's inbound messages

One event loop in one thread owns all of them. A blocking call (DNS, a connection to the broker) gets a thread
of its own. The part that was entered last is left first. A failure in any part stops the process, in that
order, with exit code 1.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sqlite3
from collections.abc import Coroutine
from typing import Any

from bridge import __version__
from bridge.adapters.system.control_socket import ControlServer, socket_path
from bridge.adapters.system.loop_time import LoopTime
from bridge.adapters.system.metrics import MetricsServer
from bridge.adapters.system.systemd import Notifier
from bridge.adapters.system.threads import Worker
from bridge.assemblies.message_flow import GRACE, until
from bridge.assemblies.workers import Workers
from bridge.daemon import configure
from bridge.daemon.active import ActiveConfiguration
from bridge.daemon.assembly import Assembly
from bridge.daemon.begin import Reread, begin
from bridge.daemon.control_api import Answers
from bridge.daemon.links import clear_left_link
from bridge.daemon.restart import execute_anew, ignore_reloads
from bridge.errors import BridgeError, ConfigError, StoreError
from bridge.protocol.api import metrics
from bridge.settings import Loaded
from bridge.store.database import translate
from bridge.store.files import note_failure
from bridge.store.journal import Journal

log = logging.getLogger("bridge")

BROKER_WAIT = 2.0
"""Seconds for the broker to acknowledge the last reports."""


class Bridge:
    """The daemon."""

    journal: Journal
    parts: Assembly

    def __init__(self, loaded: Loaded, reread: Reread, notifier: Notifier) -> None:
        """``reread`` reads the configuration again for a reload, a change from afar or a restart."""
        self.again = False
        """Whether a restart was asked for."""
        self.kept: Loaded | None = None
        """What a restart begins with, where the file does not allow one; None: the file."""
        self._loaded = loaded
        self._reread, self._notifier = reread, notifier
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._loop = asyncio.get_running_loop()

    async def run(self) -> int:
        """Run until stopped; return the exit code. Raises `BridgeError` if it cannot start."""
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._start(stack)
                await self._stop.wait()
                if self.again:
                    self.parts.service.restarting()
                else:
                    self.parts.service.stopping()
                if self._failure:
                    self._say_farewell()
                    raise self._failure
                log.info("restarting" if self.again else "stopping")
        except Exception as exc:
            if not self._stop.is_set():
                note_failure(self._loaded.settings.store.path, exc)
                raise
            if exc is not self._failure:  # leaving a part may raise the first failure again
                self._fail(exc)
        return 1 if self._failure else 0

    # -- the start ---------------------------------------------------------------------------------------

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        """Open, build and enter everything; the stack leaves it in reverse."""
        told = self._open(stack)
        self.parts = parts = Assembly(
            self.journal,
            ActiveConfiguration(self._loaded),
            self._reread,
            self._notifier,
            restart=self.restart,
            undo=self._undo,
        )
        if told:
            parts.monitor.problem("config", told)
        self._take_signals()
        await stack.enter_async_context(parts.broker)
        await stack.enter_async_context(parts.link)
        await self._start_work(
            stack, clear_left_link(self._loop, parts.active.settings, self.journal), ends=True
        )
        stack.push_async_exit(self._drain_reports)
        parts.publish_network()
        parts.publish_info()
        parts.home_assistant.start()
        parts.budget.start()
        await stack.enter_async_context(parts.flow)
        stack.callback(parts.filtering.stop)
        parts.escalator.start()
        parts.controls.start()
        stack.callback(parts.controls.stop)
        parts.monitor.start()
        parts.usage.start()
        parts.follow()
        stack.callback(parts.heartbeat.stop)
        parts.remote_settings.start()
        await self._start_work(stack, parts.remote.run())
        await self._start_servers(stack)
        gc.freeze()  # what is here stays, and looking through it for cycles would hold the loop for 30 ms
        log.info("%s started; %d messages are queued", __version__, self.journal.outbox.ledger.messages)
        parts.service.ready()

    def _open(self, stack: contextlib.AsyncExitStack) -> str | None:
        """Open the journal, and count this start; return what a person should know of the configuration."""
        settings, loop = self._loaded.settings, self._loop
        self.journal = journal = Journal.open(
            settings.store.path, configure.limits(settings), LoopTime(loop), worker=Worker(loop, "commit").run
        )
        stack.callback(lambda: journal.close(reserve=not self._failure))
        self._loaded, told = begin(self._loaded, self._reread)
        return told

    def _take_signals(self) -> None:
        self._loop.set_exception_handler(self._failed)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._end)
        self._loop.add_signal_handler(signal.SIGHUP, self.parts.service.reload, self.reload)

    async def _start_work(
        self, stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None], *, ends: bool = False
    ) -> None:
        workers = await stack.enter_async_context(Workers())
        workers.start(work, ends=ends)

    async def _start_servers(self, stack: contextlib.AsyncExitStack) -> None:
        settings, parts = self._loaded.settings, self.parts
        answers = Answers(
            self._loop,
            parts.monitor.health,
            self.journal,
            parts.controls,
            parts.publisher,
            parts.link,
            parts.service.stuck,
            parts.status_line,
            parts.remote_settings,
        )
        control = ControlServer(socket_path(settings.control.path, settings.store.path), answers)
        await control.start()
        stack.callback(control.close)
        if settings.metrics.port is not None:
            server = MetricsServer(
                settings.metrics.port,
                lambda: metrics.render(parts.monitor.health.figures()),
                metrics.CONTENT_TYPE,
            )
            await server.start()
            stack.callback(server.close)

    # -- the end -----------------------------------------------------------------------------------------

    async def _drain_reports(self, kind: object, *_: object) -> None:
        """Publish the last reports, while the link, which a remote broker needs, is still up."""
        if kind is None:
            parts = self.parts
            parts.budget.close()
            parts.gate.spend()
            parts.publisher.wake()
            await until(lambda: parts.publisher.idle, BROKER_WAIT)
            await until(lambda: self.journal.writer.idle, GRACE)

    def _say_farewell(self) -> None:
        """Publish "offline" before all else ends; a disk that failed is not used any more."""
        disk = isinstance(self._failure, StoreError)
        if disk:
            self.journal.writer.close()
        self.parts.monitor.failed("store" if disk else "bridge", str(self._failure))
        self.parts.broker.leave()

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Stop the process, because a callback or task raised."""
        error = context.get("exception")
        self._fail(error or RuntimeError(context.get("message")))

    def _end(self) -> None:
        """Stop, and not to start again, whatever was asked for before."""
        self.again = False
        self._stop.set()

    def restart(self) -> None:
        """Stop, and have `run` execute the bridge anew; raises `ConfigError` if it could not start."""
        self._reread()
        self._begin_anew()

    def _undo(self, kept: Loaded) -> None:
        """Begin anew after a change from afar was undone: with ``kept``, if the file does not allow a start.

        A person may be editing the file or have left it invalid, and the change may have cut the box off.
        """
        try:
            self._reread()
        except ConfigError as exc:
            log.error("begins anew without the file, which is not valid: %s", str(exc).split("\n")[0])
            self.kept = kept
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.parts.remote_settings.restarting()
        self.again = True
        self._stop.set()

    def _fail(self, error: BaseException) -> None:
        self._stop.set()  # first, so that the process ends even if a line below fails
        error = self.journal.failure(error)
        if self._failure is None:
            self._failure = error
            # A failure of the disk is no bug: it needs one line and no traceback.
            trace = None if isinstance(error, StoreError) else error
            log.critical("stopping because of a failure: %s", error or type(error).__name__, exc_info=trace)

    # -- reload ------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the configuration again; an invalid one changes nothing, and its problems are logged."""
        parts = self.parts
        try:
            loaded = self._reread()
            changes = parts.take(loaded)
        except BridgeError as exc:
            for line in str(exc).split("\n"):
                log.error("the configuration is not reloaded: %s", line)
            parts.monitor.problem("config", f"not reloaded: {exc}")
            return
        parts.remote_settings.adopt(loaded)
        for warning in loaded.warnings:
            log.warning("%s", warning)
        log.info("configuration reloaded; changed: %s", ", ".join(changes.applied) or "nothing")
        if changes.waiting:
            log.warning("these wait for a restart: %s", ", ".join(changes.waiting))
        parts.flow.uplink.try_again()


def run(loaded: Loaded, reread: Reread) -> int:
    """Run the daemon until SIGTERM or SIGINT; return the exit code.

    A restart begins anew in this process: with the program and the file of then, or without the file, if that
    is not valid, by the program that has read it before.
    """
    environ = os.environ.copy()
    notifier = Notifier.from_environment()
    code, bridge = _run_once(loaded, reread, notifier)
    while bridge.again and bridge.kept:
        ignore_reloads()
        gc.unfreeze()  # what the last run has left can go
        code, bridge = _run_once(bridge.kept, reread, notifier)
    return execute_anew(environ) if bridge.again else code


def _run_once(loaded: Loaded, reread: Reread, notifier: Notifier) -> tuple[int, Bridge]:
    async def main() -> tuple[int, Bridge]:
        bridge = Bridge(loaded, reread, notifier)
        return await bridge.run(), bridge

    try:
        return asyncio.run(main())
    except sqlite3.Error as exc:
        raise translate(exc, loaded.settings.store.path) from exc
