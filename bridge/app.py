"""The composition root: builds the parts, starts them, stops them.

::

    Session (data) ────> Intake ───> Writer/Outbox ───> Uplink ───> carriers ───> the cloud, Direct IP
    Session (control) ─> Controls ──────┤  ▲
    Session (data) <──── Publisher <────┘  └── Downlink <── Listener <─── the cloud's inbound messages

One event loop in one thread owns all of it; a blocking call (a name to resolve, a broker to connect to) gets
a thread of its own. A failure in any part stops the process, in reverse order, with exit code 1.
"""

import asyncio
import logging
import signal
import sqlite3
from collections.abc import Callable
from typing import Any

from bridge import __version__, logs
from bridge.adapters.control import ControlServer, socket_path
from bridge.adapters.listener import Listener
from bridge.adapters.metrics import MetricsServer
from bridge.adapters.mqtt import Session
from bridge.adapters.resolver import Resolver
from bridge.adapters.tcp import TcpCarrier
from bridge.adapters.threads import Worker
from bridge.adapters.udp import UdpCarrier
from bridge.compose import access, broker, inbound_limits, info, limits, policy
from bridge.core.delivery import Delivery
from bridge.core.destination import Destination
from bridge.core.exchange import Carrier
from bridge.core.messages import Channel, Endpoint
from bridge.errors import BridgeError, ConfigError, StoreDamaged
from bridge.flow.controls import Controls
from bridge.flow.downlink import Downlink
from bridge.flow.health import Health
from bridge.flow.intake import Intake
from bridge.flow.monitor import Monitor
from bridge.flow.names import Names
from bridge.flow.publisher import Publisher
from bridge.flow.results import Results
from bridge.flow.speakers import CloudSpeaker, DatagramSpeaker, DirectSpeaker, SmsSpeaker, Speaker
from bridge.flow.uplink import Uplink
from bridge.protocol import metrics
from bridge.protocol.network import unmanaged
from bridge.protocol.reports import dumps
from bridge.reload import compare
from bridge.settings import Loaded, Settings
from bridge.store.clock import read_clock
from bridge.store.database import Lock, boot_id, translate
from bridge.store.files import mark_suspect, open_store
from bridge.store.outbox import Outbox
from bridge.store.reserve import Reserve
from bridge.store.writer import Writer

log = logging.getLogger("bridge")

STOP_WAIT = 8.0
"""Seconds for what is under way to end when the bridge is stopped."""

BROKER_WAIT = 2.0
"""Seconds for the broker to acknowledge the last reports."""


