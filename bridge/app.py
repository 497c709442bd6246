"""The composition root: builds the parts, starts them, stops them.

::

    Session (data) ────> Intake ───> Writer/Outbox ───> Uplink ───> carriers ───> the cloud, Direct IP
    Session (control) ─> Controls ──────┤  ▲
    Session (data) <──── Publisher <────┘  └── Downlink <── Listener <─── the cloud's inbound messages

One event loop in one thread owns all of it; a blocking call (a name to resolve, a broker to connect to) gets
a thread of its own. A failure in any part stops the process, in reverse order, with exit code 1.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge import __version__, logs
from bridge.adapters.control import ControlServer, socket_path
from bridge.adapters.listener import Listener
from bridge.adapters.metrics import MetricsServer
from bridge.adapters.mqtt import Session
from bridge.adapters.resolver import Resolver
from bridge.adapters.systemd import Notifier
from bridge.adapters.tcp import TcpCarrier
from bridge.adapters.threads import Worker
from bridge.adapters.udp import UdpCarrier
from bridge.answers import Answers
from bridge.compose import NOBODY, access, broker, device, inbound_limits, info, limits, policy
from bridge.core.delivery import Delivery
from bridge.core.destination import Destination
from bridge.core.exchange import Carrier
from bridge.core.messages import Channel, Endpoint
from bridge.core.modem import Identity
from bridge.errors import BridgeError, StoreDamaged
from bridge.flow.controls import Controls
from bridge.flow.downlink import Downlink
from bridge.flow.handlers import ControlHandler, DataHandler
from bridge.flow.health import Health
from bridge.flow.home_assistant import HomeAssistant
from bridge.flow.intake import Intake
from bridge.flow.monitor import Monitor
from bridge.flow.names import Names
from bridge.flow.publisher import Publisher
from bridge.flow.results import Results
from bridge.flow.speakers import CloudSpeaker, DatagramSpeaker, DirectSpeaker, SmsSpeaker, Speaker
from bridge.flow.standing import describe
from bridge.flow.switch import Switch
from bridge.flow.uplink import Uplink
from bridge.protocol import discovery, metrics
from bridge.protocol.network import unmanaged
from bridge.protocol.reports import dumps
from bridge.reload import compare
from bridge.service import Service
from bridge.settings import Loaded, Settings
from bridge.store.clock import read_clock
from bridge.store.database import Lock, boot_id, translate
from bridge.store.files import mark_suspect, open_store
from bridge.store.outbox import Outbox
from bridge.store.reserve import Reserve
from bridge.store.writer import Writer

if TYPE_CHECKING:
    from bridge.managed import ManagedModem
    from bridge.managed_wifi import ManagedWifi

log = logging.getLogger("bridge")

STOP_WAIT = 8.0
"""Seconds for what is under way to end when the bridge is stopped."""

LINK_WAIT = 15.0
"""Seconds for the link to be hung up when the bridge is stopped."""

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
        self._settings = settings
        self._loop = loop
        self._reread = reread
        self._stop = asyncio.Event()
        self._identity = NOBODY
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
        self._switch = self._build_switch()
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
            on_step=self._uplink.release,
        )
        self._build_flow()
        self._build_sessions()
        self._managed = self._build_managed()
        answers = Answers(loop, self._health, self._outbox, self._uplink, self._controls, self._managed)
        self._control = ControlServer(socket_path(settings.control.path, self._path), answers)
        self._service = self._build_service()
        self._metrics = self._build_metrics()

    def _build_switch(self) -> Switch:
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
        return Switch(speakers, carriers, identified=lambda: self._access.credentials is not None)

    def _build_uplink(self) -> Uplink:
        return Uplink(
            self._outbox,
            self._writer,
            self._results,
            self._switch,
            slots=self._settings.cloud.parallel,
            clock=read_clock,
            timer=self._loop,
            on_condition=self._condition_changed,
            on_event=self._publisher.event,
            on_released=self._released,
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
            on_problem=partial(self._monitor.problem, "inbound"),
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

    def _build_home_assistant(self) -> HomeAssistant:
        wanted, names = self._settings.home_assistant, self._names
        return HomeAssistant(
            self._outbox,
            self._writer,
            discovery.Topics(
                names.prefix, names.state, names.health, names.network, names.event, names.last_sms
            ),
            prefix=wanted.prefix,
            enabled=wanted.enabled,
            host=socket.gethostname(),
            device=lambda name: device(self._settings, name),
            call_later=self._loop.call_later,
            publish=partial(self._publisher.state, again=True),
            take_back=self._publisher.take_back,
            repeat=self._publisher.repeat,
        )

    def _build_sessions(self) -> None:
        where = broker(self._settings)
        self._home_assistant = self._build_home_assistant()
        self._session = Session(
            self._loop,
            where,
            DataHandler(self._monitor, self._publisher, self._data_received),
            subscriptions=self._names.data_filters,
            stale=self._monitor.stale_filters(),
            will=(self._names.state, b"offline"),
            crowded=self._writer.crowded,
        )
        self._control_session = Session(
            self._loop,
            where._replace(client_id=where.client_id + "-control"),
            ControlHandler(self._control_received),
            subscriptions=(*self._names.control_filters, self._home_assistant.birth),
        )
        self._publisher.attach(self._session)

    def _build_managed(self) -> "ManagedModem | ManagedWifi | None":
        interface = self._settings.network.interface
        if not interface:
            return None
        # What a box without a modem needs none of stays out of its memory.
        from bridge.managed import Around, ManagedModem
        from bridge.managed_wifi import ManagedWifi

        managed = (ManagedWifi if interface == "wifi" else ManagedModem)(
            Around(
                self._settings,
                self._loop,
                self._database,
                self._outbox,
                self._writer,
                self._names,
                self._switch,
                self._listener,
                read_clock,
                on_event=self._publisher.event,
                on_reports=self._publisher.wake,
                on_problem=self._monitor.problem,
                on_status=self._network_changed,
                on_identity=self._sim_identified,
                on_ready=self._uplink.wake,
                on_link=self._uplink.flush,
                unreached_since=self._uplink.unreached_since,
                under_way=lambda: self._uplink.under_way,
            )
        )
        self._controls.network = managed.command
        return managed

    def _build_service(self) -> Service:
        managed = self._managed.watched if self._managed else ()
        parts = (self._session, self._control_session, self._intake, self._writer, self._uplink, *managed)
        stuck = partial(self._monitor.problem, "watchdog")
        return Service(self._loop, Notifier.from_environment(), self._standing, parts, stuck)

    def _standing(self) -> str:
        mqtt = self._settings.mqtt
        return describe(
            broker=None if self._session.connected else f"{mqtt.host}:{mqtt.port}",
            conditions=self._uplink.conditions,
            network=self._managed.status() if self._managed else None,
            queued=self._outbox.ledger.messages,
            notes=(
                "paused" if self._uplink.paused else None,
                "the disk is full" if self._writer.full else None,
                self._listener.problem if self._listener else None,
            ),
        )

    def _network_changed(self, status: dict[str, Any]) -> None:
        self._publisher.state(self._names.network, dumps(status).encode())

    def _sim_identified(self, identity: Identity) -> None:
        """The SIM says who we are to the cloud, where the configuration does not."""
        self._identity = identity
        self._access = access(self._settings, identity)
        self._uplink.wake()

    def _build_metrics(self) -> MetricsServer | None:
        port = self._settings.metrics.port
        if port is None:
            return None
        return MetricsServer(port, lambda: metrics.render(self._health.figures()), metrics.CONTENT_TYPE)

    def _data_received(self, delivery: Delivery) -> None:
        self._intake.received(delivery, self._session)

    def _control_received(self, delivery: Delivery) -> None:
        if delivery.topic == self._home_assistant.birth:
            self._home_assistant.received(delivery)
            self._control_session.ack(delivery)
            return
        self._controls.received(delivery, self._control_session)

    def _condition_changed(self, endpoint: Endpoint, destination: Destination) -> None:
        self._monitor.condition_changed(endpoint, destination)

    def _released(self) -> None:
        self._monitor.publish_health()

    def _store_full(self, full: bool) -> None:
        self._monitor.store_full(full, str(self._path))
        self._uplink.wake()

    # -- life --------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Run until stopped; return the exit code."""
        self._loop.set_exception_handler(self._failed)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._service.reload, self.reload)
        await self._control.start()
        if self._metrics:
            await self._metrics.start()
        self._publish_network()
        self._publish_info()
        self._home_assistant.start()
        self._uplink.start()
        if self._listener:
            self._listener.start()
        self._monitor.start()
        tasks = [self._loop.create_task(session.run()) for session in (self._session, self._control_session)]
        keeping = [self._loop.create_task(each) for each in (self._managed.tasks() if self._managed else ())]
        for task in (*tasks, *keeping):
            task.add_done_callback(self._task_ended)
        log.info("%s started; %d messages are queued", __version__, self._outbox.ledger.messages)
        self._service.ready()
        await self._stop.wait()
        self._service.stopping()
        await self._shut_down(tasks, keeping)
        return 1 if self._failure else 0

    async def _shut_down(self, tasks: list[asyncio.Task[None]], keeping: list[asyncio.Task[None]]) -> None:
        """In reverse: nothing new, let what is under way end, say goodbye, close."""
        log.info("stopping")
        self._control.close()
        if self._metrics:
            self._metrics.close()
        self._uplink.stop()
        if self._listener:
            self._listener.stop()
        self._controls.stop()
        if not self._failure:
            await self._settle()
        await self._let_go(keeping)
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

    async def _let_go(self, keeping: list[asyncio.Task[None]]) -> None:
        """Give the link up, and the modem back."""
        if self._managed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINK_WAIT):
                    await self._managed.stop()
        for task in keeping:
            task.remove_done_callback(self._task_ended)
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)

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
        """Regularly, as promised, though nothing may have changed."""
        status = self._managed.status() if self._managed else unmanaged()
        self._publisher.state(self._names.network, dumps(status).encode(), again=True)
        self._loop.call_later(self._settings.network.poll, self._publish_network)

    # -- the configuration, again ------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the configuration again; a bad one changes nothing, and says why."""
        if self._reread is None:
            return
        try:
            loaded = self._reread()
            new = loaded.settings
            ready = access(new, self._identity), policy(new), limits(new), inbound_limits(new)
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
        if self._managed:
            self._managed.reloaded(new)
        log.info("configuration reloaded; changed: %s", ", ".join(changes.applied) or "nothing")
        if changes.waiting:
            log.warning("these wait for a restart: %s", ", ".join(changes.waiting))
        self._uplink.release()
        self._publish_info()
        self._monitor.publish_health()

    def _publish_info(self) -> None:
        self._publisher.state(self._names.info, dumps(info(self._settings)).encode())


def run(settings: Settings, reread: Callable[[], Loaded] | None = None) -> int:
    """Run the daemon until it is told to stop; return the exit code."""

    async def main() -> int:
        return await Bridge(settings, asyncio.get_running_loop(), reread).run()

    return asyncio.run(main())
