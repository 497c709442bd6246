"""The cellular link: a modem with its supervisor, its PPP and its sockets.

::

    Network (wants, dials, hangs up) ──> Cellular ──> pppd, or its unit
       ▲                                    │  └────> the modem's own sockets
       │ facts, faults                      ▼
       └───────────────────── ModemSupervisor (finds, queries, recovers) ──> Modem ──> AtPort

It is imported only where a modem is managed, to save the memory of other boxes.
"""

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple

from bridge.adapters.inbound.listener import Listener
from bridge.adapters.modem.at_port import AtPort, Urc
from bridge.adapters.modem.modem import Modem
from bridge.adapters.modem.sim_pin import PinGuard
from bridge.adapters.modem_sockets.listening import ListeningSockets
from bridge.adapters.modem_sockets.sockets import Sockets, make_sockets, payload_after
from bridge.adapters.ppp.dialler import PppDialler
from bridge.adapters.ppp.pppd import Pppd
from bridge.adapters.ppp.unit import PppdUnit
from bridge.adapters.usb import power as usb_unit
from bridge.adapters.usb.finder import Finder
from bridge.assemblies.link import ManagedLink
from bridge.core.exchange import Transport
from bridge.core.messages import Channel
from bridge.core.modem import Facts, Identity, Place
from bridge.core.progress import Part
from bridge.core.time import Time
from bridge.errors import LinkError
from bridge.flow.link.box_restart import BoxRestart
from bridge.flow.link.cellular import Cellular
from bridge.flow.link.hardware import Hardware
from bridge.flow.link.manager import Network
from bridge.flow.link.supervisor import ModemSupervisor
from bridge.flow.link.traffic import Traffic
from bridge.flow.notices import Notices
from bridge.protocol.api.status import status
from bridge.protocol.at.answers import RESTARTED
from bridge.protocol.modems import by_interface
from bridge.protocol.ppp.dial import Dial


class CellularSetup(NamedTuple):
    """The modem of a link, and the way the link uses it."""

    interface: str
    """The modem's name in ``network.interface``."""
    find: Finder
    dial: Callable[[Place], Dial]
    pppd: Callable[..., Pppd | PppdUnit]
    """Creates the PPP; takes the loop, and ``on_down``, which gets the reason of a link's unwanted end."""
    missing: str
    """The text of the fault if no modem is found."""
    apn: str = "hologram"
    autoconnect: bool | str = False
    poll: float = 60.0
    """Seconds between queries of the modem's state."""
    powers: bool = False
    """Whether recovery may switch the modem's USB port off and on."""
    sim_pin: str | None = None
    pins: PinGuard | None = None
    status_reports: Callable[[], bool] = lambda: False
    box: BoxRestart | None = None
    """What restarts the box where nothing else helps."""
    adopts: bool = True
    """Whether the link of an earlier run may be taken over."""
    on_cleared: Callable[[], None] = lambda: None
    """Callback for the moment when no link of an earlier run is left."""