class Bridge:
    """The daemon."""

    def __init__(
        self, settings: Settings, loop: asyncio.AbstractEventLoop, reread: Callable[[], Loaded] | None = None
    ) -> None:
        """Open the store and build the parts; raises `StoreError` or `ConfigError`.

        ``reread`` reads the configuration again for a reload.
        """
        if settings.network.interface:
            raise ConfigError(
                f'network.interface: "{settings.network.interface}" is not allowed; this version manages no '
                'interface: set it to "" and let the machine bring up its network'
            )
        self._settings = settings
        self._loop = loop
        self._reread = reread
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._path = settings.store.path
        self._names = Names(settings.mqtt.prefix)
        self._lock = Lock(self._path)
        self._database = open_store(self._path)
        self._outbox = Outbox(self._database, boot_id(), read_clock, limits(settings))
        self._writer = Writer(
            self._database,
            self._outbox,
            Reserve(self._path),
            call_soon=loop.call_soon,
            call_later=loop.call_later,
            on_full=self._store_full,
            aside=Worker(loop, "commit").run,
        )
        self._publisher = Publisher(
            self._outbox,
            self._writer,
            self._names,
            read_clock,
            call_soon=loop.call_soon,
            call_later=loop.call_later,
        )
        self._results = Results(self._outbox, self._publisher, self._names, read_clock)
        self._access = access(settings)
        self._uplink = self._build_uplink()
        self._health = Health(self._outbox, self._writer, self._uplink, read_clock)
        self._monitor = Monitor(
            self._outbox,
            self._writer,
            self._publisher,
            self._health,
            self._names,
            read_clock,
            call_later=loop.call_later,
        )
        self._build_flow()
        self._build_sessions()
        self._control = ControlServer(socket_path(settings.control.path, self._path), self._asked)
        self._metrics = self._build_metrics()

    def _build_uplink(self) -> Uplink:
        resolver = Resolver(self._loop)
        stream, datagram = TcpCarrier(self._loop, resolver), UdpCarrier(self._loop, resolver)
        carriers: dict[Channel, Carrier] = {
            Channel.CLOUD: stream,
            Channel.SMS: stream,
            Channel.TCP: stream,
            Channel.UDP: datagram,
        }
        speakers: dict[Channel, Speaker] = {
            Channel.CLOUD: CloudSpeaker(lambda: self._access, read_clock),
            Channel.SMS: SmsSpeaker(lambda: self._access),
            Channel.TCP: DirectSpeaker(lambda: self._access.timeout),
            Channel.UDP: DatagramSpeaker(lambda: self._access.timeout),
        }
        return Uplink(
            self._outbox,
            self._writer,
            self._results,
            carriers,
            speakers,
            slots=self._settings.cloud.parallel,
            clock=read_clock,
            timer=self._loop,
            on_condition=self._condition_changed,
            on_event=self._publisher.event,
        )

    def _build_flow(self) -> None:
        publisher = self._publisher
        self._intake = Intake(
            self._outbox,
            self._writer,
            self._results,
            self._names,
            policy(self._settings),
            read_clock,
            session_number=lambda: self._monitor.session_number,
            on_event=publisher.event,
            on_queued=self._uplink.wake,
            on_results=publisher.wake,
        )
        self._controls = Controls(
            self._outbox,
            self._writer,
            self._results,
            self._uplink,
            self._names,
            read_clock,
            on_results=publisher.wake,
            on_change=self._monitor.publish_health,
        )
        self._listener = self._build_listener() if self._settings.inbound.enabled else None

    def _build_listener(self) -> Listener:
        publisher, inbound = self._publisher, self._settings.inbound
        downlink = Downlink(
            self._outbox,
            self._writer,
            self._names,
            read_clock,
            call_later=self._loop.call_later,
            on_event=publisher.event,
            on_reports=publisher.wake,
        )
        listener = Listener(
            self._loop,
            inbound.host,
            inbound.port,
            inbound.protocols,
            inbound_limits(self._settings),
            downlink,
            on_problem=lambda text: self._monitor.problem("inbound", text),
        )
        self._health.inbound = listener.figures
        return listener

    def _build_sessions(self) -> None:
        where = broker(self._settings)
        self._session = Session(
            self._loop,
            where,
            _DataHandler(self._monitor, self._publisher, self._data_received),
            subscriptions=self._names.data_filters,
            stale=self._monitor.stale_filters(),
            will=(self._names.state, b"offline"),
            crowded=self._writer.crowded,
        )
        self._control_session = Session(
            self._loop,
            where._replace(client_id=where.client_id + "-control"),
            _ControlHandler(self._control_received),
            subscriptions=self._names.control_filters,
        )
        self._publisher.attach(self._session)

    def _build_metrics(self) -> MetricsServer | None:
        port = self._settings.metrics.port
        if port is None:
            return None
        return MetricsServer(port, lambda: metrics.render(self._health.figures()), metrics.CONTENT_TYPE)

    def _data_received(self, delivery: Delivery) -> None:
        self._intake.received(delivery, self._session)

    def _control_received(self, delivery: Delivery) -> None:
        self._controls.received(delivery, self._control_session)

    def _condition_changed(self, endpoint: Endpoint, destination: Destination) -> None:
        self._monitor.condition_changed(endpoint, destination)

    def _store_full(self, full: bool) -> None:
        self._monitor.store_full(full, str(self._path))
        self._uplink.wake()

    # -- life --------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Run until stopped; return the exit code."""
        self._loop.set_exception_handler(self._failed)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self.reload)
        await self._control.start()
        if self._metrics:
            await self._metrics.start()
        self._publish_network()
        self._publish_info()
        self._uplink.start()
        if self._listener:
            self._listener.start()
        self._monitor.start()
        tasks = [self._loop.create_task(session.run()) for session in (self._session, self._control_session)]
        for task in tasks:
            task.add_done_callback(self._task_ended)
        log.info("%s started; %d messages are queued", __version__, self._outbox.ledger.messages)
        await self._stop.wait()
        await self._shut_down(tasks)
        return 1 if self._failure else 0

    async def _shut_down(self, tasks: list[asyncio.Task[None]]) -> None:
        """In reverse: nothing new, let what is under way end, say goodbye, close."""
        log.info("stopping")
        self._control.close()
        if self._metrics:
            self._metrics.close()
        self._uplink.stop()
        if self._listener:
            self._listener.stop()
        if not self._failure:
            await self._settle()
        if self._session.connected:  # our DISCONNECT takes the will back
            self._publisher.state(self._names.state, b"offline")
        for session in (self._session, self._control_session):
            session.disconnect()
        for task in tasks:
            task.remove_done_callback(self._task_ended)
        await asyncio.wait(tasks, timeout=0.5)
        for task in tasks:
            task.cancel()  # it may be waiting for a broker that does not answer
        await asyncio.gather(*tasks, return_exceptions=True)
        self._writer.close()
        self._database.close()
        self._lock.release()

    async def _settle(self) -> None:
        await self._until(
            lambda: self._uplink.under_way == 0 and (self._listener is None or self._listener.idle),
            min(STOP_WAIT, self._settings.cloud.timeout + 1),
        )
        await self._until(lambda: self._writer.idle, STOP_WAIT)
        if self._listener:
            self._listener.close()
        self._publisher.wake()
        await self._until(lambda: self._publisher.idle, BROKER_WAIT)
        await self._until(lambda: self._writer.idle, STOP_WAIT)

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
        if isinstance(error, sqlite3.Error):
            error = translate(error)
        if isinstance(error, StoreDamaged):
            mark_suspect(self._path)
        if self._failure is None:
            self._failure = error
            log.critical("stopping because of a failure: %s", error, exc_info=error)
        self._stop.set()

    def _publish_network(self) -> None:
        """Regularly, as promised, though nothing changes where nothing is managed."""
        self._publisher.state(self._names.network, dumps(unmanaged()).encode(), again=True)
        self._loop.call_later(self._settings.network.poll, self._publish_network)

    # -- the configuration, again ------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the configuration again; a bad one changes nothing, and says why."""
        if self._reread is None:
            return
        try:
            loaded = self._reread()
            new = loaded.settings
            ready = access(new), policy(new), limits(new), inbound_limits(new)
        except BridgeError as exc:
            for line in str(exc).splitlines():
                log.error("the configuration is not reloaded: %s", line)
            self._monitor.problem("config", f"not reloaded: {exc}")
            return
        for warning in loaded.warnings:
            log.warning("%s", warning)
        changes = compare(self._settings, new)
        self._access, self._intake.policy, self._outbox.limits, inbound = ready
        logs.set_up(new.log.level)
        self._uplink.set_slots(new.cloud.parallel)
        if self._listener:
            self._listener.set_limits(inbound)
        self._settings = new
        log.info("configuration reloaded; changed: %s", ", ".join(changes.applied) or "nothing")
        if changes.waiting:
            log.warning("these wait for a restart: %s", ", ".join(changes.waiting))
        self._uplink.release()
        self._publish_info()
        self._monitor.publish_health()

    def _publish_info(self) -> None:
        self._publisher.state(self._names.info, dumps(info(self._settings)).encode())

    # -- the control socket ------------------------------------------------------------------------------

    async def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        command = request["command"]
        if command == "stats":
            return self._health.figures()
        if command == "list":
            return {"messages": self._outbox.listing(0, int(request.get("limit", 100)))}
        if command == "retry":
            self._uplink.flush()
            return {"description": "everything is tried now"}
        if command == "purge":
            purged: asyncio.Future[int] = self._loop.create_future()
            # Who asked may have gone by the time it is done.
            self._controls.purge(lambda number: None if purged.done() else purged.set_result(number))
            return {"purged": await purged}
        return {"error": f"unknown command {command!r}"}


class _DataHandler:
    """The session that carries messages and reports."""

    def __init__(self, monitor: Monitor, publisher: Publisher, receive: Callable[[Delivery], None]) -> None:
        self._monitor = monitor
        self.mqtt_received = receive
        self.mqtt_published = publisher.published

    def mqtt_up(self, *, session_present: bool) -> None:
        self._monitor.online(session_present=session_present)

    def mqtt_down(self, reason: str) -> None:
        self._monitor.offline(reason)


class _ControlHandler:
    """The session that carries commands about the bridge itself."""

    def __init__(self, receive: Callable[[Delivery], None]) -> None:
        self.mqtt_received = receive

    def mqtt_up(self, *, session_present: bool) -> None:
        log.debug("control session %s", "resumed" if session_present else "new")

    def mqtt_down(self, reason: str) -> None:
        log.debug("control session: %s", reason)

    def mqtt_published(self, _mid: int, _problem: str | None) -> None:
        """Nothing is published here."""


def run(settings: Settings, reread: Callable[[], Loaded] | None = None) -> int:
    """Run the daemon until it is told to stop; return the exit code."""

    async def main() -> int:
        return await Bridge(settings, asyncio.get_running_loop(), reread).run()

    return asyncio.run(main())
