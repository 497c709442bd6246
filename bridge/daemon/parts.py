"""The parts: what the bridge is made of, and who tells whom.

::

    Session (data) ────> Intake ───> Writer/Outbox ───> Uplink ──> transports ──> the cloud, Direct IP
    Session (control) ─> Controls ──────┤  ▲
    Session (data) <──── Publisher <────┘  └── Downlink <── Listener <─── the cloud's inbound messages

`bridge.daemon.app` gives them their life.
"""

import asyncio
import logging
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge.adapters.inbound.listener import Listener
from bridge.adapters.ip.resolver import Resolver
from bridge.adapters.ip.tcp import TcpTransport
from bridge.adapters.ip.udp import UdpTransport
from bridge.adapters.mqtt.session import Session
from bridge.adapters.system.control_socket import ControlServer, socket_path
from bridge.adapters.system.loop_time import LoopTime, read_clock
from bridge.adapters.system.metrics import MetricsServer
from bridge.adapters.system.threads import Worker
from bridge.core.delivery import Delivery
from bridge.core.events import matching
from bridge.core.exchange import Transport
from bridge.core.messages import Channel
from bridge.core.modem import Identity
from bridge.daemon.configure import (
    CALLED_WITH,
    NOBODY,
    access,
    broker,
    called_with,
    device,
    inbound_limits,
    limits,
    policy,
)
from bridge.daemon.control_api import Answers
from bridge.daemon.handlers import ControlHandler, DataHandler
from bridge.daemon.reload import Changes, compare
from bridge.errors import LinkError
from bridge.flow.health.client_id import ClientId, machine
from bridge.flow.health.home_assistant import HomeAssistant
from bridge.flow.health.monitor import CONTROL_FILTERS, DATA_FILTERS, Monitor
from bridge.flow.health.status_line import describe
from bridge.flow.message.codecs import CloudCodec, Codec, DatagramCodec, DirectCodec, SmsCodec
from bridge.flow.message.commands import Controls
from bridge.flow.message.downlink import Downlink
from bridge.flow.message.intake import Acknowledger, Intake
from bridge.flow.message.paths import NetworkPaths
from bridge.flow.message.publisher import Publisher
from bridge.flow.message.results import Results
from bridge.flow.message.sessions import Numbered
from bridge.flow.message.topics import Names
from bridge.flow.message.uplink import Uplink
from bridge.protocol.api import discovery, metrics
from bridge.protocol.api.reports import dumps
from bridge.settings import Settings
from bridge.store.journal import Journal

if TYPE_CHECKING:
    from bridge.daemon.managed import ManagedModem
    from bridge.daemon.managed_wifi import ManagedWifi

log = logging.getLogger("network")

CONTROL = "-control"
"""What the client id of the session of commands ends with."""

EARLIER_FIRST = 5.0
"""Seconds that the sessions wait for those of an earlier client id."""

SHARED_EVERY = 60.0
"""Seconds between looks at whether another client uses our id."""


