"""The network that the bridge manages, put together: a modem with all that hangs on it, or Wi-Fi.

::

    Network (wants, dials, hangs up) ──> Cellular ──> Pppd, or its unit
       ▲                                    │  └────> the modem's own sockets
       │ facts, trouble                     ▼
       └───────────────────────────────── ModemSupervisor (finds, asks, recovers) ──> Modem ──> AtPort
    TextsIn <── codes ── Modem            SmsTransport ──> AtPort

Imported only where an interface is managed: the others need none of it in memory.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

from bridge.adapters.inbound.listener import Listener
from bridge.adapters.modem.at_port import AtPort, Urc
from bridge.adapters.modem.modem import Modem
from bridge.adapters.modem.queries import answer as answer_query
from bridge.adapters.modem.sim_pin import PinGuard
from bridge.adapters.modem.sms import ModemInbox, SmsTransport
from bridge.adapters.modem_sockets.listening import ListeningSockets
from bridge.adapters.modem_sockets.sockets import Sockets, make_sockets, payload_after
from bridge.adapters.ppp.dialler import PppDialler, dial_of, ppp
from bridge.adapters.usb import power as usb_unit
from bridge.adapters.usb.finder import Finder
from bridge.core.exchange import Transport
from bridge.core.messages import Channel
from bridge.core.modem import Facts, Identity, Place
from bridge.daemon.configure import CALLED_WITH, called_with
from bridge.errors import LinkError, OperationError
from bridge.flow.link.cellular import Cellular
from bridge.flow.link.demand import Demand
from bridge.flow.link.hardware import Hardware
from bridge.flow.link.manager import Network
from bridge.flow.link.supervisor import ModemSupervisor
from bridge.flow.link.traffic import Traffic
from bridge.flow.message.paths import NetworkPaths
from bridge.flow.message.topics import Names
from bridge.flow.message.uplink import Path
from bridge.flow.notices import Notices
from bridge.flow.sms.codec import AirSmsCodec
from bridge.flow.sms.inbox import SmsInbox
from bridge.protocol.api.status import status
from bridge.protocol.at.answers import RESTARTED
from bridge.protocol.modems import by_interface
from bridge.settings import Settings
from bridge.store.journal import Journal
from bridge.store.texts import Texts

log = logging.getLogger("network")

PINS = "sim_pins"
"""Key under which it is kept which PINs were refused."""


class Around(NamedTuple):
    """What the rest of the bridge offers."""

    settings: Settings
    loop: asyncio.AbstractEventLoop
    journal: Journal
    names: Names
    paths: NetworkPaths
    listener: Listener | None
    notices: Notices
    on_status: Callable[[dict[str, Any]], None]
    on_identity: Callable[[Identity], None]
    on_ready: Callable[[], None]
    unreached_since: Callable[[], float | None]
    """Since when, in monotonic seconds, nothing was reached."""
    in_flight: Callable[[], int]
    """How many messages are being sent."""
    paused: Callable[[], bool]
    """Whether sending is paused."""

    def traffic(self) -> Traffic:
        """Return what the manager of the link asks about the messages."""
        takes_them = self.settings.network.scope == "system"
        return Traffic(
            pending=Demand(self.journal.outbox, self.paused, lambda: self.journal.writer.committing),
            sent=self._sent,
            in_flight=self.in_flight if takes_them else lambda: 0,
            unreached_since=self.unreached_since if takes_them else lambda: None,
        )

    def _sent(self) -> int:
        """Return how many messages have had their result; a rollback exchanges the ledger."""
        return self.journal.outbox.ledger.counts.total()


class ManagedModem:
    """A modem and all that hangs on it; lives in the event loop's thread."""

    def __init__(self, around: Around) -> None:
        self._around = around
        settings = self._settings = around.settings
        self._loop = around.loop
        self._pins = PinGuard(json.loads(around.journal.outbox.meta(PINS) or "{}"), self._remember_pins)
        self._modem: Modem | None = None
        self._sockets: Sockets | None = None
        self._identity = Identity()
        self._started: Any = None
        """The modem whose store the inbox has been told to read."""
        self._publishing = False
        network = settings.network
        find = Finder(network.interface, network.devices)
        self.supervisor = ModemSupervisor(
            Hardware(
                find=find,
                missing=f"{find.missing}; waiting for it",
                make=self._make,
                power=partial(usb_unit.power_cycle_here, self._loop),
                can_power=usb_unit.can_power_cycle_here,
                poll=network.poll,
            ),
            around.journal.time,
            around.notices,
            on_change=self._changed,
            link_up=lambda: self.network.up,
        )
        self.cellular = Cellular(
            self.supervisor,
            self._dialler(),
            self._usable_sockets,
            network.apn,
            adopts=around.journal.outbox.meta(CALLED_WITH) in (None, called_with(settings)),
            on_cleared=partial(self._remember, CALLED_WITH, called_with(settings)),
        )
        self.network = Network(
            self.cellular,
            around.traffic(),
            around.journal.time,
            around.notices,
            autoconnect=network.autoconnect,
            on_change=self._changed,
        )
        self._build_texts()
        self.watched = (self.supervisor, self.network, self._sms_inbox)
        self._set_paths()

    def _build_texts(self) -> None:
        around = self._around
        journal = around.journal
        texts = Texts(journal.database, journal.time.now)
        codec = AirSmsCodec(lambda: self._settings.sms.max_segments, texts, journal.writer)
        transport = SmsTransport(
            self._loop, self._port, status_reports=self._wants_reports, on_reference=codec.referenced
        )
        self._sms_inbox = SmsInbox(
            journal,
            texts,
            around.names,
            ModemInbox(self._port, status_reports=self._wants_reports),
            around.notices,
        )
        around.paths.texts = Path(codec, transport)
        around.paths.texts_ready = lambda: self.supervisor.ready

    def _wants_reports(self) -> bool:
        return self._settings.sms.status_reports

    def _set_paths(self) -> None:
        paths = self._around.paths
        # With the other scope messages take the machine's own network, whatever the modem does.
        if self._settings.network.scope == "system":
            paths.link_up = self._carries
            paths.on_wanted = self.network.wanted_now
            paths.sockets = self._socket_transport

    def _carries(self) -> bool:
        """Whether messages can go; sockets of a modem that has just gone cannot, before all is tidied up."""
        return self.network.up and (self.supervisor.usable or not self.cellular.over_sockets)

    # -- life --------------------------------------------------------------------------------------------

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return what has to run all the time."""
        return [self.supervisor.run(), self._drive(), self._sms_inbox.run()]

    async def _drive(self) -> None:
        """Drive the link; where nobody wants it at the start, one that an earlier run has left goes first."""
        if self._settings.network.autoconnect is not True:
            try:
                await self.cellular.clear()
            except LinkError as exc:
                log.warning("%s", exc)
        await self.network.run()

    def reloaded(self, settings: Settings) -> None:
        """Use what a reload may change: the limits of texts, and whether to ask for reports on them."""
        self._settings = settings
        self._sms_inbox.wake()  # before it lists, the modem is told to hand over wanted reports

    async def stop(self) -> None:
        """Let go of the link, at the end."""
        await self.network.stop()

    async def query(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer ``hologram-bridge modem``; raises `BridgeError`."""
        modem = self._modem if self.supervisor.modem is self._modem else None
        if modem is None:
            fault = self.supervisor.fault()
            why = fault.text if fault else "its only port is in use by the connection; disconnect first"
            raise OperationError(f"the modem cannot be asked: {why}")
        return await answer_query(modem, request)

    # -- the modem ---------------------------------------------------------------------------------------

    def _make(self, place: Place, on_facts: Callable[[Facts], None], on_lost: Callable[[str], None]) -> Modem:
        profile, settings = by_interface(place.interface), self._settings
        modem = self._modem = Modem(
            self._loop,
            profile,
            sim_pin=settings.network.sim_pin,
            on_facts=on_facts,
            on_urc=self._heard,
            on_lost=on_lost,
            pins=self._pins,
            apn=settings.network.apn,
            status_reports=self._wants_reports,
            payload_after=payload_after if profile.sockets else None,
        )
        self._sockets = make_sockets(profile, modem.port, self._loop, self._sockets_down)
        return modem

    def _port(self) -> AtPort | None:
        modem = self._modem
        return modem.port if modem and self.supervisor.modem is modem else None

    def _heard(self, urc: Urc) -> None:
        if urc.line.strip().upper() in RESTARTED:
            self._sockets_gone("the modem started anew")
        elif not self._sms_inbox.urc(urc.line, urc.data) and self._sockets:
            self._sockets.urc(urc)

    def _remember_pins(self, notes: Any) -> None:
        self._remember(PINS, json.dumps(dict(notes)))

    def _remember(self, key: str, value: str | None) -> None:
        journal = self._around.journal
        journal.writer.write(partial(journal.outbox.set_meta, key, value))

    # -- the link ----------------------------------------------------------------------------------------

    def _dialler(self) -> PppDialler:
        network = self._settings.network
        dial = partial(
            dial_of,
            apn=network.apn,
            user=network.ppp_user,
            password=network.ppp_password,
            scope=network.scope,
        )
        return PppDialler(ppp(self._loop, self._link_lost), dial)

    def _link_lost(self, reason: str) -> None:
        self.network.lost(reason)

    def _sockets_down(self, reason: str) -> None:
        if self.cellular.over_sockets:
            self.cellular.sockets_lost()
            self.network.lost(reason)

    def _sockets_gone(self, reason: str) -> None:
        """The sockets are gone without a word of the modem's about them."""
        if self._sockets:
            self._sockets.lost(reason)
        self._sockets_down(reason)

    def _usable_sockets(self) -> ListeningSockets | None:
        if self._sockets is None or self.supervisor.modem is None:
            return None
        return ListeningSockets(self._sockets, self._around.listener, self._settings.inbound.protocols)

    def _socket_transport(self, channel: Channel) -> Transport | None:
        if not self.cellular.over_sockets or self._sockets is None:
            return None
        return self._sockets.datagrams if channel is Channel.UDP else self._sockets

    # -- the status --------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """Something changed; told once in a turn of the loop."""
        if not self._publishing:
            self._publishing = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._publishing = False
        if self.cellular.over_sockets and not self.supervisor.usable:
            self._sockets_gone("the modem is gone, or does not answer")
        self.network.changed_facts()
        if self.supervisor.modem is not self._started:
            self._started = self.supervisor.modem
            self._sms_inbox.wake()
        identity = self.supervisor.facts.identity
        if identity != self._identity:
            self._identity = identity
            self._around.on_identity(identity)
        self._around.on_status(self.status())
        self._around.on_ready()

    def status(self) -> dict[str, Any]:
        """Return the payload of ``hologram/network/status``."""
        supervisor, network = self.supervisor, self.network
        place = supervisor.shown_place
        return status(
            network.verdict(),
            interface=self._settings.network.interface,
            modem=by_interface(place.interface).label if place else None,
            device=(place.dial if network.up and not self.cellular.over_sockets else place.at)
            if place
            else None,
            link=network.link,
            facts=supervisor.facts,
            since=network.since,
        )
