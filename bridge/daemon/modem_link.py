"""The daemon's modem: the cellular link, with SMS over the air and the state that survives restarts."""

import json
import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from bridge.adapters.modem.at_port import Urc
from bridge.adapters.modem.modem import Modem
from bridge.adapters.modem.queries import answer
from bridge.adapters.modem.sim_pin import PinGuard
from bridge.adapters.modem.sms import ModemInbox, SmsTransport
from bridge.adapters.ppp.dialler import dial_of, ppp
from bridge.adapters.system.box_restart import restart_box
from bridge.adapters.usb.finder import Finder
from bridge.assemblies.cellular_link import CellularLink, CellularSetup
from bridge.assemblies.link import demand_of, traffic_of
from bridge.assemblies.message_flow import MessageFlow
from bridge.core.failover import Plan
from bridge.core.progress import Part
from bridge.daemon.configure import CALLED_WITH, called_with
from bridge.errors import LinkError, OperationError
from bridge.flow.link.backup import Backup, OwnNetwork
from bridge.flow.link.box_restart import BoxRestart
from bridge.flow.message.topics import Names
from bridge.flow.message.uplink import Path
from bridge.flow.notices import Notices
from bridge.flow.sms.codec import AirSmsCodec
from bridge.flow.sms.commands import Commands
from bridge.flow.sms.inbox import SmsInbox
from bridge.settings import Settings
from bridge.store.sms import SmsStore

log = logging.getLogger("network")

PINS = "sim_pins"
"""Key in the store of the refused PINs."""


class ModemLink(CellularLink):
    """The modem of ``network.interface``; lives in the event loop's thread."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        flow: MessageFlow,
        names: Names,
        notices: Notices,
        *,
        commands: Commands | None = None,
        own: OwnNetwork | None = None,
    ) -> None:
        """``settings`` returns the present configuration; a reload changes the limits of SMS.

        ``commands`` takes those that come by SMS. ``own`` is the network for which the modem is only the
        backup.
        """
        self._settings = settings
        self._journal = journal = flow.journal
        network, uplink = settings().network, flow.uplink
        traffic = traffic_of(flow, takes_messages=network.takes_messages)
        if own:
            plan = Plan(network.backup_after, network.backup_hold)
            self.backup = Backup(plan, own, demand_of(flow), journal, notices)
            traffic = self.backup.traffic(lambda: uplink.in_flight_over_link, uplink.send_batches)
        self._takes_messages = network.scope != "hologram"
        self._pending = traffic.pending
        super().__init__(self._make_setup(settings()), traffic, journal.time, notices)
        self.listener, self.protocols = flow.listener, settings().inbound.protocols
        sms_store = SmsStore(journal.database, journal.time.now)
        codec = AirSmsCodec(lambda: settings().sms.max_segments, sms_store, journal.writer)
        transport = SmsTransport(
            self._loop, self.port, status_reports=self._wants_reports, on_reference=codec.referenced
        )
        self._air = Path(codec, transport)
        inbox = ModemInbox(self.port, status_reports=self._wants_reports)
        self._sms_inbox = SmsInbox(journal, sms_store, names, inbox, notices, commands=commands)
        self._read_from: Modem | None = None
        """The modem whose store the inbox reads."""
        if self.backup:
            self.backup.start(self)

    @property
    def path(self) -> str:
        """The network that messages take."""
        if self.backup:
            return self.backup.path
        return "modem" if self._settings().network.takes_messages else "own"

    def _make_setup(self, settings: Settings) -> CellularSetup:
        network, meta = settings.network, self._journal.outbox.meta
        find = Finder(network.interface, network.devices)
        return CellularSetup(
            interface=network.interface,
            find=find,
            dial=partial(
                dial_of,
                apn=network.apn,
                user=network.ppp_user,
                password=network.ppp_password,
                scope=network.scope,
            ),
            pppd=ppp,
            missing=f"{find.missing}; waiting for it",
            apn=network.apn,
            autoconnect=network.autoconnect,
            poll=network.poll,
            powers=True,
            sim_pin=network.sim_pin,
            pins=PinGuard(json.loads(meta(PINS) or "{}"), self._remember_pins),
            status_reports=self._wants_reports,
            box=BoxRestart(self._journal, network.restart_box_after, self._is_needed, self._restart_box),
            adopts=meta(CALLED_WITH) in (None, called_with(settings)),
            on_cleared=partial(self._remember, CALLED_WITH, called_with(settings)),
        )

    async def _restart_box(self) -> None:
        await restart_box(self._loop)

    def _is_needed(self) -> bool:
        """Whether a message waits for the modem."""
        over_the_air = any(each.over_air for each in self._journal.outbox.endpoints())
        return over_the_air or (self._takes_messages and self._pending())

    def _wants_reports(self) -> bool:
        return self._settings().sms.status_reports

    def _remember_pins(self, notes: Any) -> None:
        self._remember(PINS, json.dumps(dict(notes)))

    def _remember(self, key: str, value: str | None) -> None:
        self._journal.writer.write(partial(self._journal.outbox.set_meta, key, value))

    # -- life --------------------------------------------------------------------------------------------

    @property
    def watched(self) -> tuple[Part, ...]:
        """The parts that the watchdog watches."""
        return (*super().watched, self._sms_inbox)

    def _works(self) -> Iterable[Coroutine[Any, Any, None]]:
        return (self.supervisor.run(), self._drive(), self._sms_inbox.run())

    async def _drive(self) -> None:
        """Drive the link; if it is not wanted at the start, first hang up the link of an earlier run."""
        if self._settings().network.autoconnect is not True:
            try:
                await self.cellular.clear()
            except LinkError as exc:
                log.warning("%s", exc)
        await self.network.run()

    def reloaded(self) -> None:
        """Wake the inbox, which configures status reports on the modem before it lists the store."""
        self._sms_inbox.wake()

    # -- SMS ---------------------------------------------------------------------------------------------

    @property
    def air(self) -> Path | None:  # type: ignore[override]  # what a modem can do changes
        """The path of SMS over the air; None while the modem is not registered."""
        return self._air if self.supervisor.ready else None

    def _takes(self, urc: Urc) -> bool:
        return self._sms_inbox.urc(urc.line, urc.data)

    def _settle(self) -> None:
        if self.modem is not self._read_from:
            self._read_from = self.modem
            self._sms_inbox.wake()
        if self.backup:
            self.backup.changed()
        super()._settle()

    # -- questions ---------------------------------------------------------------------------------------

    async def query(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer ``hologram-bridge modem``; raises `BridgeError`."""
        if self.modem is None:
            fault = self.supervisor.fault()
            why = fault.text if fault else "its only port is in use by the connection; disconnect first"
            raise OperationError(f"the modem cannot be asked: {why}")
        return await answer(self.modem, request)