class Parts:
    """Builds the parts and holds them; nothing runs yet."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        """Open the store and build the parts; raises `StoreError` or `ConfigError`."""
        self.settings = settings
        self.loop = loop
        self.identity = NOBODY
        self.path = settings.store.path
        self.names = Names(settings.mqtt.prefix)
        self.journal = Journal.open(
            self.path, limits(settings), LoopTime(loop), aside=Worker(loop, "commit").run
        )
        self.outbox, self.writer = self.journal.outbox, self.journal.writer
        self.writer.on_full = self._store_full
        self.publisher = Publisher(self.journal, self.names, matching(settings.mqtt.events))
        self.monitor = Monitor(self.journal, self.publisher, self.names)
        self.health = self.monitor.health
        self.results = Results(self.journal, self.names, self.monitor)
        self.access = access(settings)
        self.paths = self._build_paths()
        self.uplink = self._build_uplink()
        self.monitor.attach(self.uplink)
        for told in (self.publisher.states, self.publisher.asides):
            told.on_problem = partial(self.monitor.problem, "mqtt")
        self._build_flow()
        self.client_id = ClientId(
            self.journal,
            configured=settings.mqtt.client_id,
            hostname=socket.gethostname(),
            machine=machine(),
        )
        self._met = asyncio.Event()
        """The sessions of an earlier client id were reached, or could not be at the first try."""
        self._build_sessions()
        self.managed = self._build_managed()
        self._link_left = called_with(settings) is None and self.outbox.meta(CALLED_WITH) is not None
        """An earlier run managed a modem, as this one does not, and may have left its link."""
        answers = Answers(loop, self.health, self.journal, self.controls, self.publisher, self.managed)
        self.control = ControlServer(socket_path(settings.control.path, self.path), answers)
        self.metrics = self._build_metrics()

    def _build_paths(self) -> NetworkPaths:
        resolver = Resolver(self.loop)
        stream, datagram = TcpTransport(self.loop, resolver), UdpTransport(self.loop, resolver)
        transports: dict[Channel, Transport] = {
            Channel.CLOUD: stream,
            Channel.SMS: stream,
            Channel.TCP: stream,
            Channel.UDP: datagram,
        }
        codecs: dict[Channel, Codec] = {
            Channel.CLOUD: CloudCodec(lambda: self.access, read_clock),
            Channel.SMS: SmsCodec(lambda: self.access),
            Channel.TCP: DirectCodec(lambda: self.access.timeout),
            Channel.UDP: DatagramCodec(lambda: self.access.timeout),
        }
        return NetworkPaths(codecs, transports, identified=lambda: self.access.credentials is not None)

    def _build_uplink(self) -> Uplink:
        return Uplink(
            self.journal,
            self.results,
            self.paths,
            self.monitor,
            slots=self.settings.cloud.parallel,
        )

    def _build_flow(self) -> None:
        self.intake = self._build_intake(self.monitor.session)
        self.controls = Controls(self.journal, self.results, self.uplink, self.monitor)
        self.publisher.on_room = self.intake.resume
        self.listener = self._build_listener() if self.settings.inbound.enabled else None

    def _build_intake(self, session: Numbered) -> Intake:
        return Intake(
            self.journal,
            self.results,
            policy(self.settings),
            session,
            self.uplink.wake,
            self.monitor,
        )

    def _build_listener(self) -> Listener:
        inbound = self.settings.inbound
        downlink = Downlink(self.journal, self.names, self.monitor)
        listener = Listener(
            self.loop,
            inbound.host,
            inbound.port,
            inbound.protocols,
            inbound_limits(self.settings),
            downlink,
            on_problem=lambda text: self.monitor.problem("inbound", text),
        )
        self.health.inbound = listener.figures
        return listener

    def _build_home_assistant(self) -> HomeAssistant:
        wanted, names = self.settings.home_assistant, self.names
        return HomeAssistant(
            self.journal,
            discovery.Topics(
                names.prefix, names.state, names.health, names.network, names.event, names.last_sms
            ),
            prefix=wanted.prefix,
            enabled=wanted.enabled,
            host=socket.gethostname(),
            device=lambda name: device(self.settings, name),
            publish=partial(self.publisher.state, again=True),
            clear_retained=self.publisher.clear_retained,
            repeat=self.publisher.repeat,
        )

    def _build_sessions(self) -> None:
        self._broker = where = broker(self.settings, self.client_id.id)
        self.home_assistant = self._build_home_assistant()
        self.session = Session(
            self.loop,
            where,
            DataHandler(
                self.monitor,
                self.publisher,
                self._data_received,
                whose=f"{where.client_id} at {where.host}",
                on_end=self._note_shared,
            ),
            subscriptions=self.names.data_filters,
            stale=self.monitor.stale_filters(DATA_FILTERS, self.names.data_filters),
            will=(self.names.state, b"offline"),
            crowded=self.writer.crowded,
        )
        control = (*self.names.control_filters, self.home_assistant.birth)

        def online(session_present: bool) -> None:  # the handler's callback
            if not session_present:
                self.controls.session.renewed()
            self.monitor.remember_filters(CONTROL_FILTERS, control)

        self.control_session = Session(
            self.loop,
            where._replace(client_id=where.client_id + CONTROL),
            ControlHandler(self.monitor, online, partial(self._control_received, None)),
            subscriptions=control,
            stale=self.monitor.stale_filters(CONTROL_FILTERS, control),
        )
        self.publisher.attach(self.session, self.control_session)

    def _build_managed(self) -> "ManagedModem | ManagedWifi | None":
        interface = self.settings.network.interface
        if not interface:
            return None
        # What a box without a modem needs none of stays out of its memory.
        from bridge.daemon.managed import Around, ManagedModem
        from bridge.daemon.managed_wifi import ManagedWifi
        from bridge.flow.link.commands import NetworkCommands

        managed = (ManagedWifi if interface == "wifi" else ManagedModem)(
            Around(
                self.settings,
                self.loop,
                self.journal,
                self.names,
                self.paths,
                self.listener,
                notices=self.monitor,
                on_status=self._network_changed,
                on_identity=self._sim_identified,
                on_ready=self.uplink.wake,
                unreached_since=self.uplink.unreached_since,
                in_flight=lambda: self.uplink.in_flight,
                paused=lambda: self.uplink.paused,
            )
        )
        self.controls.network = NetworkCommands(managed.network).carry_out
        return managed

    def _build_metrics(self) -> MetricsServer | None:
        port = self.settings.metrics.port
        if port is None:
            return None
        return MetricsServer(port, lambda: metrics.render(self.health.figures()), metrics.CONTENT_TYPE)

    # -- while it runs -----------------------------------------------------------------------------------

    async def clear_link(self) -> None:
        """Hang up the link that an earlier run has left, where no modem is managed any more."""
        if not self._link_left:
            return
        from bridge.adapters.ppp.dialler import ppp

        try:
            await ppp(self.loop).clear()
        except LinkError as exc:
            log.warning("%s", exc)
        else:
            self.writer.write(lambda: self.outbox.set_meta(CALLED_WITH, None))

    def watch_client_id(self) -> None:
        """Note from time to time whether another client uses our id: it may have stopped to."""
        self._note_shared()
        self.loop.call_later(SHARED_EVERY, self.watch_client_id)

    def _note_shared(self) -> None:
        self.client_id.shared(self.session.shared)

    async def run_session(self, session: Session) -> None:
        """Run one of the sessions; those of an earlier client id come first, if they can be reached."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EARLIER_FIRST if self.client_id.earlier else 0):
                await self._met.wait()
        await session.run()

    async def end_earlier(self) -> None:
        """Fetch what the broker holds for client ids that were replaced, and end those sessions."""
        if not self.client_id.earlier:
            return
        from bridge.daemon.earlier_sessions import EarlierSessions, Way

        controls = Way(
            self.control_session, CONTROL, lambda delivery, source: self._control_received(source, delivery)
        )
        ways = []
        for earlier in self.client_id.earlier:
            intake = self._build_intake(earlier)
            ways.append((earlier, (Way(self.session, "", intake.received, self.writer.crowded), controls)))
        await EarlierSessions(self.loop, self._broker, self.client_id).end(ways, self._met.set)

    def status_line(self) -> str:
        """Return how the bridge stands, in one line."""
        mqtt = self.settings.mqtt
        return describe(
            broker=None if self.session.connected else f"{mqtt.host}:{mqtt.port}",
            conditions=self.uplink.conditions,
            network=self.managed.status() if self.managed else None,
            queued=self.outbox.ledger.messages,
            notes=(
                "paused" if self.uplink.paused else None,
                "the disk is full" if self.writer.full else None,
                self.listener.problem if self.listener else None,
            ),
        )

    def _network_changed(self, status: dict[str, Any]) -> None:
        self.publisher.state(self.names.network, dumps(status).encode())

    def _sim_identified(self, identity: Identity) -> None:
        """The SIM says who we are to the cloud, where the configuration does not."""
        self.identity = identity
        self.access = access(self.settings, identity)
        self.uplink.wake()

    def _data_received(self, delivery: Delivery) -> None:
        self.intake.received(delivery, self.session)

    def _control_received(self, source: Acknowledger | None, delivery: Delivery) -> None:
        source = source or self.control_session
        if delivery.topic == self.home_assistant.birth:
            self.home_assistant.received(delivery)
            source.ack(delivery)
            return
        self.controls.received(delivery, source)

    def _store_full(self, full: bool) -> None:
        self.monitor.store_full(full, str(self.path), self.journal.room)
        self.uplink.wake()

    def reload(self, new: Settings) -> Changes:
        """Take from ``new`` what needs no restart; raises `BridgeError` before anything is changed."""
        ready = access(new, self.identity), policy(new), limits(new), inbound_limits(new)
        broker(new)  # it waits for the restart, which must not be the one to find that its files do not serve
        changes = compare(self.settings, new)
        self.access, self.intake.policy, self.outbox.limits, inbound = ready
        self.uplink.set_slots(new.cloud.parallel)
        if self.listener:
            self.listener.set_limits(inbound)
        self.settings = new
        if self.managed:
            self.managed.reloaded(new)
        return changes
