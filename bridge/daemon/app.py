"""The bridge's life: it starts its parts, stops them in reverse, and reads its configuration again.

One event loop in one thread owns all of them (`bridge.daemon.parts` shows how they hang together); a
blocking call (a name to resolve, a broker to connect to) gets a thread of its own. A failure in any part
stops the process, in reverse order, with exit code 1.
"""

import asyncio
import contextlib
import logging
import signal
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from bridge import __version__
from bridge.adapters.system.systemd import Notifier
from bridge.daemon import logs
from bridge.daemon.configure import info
from bridge.daemon.parts import Parts
from bridge.daemon.service import Service
from bridge.errors import BridgeError, StoreError
from bridge.protocol.api.reports import dumps
from bridge.protocol.api.status import unmanaged
from bridge.settings import Loaded, Settings
from bridge.store.database import translate
from bridge.store.files import note_failure

log = logging.getLogger("bridge")

STOP_WAIT = 8.0
"""Seconds for what is in flight to end when the bridge is stopped."""

LINK_WAIT = 15.0
"""Seconds for the link to be hung up when the bridge is stopped."""

BROKER_WAIT = 2.0
"""Seconds for the broker to acknowledge the last reports."""


class Bridge:
    """The daemon."""

    def __init__(
        self, settings: Settings, loop: asyncio.AbstractEventLoop, reread: Callable[[], Loaded] | None = None
    ) -> None:
        """Build the parts; raises `StoreError` or `ConfigError`.

        ``reread`` reads the configuration again for a reload.
        """
        self._loop = loop
        self._reread = reread
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        try:
            self._parts = Parts(settings, loop)
        except Exception as exc:
            note_failure(settings.store.path, exc)
            raise
        self._service = self._build_service()

    def _build_service(self) -> Service:
        parts = self._parts
        managed = parts.managed.watched if parts.managed else ()
        watched = (parts.session, parts.control_session, parts.intake, parts.writer, parts.uplink, *managed)
        stuck = partial(parts.monitor.problem, "watchdog")
        return Service(self._loop, Notifier.from_environment(), parts.status_line, watched, stuck)

    # -- life --------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Run until stopped; return the exit code."""
        parts = self._parts
        self._loop.set_exception_handler(self._failed)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._service.reload, self.reload)
        await parts.control.start()
        if parts.metrics:
            await parts.metrics.start()
        self._publish_network()
        self._publish_info()
        parts.home_assistant.start()
        parts.uplink.start()
        parts.controls.start()
        if parts.listener:
            parts.listener.start()
        parts.monitor.start()
        sessions = (parts.session, parts.control_session)
        tasks = [self._loop.create_task(parts.run_session(session)) for session in sessions]
        keeping = [self._loop.create_task(each) for each in (parts.managed.tasks() if parts.managed else ())]
        for task in (*tasks, *keeping):
            task.add_done_callback(self._task_ended)
        keeping.append(self._loop.create_task(parts.clear_link()))
        keeping.append(self._loop.create_task(parts.end_earlier()))
        parts.watch_client_id()
        log.info("%s started; %d messages are queued", __version__, parts.outbox.ledger.messages)
        self._service.ready()
        await self._stop.wait()
        self._service.stopping()
        if self._failure:
            self._say_farewell()
        try:
            await self._shut_down(tasks, keeping)
        except (OSError, sqlite3.Error, BridgeError) as exc:  # what failed may be what an ending needs
            self._fail(exc)
        return 1 if self._failure else 0

    def _say_farewell(self) -> None:
        """Tell the broker of the failure before all else ends; a disk that failed is touched no more."""
        parts = self._parts
        disk = isinstance(self._failure, StoreError)
        if disk:
            parts.writer.close()
        parts.monitor.failed("store" if disk else "bridge", str(self._failure))
        self._leave_broker()

    def _leave_broker(self) -> None:
        parts = self._parts
        if parts.session.connected:  # our DISCONNECT takes the will back
            parts.publisher.farewell(parts.names.state, b"offline")
        for session in (parts.session, parts.control_session):
            session.disconnect()

    async def _shut_down(self, tasks: list[asyncio.Task[None]], keeping: list[asyncio.Task[None]]) -> None:
        """In reverse: nothing new, let what is in flight end, say goodbye, close."""
        parts = self._parts
        log.info("stopping")
        parts.control.close()
        if parts.metrics:
            parts.metrics.close()
        parts.uplink.stop()
        if parts.listener:
            parts.listener.stop()
        parts.controls.stop()
        if not self._failure:
            await self._settle()
        await self._drop(keeping)
        self._leave_broker()
        for task in tasks:
            task.remove_done_callback(self._task_ended)
        await asyncio.wait(tasks, timeout=0.5)
        for task in tasks:
            task.cancel()  # it may be waiting for a broker that does not answer
        await asyncio.gather(*tasks, return_exceptions=True)
        parts.journal.close(reserve=not self._failure)

    async def _drop(self, keeping: list[asyncio.Task[None]]) -> None:
        """Give the link up, and the modem back."""
        if self._parts.managed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINK_WAIT):
                    await self._parts.managed.stop()
        for task in keeping:
            task.remove_done_callback(self._task_ended)
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)

    async def _settle(self) -> None:
        parts = self._parts
        await self._until(
            lambda: parts.uplink.in_flight == 0 and (parts.listener is None or parts.listener.idle),
            min(STOP_WAIT, parts.settings.cloud.timeout + 1),
        )
        await self._until(lambda: parts.writer.idle, STOP_WAIT)
        if parts.listener:
            parts.listener.close()
        parts.publisher.wake()
        await self._until(lambda: parts.publisher.idle, BROKER_WAIT)
        await self._until(lambda: parts.writer.idle, STOP_WAIT)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while not condition() and self._loop.time() < deadline:
            await asyncio.sleep(0.02)

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback or task raised: nothing goes on half-dead."""
        error = context.get("exception")
        self._fail(error or RuntimeError(context.get("message")))

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._fail(task.exception() or RuntimeError("a session ended by itself"))

    def _fail(self, error: BaseException) -> None:
        self._stop.set()  # first: whatever else fails below, it ends
        error = self._parts.journal.failure(error)
        if self._failure is None:
            self._failure = error
            # What the disk does is no fault of ours: one line says it.
            trace = None if isinstance(error, StoreError) else error
            log.critical("stopping because of a failure: %s", error or type(error).__name__, exc_info=trace)

    def _publish_network(self) -> None:
        """Regularly, as promised, though nothing may have changed."""
        status = self._parts.managed.status() if self._parts.managed else unmanaged()
        self._parts.publisher.state(self._parts.names.network, dumps(status).encode(), again=True)
        self._loop.call_later(self._parts.settings.network.poll, self._publish_network)

    # -- the configuration, again ------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the configuration again; a bad one changes nothing, and says why."""
        if self._reread is None:
            return
        parts = self._parts
        try:
            loaded = self._reread()
            changes = parts.reload(loaded.settings)
        except BridgeError as exc:
            for line in str(exc).split("\n"):
                log.error("the configuration is not reloaded: %s", line)
            parts.monitor.problem("config", f"not reloaded: {exc}")
            return
        logs.set_up(loaded.settings.log.level)
        for warning in loaded.warnings:
            log.warning("%s", warning)
        log.info("configuration reloaded; changed: %s", ", ".join(changes.applied) or "nothing")
        if changes.waiting:
            log.warning("these wait for a restart: %s", ", ".join(changes.waiting))
        parts.uplink.flush()
        self._publish_info()
        parts.monitor.health_changed()

    def _publish_info(self) -> None:
        self._parts.publisher.state(self._parts.names.info, dumps(info(self._parts.settings)).encode())


def run(settings: Settings, reread: Callable[[], Loaded] | None = None) -> int:
    """Run the daemon until it is told to stop; return the exit code."""

    async def main() -> int:
        return await Bridge(settings, asyncio.get_running_loop(), reread).run()

    try:
        return asyncio.run(main())
    except sqlite3.Error as exc:
        raise translate(exc, settings.store.path) from exc
