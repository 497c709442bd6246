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
import signal
import socket
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge import __version__
from bridge.adapters.inbound.listener import Listener
from bridge.adapters.ip.resolver import Resolver
from bridge.adapters.system.control_socket import ControlServer, socket_path
from bridge.adapters.system.loop_time import LoopTime
from bridge.adapters.system.metrics import MetricsServer
from bridge.adapters.system.systemd import Notifier
from bridge.adapters.system.threads import Worker
from bridge.assemblies.message_flow import GRACE, MessageFlow, until
from bridge.assemblies.workers import Workers
from bridge.core.events import matching
from bridge.core.messages import Endpoint
from bridge.core.modem import Identity
from bridge.core.progress import Part
from bridge.daemon import configure, logs, remote
from bridge.daemon.begin import Reread, begin
from bridge.daemon.broker import BrokerSessions, Commands, Messages
from bridge.daemon.control_api import Answers
from bridge.daemon.links import clear_left_link, make_link
from bridge.daemon.metering import source_of
from bridge.daemon.reload import Changes, compare
from bridge.daemon.remote_settings import RemoteSettings
from bridge.daemon.restart import execute_anew
from bridge.daemon.service import Service
from bridge.errors import BridgeError, StoreError
from bridge.flow.health.client_id import ClientId, machine
from bridge.flow.health.heartbeat import Heartbeat
from bridge.flow.health.home_assistant import HomeAssistant
from bridge.flow.health.monitor import Monitor
from bridge.flow.health.status_line import describe
from bridge.flow.health.summary import Summary, summarize
from bridge.flow.health.usage import UsageReport
from bridge.flow.message.batch_lanes import Policy as BatchPolicy
from bridge.flow.message.budget import Budget
from bridge.flow.message.controls import Controls
from bridge.flow.message.downlink import Downlink
from bridge.flow.message.escalator import Escalator
from bridge.flow.message.filtering import Filtering
from bridge.flow.message.intake import Intake
from bridge.flow.message.publisher import Publisher
from bridge.flow.message.quotes import Quotes, Ways
from bridge.flow.message.results import Results
from bridge.flow.message.sessions import Numbered
from bridge.flow.message.topics import Names
from bridge.flow.remote.answers import SmsAnswers
from bridge.flow.remote.commands import RemoteCommands
from bridge.flow.remote.gate import RemoteGate
from bridge.protocol.api import metrics
from bridge.protocol.api.reports import dumps
from bridge.settings import Loaded, Settings
from bridge.store.database import translate
from bridge.store.files import note_failure
from bridge.store.journal import Journal
from bridge.store.remote import RemoteStore

if TYPE_CHECKING:
    from bridge.flow.link.backup import OwnNetwork

log = logging.getLogger("bridge")

BROKER_WAIT = 2.0
"""Seconds for the broker to acknowledge the last reports."""


