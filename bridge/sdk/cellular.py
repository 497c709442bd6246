"""The cellular interface: a modem, its connection, and its events [Python SDK 0.3, "Cellular"]."""
# ruff: noqa: N802  # the documented names

import logging
from functools import partial
from typing import Any

from bridge.core.exchange import Transport
from bridge.core.link import Code
from bridge.errors import BridgeError
from bridge.protocol.ppp.dial import Scope
from bridge.sdk.engine.errors import HologramError, ModemError, NetworkError
from bridge.sdk.engine.inbox import Inbox
from bridge.sdk.engine.runtime import dispatcher, runtime
from bridge.sdk.event import Event
from bridge.sdk.interface import Network, NetworkScope
from bridge.sdk.modem import Modem
from bridge.sdk.modems import CLASSES, modem_of, usable_modems

CLOUD_DISCONNECTED = Code.CLOUD_DISCONNECTED.value
CLOUD_CONNECTED = Code.CLOUD_CONNECTED.value
CLOUD_ERR_SIM = Code.CLOUD_ERR_SIM.value
CLOUD_ERR_SIGNAL = Code.CLOUD_ERR_SIGNAL.value
CLOUD_ERR_CONNECT = Code.CLOUD_ERR_CONNECT.value

DEFAULT_CELLULAR_TIMEOUT = 200
"""Seconds that a connection may take to come up."""

log = logging.getLogger("Cellular")


class Cellular(Network):
    """Connects by a modem: over PPP, which needs root, or else by the modem's own sockets."""

    def __init__(
        self, event: Event | None = None, interface: str = "cellular", modem: Modem | None = None
    ) -> None:
        super().__init__(event)
        self._events: list[str] | None = None
        """Events that a call of the script's tells when it ends; None while there is none."""
        self.modem = modem or CLASSES[interface](event=self.event)

    @property
    def modem(self) -> Modem:
        """The modem."""
        return self._modem

    @modem.setter
    def modem(self, modem: Modem | str) -> None:
        """Use another from now on, given as it is or by the name of its kind; the last one is let go of."""
        last, self._modem = getattr(self, "_modem", None), modem_of(modem, self.event)
        modem = self._modem
        if last is not None and last is not modem:
            last.close()
        modem.event = self.event
        modem.scope = self._scope
        modem.notify = self._happened
        modem.on_change = self._changed

    def _scope(self) -> Scope:
        return "hologram" if self.scope is NetworkScope.HOLOGRAM else "system"

    def _changed(self) -> None:
        self.on_change()

    def _happened(self, event: str) -> None:
        """Runs in the loop's thread."""
        if self._events is not None:
            self._events.append(event)
        else:
            dispatcher().submit(partial(self.event.broadcast, event))

    # -- the connection ----------------------------------------------------------------------------------

    def connect(self, timeout: float = DEFAULT_CELLULAR_TIMEOUT) -> bool:
        """Connect within ``timeout`` seconds and tell ``cellular.connected``; return whether it worked.

        Raises:
            NetworkError: no modem is there.
            SerialError: another program uses it; it says which.
            ModemError: its port cannot be had.

        """
        log.info("Connecting to cell network with timeout of %s seconds", timeout)
        good = self._telling(partial(self._modem.connect, timeout))
        log.info("Successfully connected to cell network" if good else "Failed to connect to cell network")
        return good

    def disconnect(self) -> bool:
        """Disconnect and tell ``cellular.disconnected``; return whether it worked."""
        log.info("Disconnecting from cell network")
        return self._telling(self._modem.disconnect)

    def _telling(self, work: Any) -> bool:
        """Do ``work`` and tell in this thread what happened meanwhile."""
        self._events = []
        try:
            good: bool = work()
        finally:
            events, self._events = self._events, None
        for event in events:
            self.event.broadcast(event)
        return good

    def autodetect_modem(self) -> None:
        """Use whatever modem is found from now on [hologram-python 0.10]."""
        self.modem = CLASSES["cellular"](event=self.event)

    def load_modem_drivers(self) -> None:
        """Kept for scripts that call it: the system loads them."""

    @staticmethod
    def scan_for_all_usable_modems() -> list[Modem]:
        """Return a modem for each that is found by its USB id [hologram-python 0.10]."""
        return usable_modems()

    def getConnectionStatus(self) -> int:
        """Return the connection status: 0, 1, 3, 5 or 12."""
        try:
            return int(self._modem.status())
        except (NetworkError, ModemError):
            return CLOUD_ERR_CONNECT

    def is_connected(self) -> bool:
        """Return whether a connection stands."""
        return self._modem.isConnected()

    @property
    def at_sockets_available(self) -> bool:
        """Whether the modem's own sockets can carry messages just now: no `connect` is needed then."""
        return self._modem.at_sockets_available

    def disable_at_sockets_mode(self) -> None:
        """Use no sockets of the modem's own from now on: messages take a `connect` over PPP."""
        self._modem.disable_at_sockets_mode()

    def enable_at_sockets_mode(self) -> None:
        """Use the modem's own sockets again where it has some."""
        self._modem.enable_at_sockets_mode()

    def __getattr__(self, name: str) -> Any:
        """Whatever the modem has: ``localIPAddress``, ``signal_strength``, ``popReceivedSMS`` and so on."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._modem, name)

    # -- for the clouds ----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether messages can go."""
        session = self._modem.opened
        return session is not None and session.up

    @property
    def sockets(self) -> Transport | None:
        """The modem's own sockets, while they are what carries."""
        session = self._modem.opened
        return session.transport if session else None

    def prepare(self, timeout: float) -> None:
        """Get the modem's own sockets ready where it has some and no connection stands.

        ``timeout`` is the seconds to wait for a network; it is tried on when there is one.
        """
        try:
            session = self._modem.session
            if not session.up and session.sockets_available:
                runtime().wait(session.use_sockets(timeout))
        except BridgeError as exc:
            log.error("the modem cannot send now: %s", exc)

    @property
    def sim_identity(self) -> tuple[str | None, str | None]:
        """The SIM's number and IMSI, as far as they are known."""
        session = self._modem.opened
        identity = session.supervisor.facts.identity if session else None
        return (identity.iccid, identity.imsi) if identity else (None, None)

    def fetch_sim_identity(self) -> tuple[str | None, str | None]:
        """Ask the SIM for its number and IMSI."""
        known = self.sim_identity
        if all(known):
            return known
        try:
            identity = runtime().wait(self._modem.session.identify())
        except HologramError:
            raise
        except BridgeError as exc:
            log.error("the SIM cannot be asked: %s", exc)
            return known
        return identity.iccid, identity.imsi

    def open_receive_socket(self, receive_port: int, inbox: Inbox) -> bool:
        """Listen by the modem's own sockets where they are what carries; False otherwise."""
        return runtime().ask(self._modem.session.listen(receive_port, inbox))

    def close_receive_socket(self) -> None:
        """Listen no more by the modem's own sockets."""
        if self._modem.opened:
            runtime().ask(self._modem.opened.stop_listening())

    def close(self) -> None:
        """Hang up and let go of the modem."""
        self._modem.close()