class CellularLink(ManagedLink):
    """A modem and the link over it; lives in the event loop's thread."""

    def __init__(self, setup: CellularSetup, traffic: Traffic, time: Time, notices: Notices) -> None:
        super().__init__()
        self.listener: Listener | None = None
        """The listener that also uses the modem's own sockets, while they are the link."""
        self.protocols: tuple[str, ...] = ("tcp",)
        self._setup = setup
        self._modem: Modem | None = None
        self._sockets: Sockets | None = None
        self.supervisor = ModemSupervisor(
            self._hardware(),
            time,
            notices,
            on_change=self._changed,
            link_up=lambda: self.network.up,
            box=setup.box,
        )
        self.cellular = Cellular(
            self.supervisor,
            PppDialler(setup.pppd(self._loop, on_down=self._lost), setup.dial),
            self._usable_sockets,
            setup.apn,
            adopts=setup.adopts,
            on_cleared=setup.on_cleared,
        )
        auto, changed = setup.autoconnect, self._changed
        self._manage(Network(self.cellular, traffic, time, notices, autoconnect=auto, on_change=changed))

    def _hardware(self) -> Hardware:
        setup = self._setup
        return Hardware(
            find=setup.find,
            missing=setup.missing,
            make=self._make,
            power=partial(usb_unit.power_cycle_here, self._loop) if setup.powers else _no_power,
            can_power=usb_unit.can_power_cycle_here if setup.powers else lambda _: False,
            poll=setup.poll,
        )

    @property
    def watched(self) -> tuple[Part, ...]:
        """The parts that the watchdog watches."""
        return (self.supervisor, *super().watched)

    def _works(self) -> Iterable[Coroutine[Any, Any, None]]:
        return (self.supervisor.run(), *super()._works())

    # -- the modem ---------------------------------------------------------------------------------------

    @property
    def modem(self) -> Modem | None:
        """The modem while it is started and the bridge holds its port."""
        return self._modem if self._modem is not None and self.supervisor.modem is self._modem else None

    def port(self) -> AtPort | None:
        """Return the modem's AT port while the bridge holds it."""
        modem = self.modem
        return modem.port if modem else None

    @property
    def identity(self) -> Identity:  # type: ignore[override]  # what is read from a modem changes
        """The known identity of modem and SIM."""
        return self.supervisor.facts.identity

    def _make(self, place: Place, on_facts: Callable[[Facts], None], on_lost: Callable[[str], None]) -> Modem:
        profile, setup = by_interface(place.interface), self._setup
        modem = self._modem = Modem(
            self._loop,
            profile,
            sim_pin=setup.sim_pin,
            on_facts=on_facts,
            on_urc=self._received,
            on_lost=on_lost,
            pins=setup.pins,
            apn=setup.apn,
            status_reports=setup.status_reports,
            payload_after=payload_after if profile.sockets else None,
        )
        self._sockets = make_sockets(profile, modem.port, self._loop, self._sockets_down)
        return modem

    def _received(self, urc: Urc) -> None:
        if urc.line.strip().upper() in RESTARTED:
            self._sockets_gone("the modem started anew")
        elif not self._takes(urc) and self._sockets:
            self._sockets.urc(urc)

    def _takes(self, urc: Urc) -> bool:  # noqa: ARG002  those who read SMS look at it
        """Take a code that reports an SMS; return whether it was one."""
        return False

    def status(self) -> dict[str, Any]:
        """Return the payload of ``hologram/network/status``."""
        supervisor, network = self.supervisor, self.network
        place = supervisor.shown_place
        dialled = network.up and not self.cellular.over_sockets
        return status(
            network.verdict(),
            interface=self._setup.interface,
            modem=by_interface(place.interface).label if place else None,
            device=(place.dial if dialled else place.at) if place else None,
            link=network.link,
            facts=supervisor.facts,
            since=network.since,
            path=self.path,
        )

    # -- the modem's own sockets -------------------------------------------------------------------------

    @property
    def carries(self) -> bool:
        """Whether the link carries messages; the sockets of a modem that is gone do not."""
        return self.network.up and (self.supervisor.usable or not self.cellular.over_sockets)

    def sockets_for(self, channel: Channel) -> Transport | None:
        """Return the modem's own sockets for ``channel``, while they are the link."""
        if not self.cellular.over_sockets or self._sockets is None:
            return None
        return self._sockets.datagrams if channel is Channel.UDP else self._sockets

    def _usable_sockets(self) -> ListeningSockets | None:
        if self._sockets is None or self.supervisor.modem is None:
            return None
        return ListeningSockets(self._sockets, self.listener, self.protocols)

    def _sockets_down(self, reason: str) -> None:
        if self.cellular.over_sockets:
            self.cellular.sockets_lost()
            self.network.lost(reason)

    def _sockets_gone(self, reason: str) -> None:
        """Note that the sockets are gone, although the modem has not reported it."""
        if self._sockets:
            self._sockets.lost(reason)
        self._sockets_down(reason)

    def _settle(self) -> None:
        if self.cellular.over_sockets and not self.supervisor.usable:
            self._sockets_gone("the modem is gone, or does not answer")
        super()._settle()


async def _no_power(_place: Place) -> None:
    raise LinkError("the modem's USB port is not switched off here")
