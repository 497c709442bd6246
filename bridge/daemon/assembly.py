"""The daemon's parts on an open journal, wired, and what a change of the configuration changes in them."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bridge import __version__
from bridge.adapters.inbound.listener import Listener
from bridge.adapters.ip.resolver import Resolver
from bridge.adapters.system.systemd import Notifier
from bridge.assemblies.message_flow import GRACE, MessageFlow
from bridge.core.events import matching
from bridge.core.messages import Endpoint
from bridge.core.progress import Part
from bridge.daemon import configure, logs, remote
from bridge.daemon.active import ActiveConfiguration
from bridge.daemon.begin import Reread
from bridge.daemon.broker import BrokerSessions, Commands, Messages
from bridge.daemon.links import make_link
from bridge.daemon.metering import source_of
from bridge.daemon.reload import Changes, compare
from bridge.daemon.remote_settings import RemoteSettings
from bridge.daemon.service import Service
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
from bridge.protocol.api.reports import dumps
from bridge.settings import Loaded
from bridge.store.journal import Journal
from bridge.store.remote import RemoteStore

if TYPE_CHECKING:
    from bridge.flow.link.backup import OwnNetwork


class Assembly:
    """The parts, each built from those before it; lives in the event loop's thread."""

    def __init__(
        self,
        journal: Journal,
        active: ActiveConfiguration,
        reread: Reread,
        notifier: Notifier,
        *,
        restart: Callable[[], None],
        undo: Callable[[Loaded], None],
    ) -> None:
        """Build them; nothing runs yet. Raises `ConfigError`.

        ``reread`` reads the configuration again. ``restart`` has the bridge execute itself anew; raises
        `ConfigError` while no start is possible. ``undo`` has it begin anew with that configuration, if the
        file does not allow a start.
        """
        self._loop = asyncio.get_running_loop()
        self.journal, self.active = journal, active
        settings = active.settings
        names, events = Names(settings.mqtt.prefix), matching(settings.mqtt.events)
        self.publisher = Publisher(journal, names, events)
        self.monitor = Monitor(journal, self.publisher)
        for each in (self.publisher.states, self.publisher.asides):
            each.on_problem = partial(self.monitor.problem, "mqtt")
        self.escalator = Escalator(
            journal, self.monitor, policy=lambda: self.intake.reader.policy, on_text=self._wake
        )
        self.results = Results(journal, names, self.monitor, self.escalator)
        remote_store = RemoteStore(journal, remote.beside(self._loop))
        self.gate = RemoteGate(journal, remote_store, remote.policy(settings), self.monitor)
        ways = self._build_ways()
        source = source_of(self.link, settings.network.scope)
        self.budget = Budget(journal, self.monitor, configure.plan(settings), self.flow.uplink, source)
        self.usage = UsageReport(journal, self.publisher, self.budget)
        inbound = self.flow.listener.figures if self.flow.listener else None
        self.monitor.attach(self.flow.uplink, self.budget, lambda: self.link.path, inbound)
        self.filtering = Filtering(journal, self.results)
        self.intake = self._make_intake(self.monitor.session)
        self.filtering.store = self.intake.store
        self.publisher.on_room = self.intake.resume
        self.heartbeat = Heartbeat(journal, self.intake, settings.mqtt.prefix, self.summary)
        self.controls = self._make_controls(ways)
        self._build_broker()
        self.remote_settings = RemoteSettings(
            active.loaded, reread, journal.time, self.monitor, apply=self.take, restart=undo
        )
        self.remote = self._make_remote(remote_store, reread, restart)
        self.service = self._make_service(notifier)
        journal.writer.on_full = self._store_full

    # -- building ----------------------------------------------------------------------------------------

    def _build_ways(self) -> Ways:
        """Build the message flow and the link; return what is known of the ways, for quotes."""
        settings, active = self.active.settings, self.active
        resolver = self._make_resolver()
        own = Resolver(self._loop) if settings.network.backs_up else None
        paths = configure.make_paths(self._loop, resolver, lambda: active.access, own)
        self.flow = MessageFlow(
            self.journal, self.results, paths, self.monitor, slots=settings.cloud.parallel
        )
        self.flow.uplink.batches.lanes.policy = self._batch_policy()
        if settings.inbound.enabled:
            self.flow.listener = self._make_listener()
        network = self._own_network(own) if own else None
        self.link = make_link(
            lambda: active.settings,
            self.flow,
            self.publisher.names,
            self.monitor,
            commands=self.gate,
            own=network,
        )
        self.link.on_change = self._link_changed
        paths.modem = self.link
        if settings.network.takes_messages:
            paths.link, paths.backup = self.link, self.link.backup
        return Ways(paths.codec, paths.own_sockets, partial(configure.route_to, resolver))

    def _make_resolver(self) -> Resolver:
        """Return the resolver of the way that messages take, which makes their sockets too."""
        if not self.active.settings.network.binds:
            return Resolver(self._loop)
        from bridge.adapters.ip.link_network import LinkNetwork  # no other box needs its memory

        return Resolver(self._loop, LinkNetwork(lambda: self.link.link))

    def _own_network(self, resolver: Resolver) -> "OwnNetwork":
        """Return the box's own network, for which the modem is only the backup."""
        from bridge.daemon.backup import own_network  # no other box needs its memory

        return own_network(self._loop, resolver, lambda: self.active.access)

    def _make_listener(self) -> Listener:
        inbound, monitor = self.active.settings.inbound, self.monitor
        return Listener(
            self._loop,
            inbound.host,
            inbound.port,
            inbound.protocols,
            configure.inbound_limits(self.active.settings),
            Downlink(self.journal, self.publisher.names, monitor),
            commands=self.gate,
            on_problem=partial(monitor.problem, "inbound"),
        )

    def _make_intake(self, session: Numbered) -> Intake:
        return Intake(
            self.journal,
            self.results,
            configure.policy(self.active.settings),
            self.filtering,
            session,
            self.flow.uplink.wake,
            self.monitor,
        )

    def _make_controls(self, ways: Ways) -> Controls:
        active = self.active
        quotes = Quotes(
            self.results, self.intake.reader.message_of, ways, lambda: configure.prices(active.settings)
        )
        return Controls(
            self.journal,
            self.results,
            self.flow.uplink,
            self.filtering,
            self.monitor,
            network=self.link.command,
            change_budget=self.budget.change,
            quote=quotes.answer,
        )

    def _build_broker(self) -> None:
        settings, publisher, monitor = self.active.settings, self.publisher, self.monitor
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
            device=lambda name: configure.device(self.active.settings, name),
        )
        where = configure.broker(settings, client_id.id)
        messages = Messages(where, monitor, publisher, self.intake, client_id)
        commands = Commands(where, monitor, publisher, self.controls, self.home_assistant)
        self.broker = BrokerSessions(messages, commands, client_id, publisher, self._make_intake, where)

    def _make_remote(self, store: RemoteStore, reread: Reread, restart: Callable[[], None]) -> RemoteCommands:
        orders = remote.Orders(
            self.controls,
            self.link,
            self.remote_settings,
            logs.RECENT,
            status=lambda: self.summary().line(),
            restart=restart,
            check=reread,
        )
        answers = SmsAnswers(self.journal, self.intake)
        return RemoteCommands(self.journal, store, self.gate, orders.table(), answers, self.monitor)

    def _make_service(self, notifier: Notifier) -> Service:
        sessions = (self.broker.messages.session, self.broker.commands.session)
        parts: tuple[Part, ...] = (*sessions, self.intake, self.journal.writer, self.flow.uplink)
        stuck = partial(self.monitor.problem, "watchdog")
        watched = (*parts, *self.link.watched)
        return Service(self._loop, notifier, self.status_line, watched, stuck)

    # -- what the parts tell each other ------------------------------------------------------------------

    def _link_changed(self) -> None:
        """Act on a change of the link or modem; the SIM may bring the credentials for the cloud."""
        self.active.identified(self.link.identity)
        self.publisher.state(self.publisher.names.network, dumps(self.link.status()).encode())
        self.flow.uplink.wake()

    def _wake(self, endpoint: Endpoint) -> None:
        self.flow.uplink.wake(endpoint)

    def _store_full(self, full: bool) -> None:
        self.monitor.store_full(full, str(self.journal.path), self.journal.room)
        self.flow.uplink.wake()

    def status_line(self) -> str:
        """Return how the bridge is, in one line for systemd."""
        mqtt, uplink, listener = self.active.settings.mqtt, self.flow.uplink, self.flow.listener
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

    # -- the configuration -------------------------------------------------------------------------------

    def publish_network(self) -> None:
        """Publish the network status now and at its interval, changed or not."""
        names = self.publisher.names
        self.publisher.state(names.network, dumps(self.link.status()).encode(), again=True)
        self._loop.call_later(self.active.settings.network.poll, self.publish_network)

    def publish_info(self) -> None:
        """Publish the configuration."""
        info = configure.info(self.active.loaded)
        self.publisher.state(self.publisher.names.info, dumps(info).encode())

    def take(self, loaded: Loaded) -> Changes:
        """Put a configuration into force as far as no restart is needed; raises `BridgeError` before that."""
        new = loaded.settings
        access, policy = self.active.access_with(new), configure.policy(new)
        limits, inbound = configure.limits(new), configure.inbound_limits(new)
        # The broker's settings wait for a restart. Check its files now, so that the restart does not fail.
        configure.broker(new)
        old, self.active.loaded, self.active.access = self.active.settings, loaded, access
        self.intake.reader.policy, self.journal.outbox.limits = policy, limits
        self.filtering.renew(policy.router)
        self.gate.policy = remote.policy(new)
        self.flow.uplink.set_slots(new.cloud.parallel)
        self.flow.uplink.batches.lanes.policy = self._batch_policy()
        if self.flow.listener:
            self.flow.listener.set_limits(inbound)
        self.budget.apply(configure.plan(new))
        if (old.budget, old.prices) != (new.budget, new.prices):
            self.home_assistant.changed()
        self.follow()
        self.link.reloaded()
        logs.set_up(new.log.level)
        self.publish_info()
        self.monitor.health_changed()
        return compare(old, new)

    def follow(self) -> None:
        """Have what follows the configuration once it runs do so: the heartbeat, and the last seconds."""
        settings = self.active.settings
        self.heartbeat.apply(settings.heartbeat.every, settings.heartbeat.topic)
        self.flow.grace = min(GRACE, settings.cloud.timeout + 1)

    def _batch_policy(self) -> BatchPolicy:
        return BatchPolicy(configure.policy(self.active.settings).router, lambda: self.active.access)