class Bridge:
    """The daemon."""

    def __init__(self, loaded: Loaded, reread: Reread) -> None:
        """``reread`` reads the configuration again for a reload, a change from afar or a restart."""
        self.settings = loaded.settings
        self.again = False
        """Whether a restart was asked for."""
        self._loaded = loaded
        self._reread = reread
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._identity = Identity()
        self._loop = asyncio.get_running_loop()

    # -- the parts ---------------------------------------------------------------------------------------

    def _build(self) -> None:
        """Build the parts on the open journal; raises `ConfigError`."""
        settings, journal = self.settings, self.journal
        self.access = configure.access(settings)
        names, events = Names(settings.mqtt.prefix), matching(settings.mqtt.events)
        self.publisher = publisher = Publisher(journal, names, events)
        self.monitor = monitor = Monitor(journal, publisher)
        for each in (publisher.states, publisher.asides):
            each.on_problem = partial(monitor.problem, "mqtt")
        self.escalator = Escalator(
            journal,
            monitor,
            policy=lambda: self.intake.policy,
            on_text=self._wake,
        )
        self._results = Results(journal, publisher.names, monitor, self.escalator)
        resolver = self._make_resolver()
        own = Resolver(self._loop) if settings.network.backs_up else None
        paths = configure.make_paths(self._loop, resolver, lambda: self.access, own)
        self.flow = MessageFlow(journal, self._results, paths, monitor, slots=settings.cloud.parallel)
        monitor.attach(self.flow.uplink)
        self.flow.uplink.batches.lanes.policy = self._batch_policy()
        remote_store = RemoteStore(journal, remote.beside(self._loop))
        self.gate = RemoteGate(journal, remote_store, remote.policy(settings), monitor)
        if settings.inbound.enabled:
            self.flow.listener = self._make_listener()
            monitor.health.inbound = self.flow.listener.figures
        network = self._own_network(own) if own else None
        self.link = link = make_link(
            lambda: self.settings, self.flow, publisher.names, monitor, commands=self.gate, own=network
        )
        link.on_change = self._link_changed
        paths.modem = link
        if settings.network.takes_messages:
            paths.link, paths.backup = link, link.backup
        monitor.health.path = lambda: link.path
        self._build_budget()
        self.filtering = Filtering(journal, self._results)
        self.controls = Controls(
            journal, self._results, self.flow.uplink, self.filtering, link.command, monitor
        )
        self.controls.change_budget = self.budget.change
        self._build_broker()
        ways = Ways(paths.codec, paths.own_sockets, partial(configure.route_to, resolver))
        self.heartbeat = Heartbeat(journal, self.intake, settings.mqtt.prefix, self.summary)
        quotes = Quotes(self._results, self.intake.message_of, ways, lambda: configure.prices(self.settings))
        self.controls.quote = quotes.answer
        self.remote_settings = RemoteSettings(
            self._loaded, self._reread, journal.time, monitor, apply=self._take, restart=self.restart
        )
        self._remote = self._make_remote(remote_store)
        journal.writer.on_full = self._store_full
        self._build_service()

    def _make_resolver(self) -> Resolver:
        """Return the resolver of the way that messages take, which makes their sockets too."""
        if not self.settings.network.binds:
            return Resolver(self._loop)
        from bridge.adapters.ip.link_network import LinkNetwork  # no other box needs its memory

        return Resolver(self._loop, LinkNetwork(lambda: self.link.link))

    def _own_network(self, resolver: Resolver) -> "OwnNetwork":
        """Return the box's own network, for which the modem is only the backup."""
        from bridge.daemon.backup import own_network  # no other box needs its memory

        return own_network(self._loop, resolver, lambda: self.access)

    def _build_budget(self) -> None:
        settings = self.settings
        source = source_of(self.link, settings.network.scope)
        self.budget = budget = Budget(
            self.journal, self.monitor, configure.plan(settings), self.flow.uplink, source
        )
        self.monitor.health.budget = budget
        self.usage = UsageReport(self.journal, self.publisher, budget)

    def _make_remote(self, store: RemoteStore) -> RemoteCommands:
        orders = remote.Orders(
            self.controls,
            self.link,
            self.remote_settings,
            logs.RECENT,
            status=lambda: self.summary().line(),
            restart=self.restart,
            check=self._reread,
        )
        answers = SmsAnswers(self.journal, self.intake)
        return RemoteCommands(self.journal, store, self.gate, orders.table(), answers, self.monitor)

    def _make_listener(self) -> Listener:
        inbound, monitor = self.settings.inbound, self.monitor
        return Listener(
            self._loop,
            inbound.host,
            inbound.port,
            inbound.protocols,
            configure.inbound_limits(self.settings),
            Downlink(self.journal, self.publisher.names, monitor),
            commands=self.gate,
            on_problem=partial(monitor.problem, "inbound"),
        )

    def _make_intake(self, session: Numbered) -> Intake:
        uplink = self.flow.uplink
        return Intake(
            self.journal,
            self._results,
            configure.policy(self.settings),
            self.filtering,
            session,
            uplink.wake,
            self.monitor,
        )

    def _build_broker(self) -> None:
        settings, publisher, monitor = self.settings, self.publisher, self.monitor
        host = socket.gethostname()
        client_id = ClientId(
            self.journal, configured=settings.mqtt.client_id, hostname=host, machine=machine()
        )
        self.home_assistant = HomeAssistant(
            self.journal,
            publisher,
            prefix=settings.home_assistant.prefix,
            enabled=settings.home_assistant.enabled,
            host=host,
            device=lambda name: configure.device(self.settings, name),
        )
        self.intake = self._make_intake(monitor.session)
        self.filtering.store = self.intake.store
        publisher.on_room = self.intake.resume
        where = configure.broker(settings, client_id.id)
        messages = Messages(where, monitor, publisher, self.intake, client_id)
        commands = Commands(where, monitor, publisher, self.controls, self.home_assistant)
        self.broker = BrokerSessions(messages, commands, client_id, publisher, self._make_intake, where)

    def _build_service(self) -> None:
        sessions = (self.broker.messages.session, self.broker.commands.session)
        parts: tuple[Part, ...] = (*sessions, self.intake, self.journal.writer, self.flow.uplink)
        stuck = partial(self.monitor.problem, "watchdog")
        self._service = Service(
            self._loop, Notifier.from_environment(), self._status_line, (*parts, *self.link.watched), stuck
        )

    # -- life --------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Run until stopped; return the exit code. Raises `BridgeError` if it cannot start."""
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._start(stack)
                await self._stop.wait()
                if self.again:
                    self._service.restarting()
                else:
                    self._service.stopping()
                if self._failure:
                    self._say_farewell()
                    raise self._failure
                log.info("restarting" if self.again else "stopping")
        except Exception as exc:
            if not self._stop.is_set():
                note_failure(self.settings.store.path, exc)
                raise
            if exc is not self._failure:  # leaving a part may raise the first failure again
                self._fail(exc)
        return 1 if self._failure else 0

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        """Open, build and enter everything; the stack leaves it in reverse."""
        settings, loop = self.settings, self._loop
        self.journal = journal = Journal.open(
            settings.store.path, configure.limits(settings), LoopTime(loop), worker=Worker(loop, "commit").run
        )
        stack.callback(lambda: journal.close(reserve=not self._failure))
        self._loaded, told = begin(self._loaded, self._reread)
        self.settings = settings = self._loaded.settings
        self._build()
        if told:
            self.monitor.problem("config", told)
        loop.set_exception_handler(self._failed)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._service.reload, self.reload)
        await stack.enter_async_context(self.broker)
        await stack.enter_async_context(self.link)
        workers = await stack.enter_async_context(Workers())
        workers.start(clear_left_link(loop, settings, journal), ends=True)
        stack.push_async_exit(self._drain_reports)
        self._publish_network()
        self._publish_info()
        self.home_assistant.start()
        self._set_grace()
        self.budget.start()
        await stack.enter_async_context(self.flow)
        stack.callback(self.filtering.stop)
        self.escalator.start()
        self.controls.start()
        stack.callback(self.controls.stop)
        self.monitor.start()
        self.usage.start()
        self._apply_heartbeat()
        stack.callback(self.heartbeat.stop)
        self.remote_settings.start()
        workers = await stack.enter_async_context(Workers())
        workers.start(self._remote.run())
        await self._start_servers(stack)
        gc.freeze()  # what is here stays, and looking through it for cycles would hold the loop for 30 ms
        log.info("%s started; %d messages are queued", __version__, journal.outbox.ledger.messages)
        self._service.ready()

    async def _start_servers(self, stack: contextlib.AsyncExitStack) -> None:
        settings, health = self.settings, self.monitor.health
        answers = Answers(
            self._loop,
            health,
            self.journal,
            self.controls,
            self.publisher,
            self.link,
            self._service.stuck,
            self._status_line,
            self.remote_settings,
        )
        control = ControlServer(socket_path(settings.control.path, settings.store.path), answers)
        await control.start()
        stack.callback(control.close)
        if settings.metrics.port is not None:
            server = MetricsServer(
                settings.metrics.port, lambda: metrics.render(health.figures()), metrics.CONTENT_TYPE
            )
            await server.start()
            stack.callback(server.close)

    async def _drain_reports(self, kind: object, *_: object) -> None:
        """Publish the last reports, while the link, which a remote broker needs, is still up."""
        if kind is None:
            self.budget.close()
            self.gate.spend()
            self.publisher.wake()
            await until(lambda: self.publisher.idle, BROKER_WAIT)
            await until(lambda: self.journal.writer.idle, GRACE)

    def _say_farewell(self) -> None:
        """Publish "offline" before all else ends; a disk that failed is not used any more."""
        disk = isinstance(self._failure, StoreError)
        if disk:
            self.journal.writer.close()
        self.monitor.failed("store" if disk else "bridge", str(self._failure))
        self.broker.leave()

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
        self.remote_settings.restarting()
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

    # -- callbacks of the parts --------------------------------------------------------------------------

    def _link_changed(self) -> None:
        """Act on a change of the link or modem; the SIM may bring the credentials for the cloud."""
        if self.link.identity != self._identity:
            self._identity = self.link.identity
            self.access = configure.access(self.settings, self._identity)
        self.publisher.state(self.publisher.names.network, dumps(self.link.status()).encode())
        self.flow.uplink.wake()

    def _wake(self, endpoint: Endpoint) -> None:
        self.flow.uplink.wake(endpoint)

    def _store_full(self, full: bool) -> None:
        self.monitor.store_full(full, str(self.journal.path), self.journal.room)
        self.flow.uplink.wake()

    def _status_line(self) -> str:
        mqtt, uplink, listener = self.settings.mqtt, self.flow.uplink, self.flow.listener
        return describe(
            broker=None if self.broker.connected else f"{mqtt.host}:{mqtt.port}",
            conditions=uplink.conditions,
            network=self.link.status(),
            queued=self.journal.outbox.ledger.messages,
            notes=(
                "paused" if uplink.paused else None,
                "the disk is full" if self.journal.writer.full else None,
                listener.problem if listener else None,
            ),
        )

    def summary(self) -> Summary:
        """Return how the box is, for the command ``status`` and the heartbeat."""
        health = self.monitor.health
        return summarize(
            state=health.state,
            network=self.link.status(),
            queue=health.queue(),
            month=self.budget.spent().month,
            version=__version__,
        )

    def _publish_network(self) -> None:
        """Publish the network status at its interval, changed or not."""
        names = self.publisher.names
        self.publisher.state(names.network, dumps(self.link.status()).encode(), again=True)
        self._loop.call_later(self.settings.network.poll, self._publish_network)

    def _publish_info(self) -> None:
        self.publisher.state(self.publisher.names.info, dumps(configure.info(self._loaded)).encode())

    # -- reload ------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the configuration again; an invalid one changes nothing, and its problems are logged."""
        try:
            loaded = self._reread()
            changes = self._take(loaded)
        except BridgeError as exc:
            for line in str(exc).split("\n"):
                log.error("the configuration is not reloaded: %s", line)
            self.monitor.problem("config", f"not reloaded: {exc}")
            return
        self.remote_settings.adopt(loaded)
        for warning in loaded.warnings:
            log.warning("%s", warning)
        log.info("configuration reloaded; changed: %s", ", ".join(changes.applied) or "nothing")
        if changes.waiting:
            log.warning("these wait for a restart: %s", ", ".join(changes.waiting))
        self.flow.uplink.try_again()

    def _take(self, loaded: Loaded) -> Changes:
        """Put a configuration into force; raises `BridgeError` before any change."""
        changes = self._apply(loaded.settings)
        logs.set_up(loaded.settings.log.level)
        self._loaded = loaded
        self._publish_info()
        self.monitor.health_changed()
        return changes

    def _apply(self, new: Settings) -> Changes:
        """Apply the settings that need no restart; raises `BridgeError` before any change."""
        access, policy = configure.access(new, self._identity), configure.policy(new)
        limits, inbound = configure.limits(new), configure.inbound_limits(new)
        # The broker's settings wait for a restart. Check its files now, so that the restart does not fail.
        configure.broker(new)
        changes = compare(self.settings, new)
        announced = (self.settings.budget, self.settings.prices) != (new.budget, new.prices)
        self.access, self.intake.policy, self.journal.outbox.limits = access, policy, limits
        self.filtering.renew(policy.router)
        self.gate.policy = remote.policy(new)
        self.flow.uplink.set_slots(new.cloud.parallel)
        if self.flow.listener:
            self.flow.listener.set_limits(inbound)
        self.settings = new
        self.flow.uplink.batches.lanes.policy = self._batch_policy()
        self.budget.apply(configure.plan(new))
        self._apply_heartbeat()
        if announced:
            self.home_assistant.changed()
        self._set_grace()
        self.link.reloaded()
        return changes

    def _batch_policy(self) -> BatchPolicy:
        return BatchPolicy(configure.policy(self.settings).router, lambda: self.access)

    def _apply_heartbeat(self) -> None:
        self.heartbeat.apply(self.settings.heartbeat.every, self.settings.heartbeat.topic)

    def _set_grace(self) -> None:
        self.flow.grace = min(GRACE, self.settings.cloud.timeout + 1)


def run(loaded: Loaded, reread: Reread) -> int:
    """Run the daemon until SIGTERM or SIGINT; return the exit code. A restart begins anew in this process."""
    again = False

    async def main() -> int:
        nonlocal again
        bridge = Bridge(loaded, reread)
        try:
            return await bridge.run()
        finally:
            again = bridge.again

    try:
        code = asyncio.run(main())
    except sqlite3.Error as exc:
        raise translate(exc, loaded.settings.store.path) from exc
    return execute_anew() if again else code
